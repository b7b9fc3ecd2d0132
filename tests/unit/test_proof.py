"""Which runs prove a release, how they are told, and when a result is kept."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from swiftbuild.core import proof
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
    signs: bool = False
    cpus: tuple[int, ...] = (1, 4)
    boots: int = 3


OWN = Chain("qemu", "a", "b", twin=False, signs=True, between=False)
OTHER = replace(OWN, profile="hetzner", old="c", new="d")
REAL = replace(OWN, old="old", new="a", signs=False, between=True)
TWIN = replace(OWN, old="twin", twin=True)
PLAIN, SIGNING = Entry("plain"), Entry("signing", signs=True)


def test_all_runs_are_every_scenario_on_every_machine_with_each_number_of_processors() -> None:
    runs = proof.full([PLAIN, SIGNING], [OWN, OTHER])
    assert len(runs) == len(set(runs)) == 8
    assert {(run.profile, run.cpus) for run in runs} == {(p, c) for p in ("qemu", "hetzner") for c in (1, 4)}


def test_what_signs_runs_on_throw_away_keys_and_the_rest_on_the_release_itself() -> None:
    chains = [TWIN, REAL]
    assert proof.candidates(SIGNING, chains) == [TWIN]
    assert proof.candidates(PLAIN, chains) == [REAL]
    assert proof.candidates(PLAIN, [TWIN]) == [TWIN], "nothing updates to the release, and nobody can sign behind it"
    assert proof.candidates(SIGNING, [REAL]) == []
    assert [run.artifact for run in proof.full([PLAIN, SIGNING], chains)] == ["release", "release", "twin", "twin"]


def test_a_bounded_set_has_each_scenario_once_and_its_seed_repeats_it() -> None:
    entries = [Entry(f"s{number}") for number in range(40)]
    runs = proof.bounded(entries, [OWN, OTHER], 7)
    assert [run.scenario for run in runs] == [entry.name for entry in entries]
    assert runs == proof.bounded(entries, [OWN, OTHER], 7) != proof.bounded(entries, [OWN, OTHER], 8)
    assert {(run.profile, run.cpus) for run in runs} == {(p, c) for p in ("qemu", "hetzner") for c in (1, 4)}
    assert proof.bounded(entries[5:], [OWN, OTHER], 7) == runs[5:], "a draw is a scenario's own"


def test_a_result_is_kept_under_all_that_it_depends_on() -> None:
    run = Run("plain", OWN, 4)
    chains = [replace(OWN, old="x"), replace(OWN, new="x"), replace(OWN, profile="x"), replace(OWN, twin=True)]
    others = [replace(run, cpus=1), replace(run, scenario="x"), *(replace(run, chain=chain) for chain in chains)]
    keys = {other.key("harness") for other in others} | {run.key("another"), run.key("harness")}
    assert len(keys) == len(others) + 2


def test_an_estimate_counts_boots() -> None:
    boots, minutes = proof.estimate([Run("plain", OWN, 1)] * 48, {"plain": 3}, 2)
    assert (boots, minutes) == (144, round(144 * proof.BOOT_SECONDS_USUAL / 2 / 60))


def kept(results: Results, folder: Path, status: str = "passed") -> Outcome:
    (folder / "boot-1").mkdir(parents=True, exist_ok=True)
    (folder / "boot-1" / "console.log").write_bytes(b"a log")
    outcome = Outcome.model_validate({"status": status, "logs": {"boot-1": sha256(b"a log")}})
    results.keep("key", outcome, folder)
    return outcome


def test_what_passed_is_kept_with_its_logs(tmp_path: Path) -> None:
    results = Results(tmp_path / "verify")
    assert results.kept("key") is None
    outcome = kept(results, tmp_path / "run")
    assert results.kept("key") == outcome
    assert results.kept("another") is None


@pytest.mark.parametrize("harm", ["failed", "altered", "gone", "half"])
def test_a_result_that_is_no_proof_any_more_is_none(harm: str, tmp_path: Path) -> None:
    results = Results(tmp_path / "verify")
    kept(results, tmp_path / "run", "failed" if harm == "failed" else "passed")
    log = results.logs("key") / "boot-1.log"
    if harm == "altered":
        log.write_bytes(b"another")
    if harm == "gone":
        log.unlink()
    if harm == "half":
        result = tmp_path / "verify" / "results" / "key.json"
        result.write_bytes(result.read_bytes()[:20])
    assert results.kept("key") is None


def test_junit_tells_failures_from_errors_and_takes_any_text() -> None:
    runs = [RunRecord(scenario=name, profile="qemu", cpus=4, artifact="release", old="0" * 64, new="1" * 64, kept=False,
                      outcome=Outcome.model_validate({"status": status, "message": "a\x1b[0m <b> & \ud800\nmore",
                                                      "seconds": 1.5}))
            for name, status in (("one", "passed"), ("two", "failed"), ("three", "error"))]
    suite = ElementTree.fromstring(junit(runs))  # noqa: S314 - our own
    assert {name: suite.get(name) for name in ("tests", "failures", "errors", "time")} == {
        "tests": "3", "failures": "1", "errors": "1", "time": "4.500"}
    assert [[child.tag for child in case] for case in suite] == [[], ["failure"], ["error"]]
    failure = suite[1][0]
    assert failure.get("message") == "a�[0m <b> & �"
    assert (failure.text or "").endswith("more")


def test_every_scenario_says_what_it_is_and_has_a_name_of_its_own() -> None:
    names = [entry.name for entry in catalogue.CATALOGUE]
    assert len(set(names)) == len(names)
    assert len({entry.run for entry in catalogue.CATALOGUE}) == len(names)
    assert all(entry.summary.endswith(".") and entry.boots > 0 for entry in catalogue.CATALOGUE)
    assert catalogue.scenario("kernel-panic").signs
    with pytest.raises(UsageError, match="did you mean 'kernel-panic'"):
        catalogue.scenario("kernel-panics")
