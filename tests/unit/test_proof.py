"""Which runs prove a release, how they are told, and when a result is kept."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from swiftbuild.core import bootlog, proof
from swiftbuild.core.junit import junit
from swiftbuild.core.proof import Chain, Run
from swiftbuild.digest import sha256
from swiftbuild.effects.results import Results
from swiftbuild.errors import UsageError
from swiftbuild.model.proof import Outcome, RunRecord
from swiftbuild.scenarios import catalogue


@dataclass(frozen=True)
class Entry:
    name: str
    needs: proof.Needs = "update"
    cpus: tuple[int, ...] = (1, 4)
    story: str = "ar br ar"


ALONE = Chain("qemu", "a", "a", "own")
OWN = Chain("qemu", "a", "b", "next")
OTHER = replace(OWN, profile="hetzner", old="c", new="d")
BETWEEN = Chain("qemu", "old", "a", "between")
TWIN = replace(OWN, old="twin", twin=True)
PLAIN, SIGNING, ITSELF = Entry("plain"), Entry("signing", "keys"), Entry("itself", "release")


def test_all_runs_are_every_scenario_on_every_machine_with_each_number_of_processors() -> None:
    runs = proof.full([PLAIN, SIGNING], [OWN, OTHER])
    assert len(runs) == len(set(runs)) == 8
    assert {(run.profile, run.cpus) for run in runs} == {(p, c) for p in ("qemu", "hetzner") for c in (1, 4)}


def test_the_release_boots_itself_is_updated_to_and_what_signs_runs_on_throw_away_keys() -> None:
    chains = [ALONE, BETWEEN, TWIN]
    assert proof.candidates(ITSELF, chains) == [ALONE]
    assert proof.candidates(PLAIN, chains) == [BETWEEN, TWIN]
    assert proof.candidates(SIGNING, chains) == [TWIN]
    assert [run.artifact for run in proof.full([ITSELF, SIGNING], chains)] == ["release", "release", "twin", "twin"]


@pytest.mark.parametrize(("story", "boots", "told"), [
    ("ar br ar", ["ar", "br", "ar"], True), ("ar br ar", ["ar", "br"], False), ("ar br", ["ar", "bp"], False),
    ("ar b[rf] ar|ar ar", ["ar", "ar"], True), ("ar b[rf] ar|ar ar", ["ar", "bf", "ar"], True),
    ("ar b[rf] ar|ar ar", ["ar", "bp", "ar"], False), ("", [], True), ("ar", [], False),
])
def test_boots_are_those_of_a_story(story: str, boots: list[str], told: bool) -> None:
    assert proof.tells(story, boots) is told


def test_a_console_says_how_a_boot_went() -> None:
    slot = b"[evt] loader.slot t=1.000000 slot=b version=0.1.1 digest=0 recovery=0\r\n"
    panic = slot + b"[evt] kernel.panic t=2.000000 why=\"brk\" cpu=0\r\n"
    for log, word in ((b"", "--"), (slot, "b-"), (slot + b"[evt] boot.ready t=2.000000 services=1\r\n", "br"),
                      (slot + b"[evt] init.failed t=2.000000 why=\"no program\"\r\n", "bf"),
                      (panic, "bp"), (b"\xff\xfe\r\n" + slot, "b-")):
        assert bootlog.boot(log).word == word
    assert bootlog.boot(panic).panic == "brk"


def test_a_bounded_set_has_each_scenario_once_and_its_seed_repeats_it() -> None:
    entries = [Entry(f"s{number}") for number in range(40)]
    runs = proof.bounded(entries, [OWN, OTHER], 7)
    assert [run.scenario for run in runs] == [entry.name for entry in entries]
    assert runs == proof.bounded(entries, [OWN, OTHER], 7) != proof.bounded(entries, [OWN, OTHER], 8)
    assert {(run.profile, run.cpus) for run in runs} == {(p, c) for p in ("qemu", "hetzner") for c in (1, 4)}
    assert proof.bounded(entries[5:], [OWN, OTHER], 7) == runs[5:], "a draw is a scenario's own"


def test_a_result_is_kept_under_all_that_it_depends_on() -> None:
    run = Run("plain", OWN, 4)
    chains = [replace(OWN, old="x"), replace(OWN, new="x"), replace(OWN, profile="x"), replace(OWN, twin=True),
              replace(OWN, kind="own")]
    others = [replace(run, cpus=1), replace(run, scenario="x"), *(replace(run, chain=chain) for chain in chains)]
    keys = {other.key("harness") for other in others} | {run.key("another"), run.key("harness"), run.key("har", "ness")}
    assert len(keys) == len(others) + 3


def test_an_estimate_counts_boots() -> None:
    boots, minutes = proof.estimate([Run("plain", OWN, 1)] * 48, {"plain": 3}, 2)
    assert (boots, minutes) == (144, round(144 * proof.BOOT_SECONDS_USUAL / 2 / 60))


LOG = b"a log"


def kept(results: Results, status: str = "passed") -> Outcome:
    outcome = Outcome.model_validate({"status": status, "boots": [{"log": sha256(LOG), "word": "ar"}]})
    results.keep("key", outcome, [LOG])
    return outcome


def test_what_passed_is_kept_with_its_logs(tmp_path: Path) -> None:
    results = Results(tmp_path / "verify")
    assert results.kept("key") is None
    outcome = kept(results)
    assert results.kept("key") == outcome
    assert results.kept("another") is None
    results.keep("key", outcome.model_copy(update={"status": "failed"}), [b"of another day"])
    assert (tmp_path / "verify" / "logs" / f"{sha256(LOG)}.log").read_bytes() == LOG, "a record may name it"


@pytest.mark.parametrize("harm", ["failed", "altered", "gone", "half"])
def test_a_result_that_is_no_proof_any_more_is_none(harm: str, tmp_path: Path) -> None:
    results = Results(tmp_path / "verify")
    kept(results, "failed" if harm == "failed" else "passed")
    log = tmp_path / "verify" / "logs" / f"{sha256(LOG)}.log"
    if harm in {"altered", "gone"}:
        log.unlink()
    if harm == "altered":
        log.write_bytes(b"another")
    if harm == "half":
        result = tmp_path / "verify" / "results" / "key.json"
        result.write_bytes(result.read_bytes()[:20])
    assert results.kept("key") is None
    kept(results)
    assert results.kept("key"), "what is run again mends it"


def test_junit_tells_failures_from_errors_and_takes_any_text() -> None:
    runs = [RunRecord(scenario=name, profile="qemu", cpus=4, artifact="release", kind="next", old="0" * 64,
                      new="1" * 64, kept=False, outcome=Outcome.model_validate({
                          "status": status, "message": "a\x1b[0m <b> & \ud800\nmore", "started_at": 10,
                          "ended_at": 12}))
            for name, status in (("one", "passed"), ("two", "failed"), ("three", "error"))]
    suite = ElementTree.fromstring(junit(runs))  # noqa: S314 - our own
    assert {name: suite.get(name) for name in ("tests", "failures", "errors", "time")} == {
        "tests": "3", "failures": "1", "errors": "1", "time": "6"}
    assert [[child.tag for child in case] for case in suite] == [[], ["failure"], ["error"]]
    failure = suite[1][0]
    assert failure.get("message") == "a�[0m <b> & �"
    assert (failure.text or "").endswith("more")


def test_every_scenario_says_what_it_is_and_has_a_name_of_its_own() -> None:
    names = [entry.name for entry in catalogue.CATALOGUE]
    assert len(set(names)) == len(names)
    assert len({entry.run for entry in catalogue.CATALOGUE}) == len(names)
    assert all(entry.summary.endswith(".") and proof.boots(entry) > 0 for entry in catalogue.CATALOGUE)
    assert proof.boots(catalogue.scenario("bit-in-base")) == 5
    with pytest.raises(UsageError, match="did you mean 'kernel-panic'"):
        catalogue.scenario("kernel-panics")
