"""A record proves a release, or is refused: each fault has its own name, and none is looked at before the signature."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from swiftbuild.core import evidence, keysets, proof
from swiftbuild.core.bootlog import Boot
from swiftbuild.core.evidence import Release, Wanted
from swiftbuild.core.keysets import Change
from swiftbuild.core.proof import Chain
from swiftbuild.effects.keys import KeyFolder, Terms, make_folder, sign
from swiftbuild.errors import DamageError
from swiftbuild.model.signing import KeySet, Role
from swiftbuild.wire import dsse, keyset

RELEASE, OLDER, TWIN, NEXT, SET, FILE = (digit * 64 for digit in "123456")
PAYLOADS = {"kernel": "7" * 64, "erofs": "8" * 64}
NOW = 5000
Edit = Callable[[dict[str, Any]], object]


@dataclass(frozen=True)
class Entry:
    name: str
    needs: proof.Needs
    story: str
    cpus: tuple[int, ...] = (1, 4)


ENTRIES = (Entry("boot", "release", "ar"), Entry("update", "update", "ar br"), Entry("panic", "keys", "ar bp ar"))
WORDS = {entry.name: entry.story.split() for entry in ENTRIES}


def runs() -> list[dict[str, Any]]:
    """All that must have run, each boot with a log of its own."""
    chains = [Chain("qemu", RELEASE, RELEASE, "own"), Chain("qemu", OLDER, RELEASE, "between"),
              Chain("qemu", TWIN, NEXT, "next", twin=True)]
    made, logs = [], count(0x1000)
    for run in proof.full(ENTRIES, chains):
        boots = [{"log": f"{next(logs):064x}", "word": word} for word in WORDS[run.scenario]]
        made.append({"scenario": run.scenario, "profile": "qemu", "cpus": run.cpus, "artifact": run.artifact,
                     "kind": run.chain.kind, "old": run.chain.old, "new": run.chain.new, "kept": False,
                     "outcome": {"status": "passed", "started_at": 1000, "ended_at": 2000, "boots": boots}})
    return made


def at_hand() -> dict[str, Boot]:
    """The console logs, as they are read."""
    def boot(word: str) -> Boot:
        return Boot(word[0], ready=word[1] == "r", gave_up=False, panic="brk" if word[1] == "p" else "")

    return {row["log"]: boot(row["word"]) for run in runs() for row in run["outcome"]["boots"]}


def document() -> dict[str, Any]:
    """A statement that proves RELEASE."""

    def release(role: str, digest: str) -> dict[str, Any]:
        return {"role": role, "profile": "qemu", "version": "1.0.0", "digest": digest,
                "payloads": dict(PAYLOADS) if digest != OLDER else {"kernel": "9" * 64}}

    return {
        "_type": "https://in-toto.io/Statement/v1", "predicateType": "urn:swift-os:verify:1",
        "subject": [{"name": "swift-os-qemu.release", "digest": {"sha256": FILE}}],
        "predicate": {
            "verdict": "passed", "scope": "full", "seed": None, "started_at": 1000, "ended_at": 2000,
            "harness": {"commit": "abc", "digest": "a" * 64, "scenario_set": SET, "qemu": "QEMU",
                        "qemu_sha256": "b" * 64, "firmware_sha256": "c" * 64},
            "releases": [release("subject", RELEASE), release("from", OLDER), release("twin", TWIN)],
            "runs": runs(),
        },
    }  # fmt: skip


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> KeyFolder:
    return make_folder(tmp_path_factory.mktemp("keys") / "real", name="", terms=Terms(dev=False, signed_at=0),
                       passphrase=None)


def known(keys: KeyFolder) -> KeySet:
    return keyset.decode(keys.key_set() or b"").key_set


def record(keys: KeyFolder, told: dict[str, Any], role: str = "evidence") -> bytes:
    body = json.dumps(told).encode()
    (key,) = keys.listed(role)
    return dsse.encode(body, (sign(key, dsse.message(body), lambda _: b""),))


def wanted(**changes: object) -> Wanted:
    fields: dict[str, Any] = {
        "releases": [Release("qemu", RELEASE, FILE, PAYLOADS)], "older": {OLDER: "qemu"}, "entries": ENTRIES,
        "scenario_set": SET, "now": NOW, "since": 500, **changes}
    return Wanted(**fields)


def codes(keys: KeyFolder, raw: bytes, asked: Wanted | None = None, logs: dict[str, Boot] | None = None) -> set[str]:
    found = evidence.faults(raw, known(keys), asked or wanted(), at_hand() if logs is None else logs)
    return {fault.code for fault in found}


def test_a_record_of_this_release_proves_it(keys: KeyFolder) -> None:
    assert codes(keys, record(keys, document())) == set()


def set_in(*path: str | int, to: object) -> Edit:
    def edit(told: dict[str, Any]) -> None:
        place: Any = told
        for part in path[:-1]:
            place = place[part]
        place[path[-1]] = to

    return edit


def in_run(name: str, *path: str | int, to: object, cpus: int = 1) -> Edit:
    """Something of one run becomes something else."""
    def edit(told: dict[str, Any]) -> None:
        index = next(at for at, run in enumerate(told["predicate"]["runs"])
                     if (run["scenario"], run["cpus"]) == (name, cpus))
        set_in("predicate", "runs", index, *path, to=to)(told)

    return edit


def without(*names: str, cpus: tuple[int, ...] = (1, 4), old: str = "") -> Edit:
    """These runs never were."""
    def edit(told: dict[str, Any]) -> None:
        told["predicate"]["runs"] = [
            run for run in told["predicate"]["runs"]
            if run["scenario"] not in names or run["cpus"] not in cpus or old not in {"", run["old"]}]

    return edit


def again(told: dict[str, Any]) -> None:
    """A run stands there twice, with the same logs."""
    told["predicate"]["runs"].append(told["predicate"]["runs"][0])


EDITS: dict[str, tuple[Edit, set[str]]] = {
    "another release": (set_in("predicate", "releases", 0, "digest", to="e" * 64), {"release"}),
    "another file of it": (set_in("subject", 0, "digest", "sha256", to="e" * 64), {"release"}),
    "other contents": (set_in("predicate", "releases", 0, "payloads", "kernel", to="e" * 64), {"release"}),
    "bounded": (set_in("predicate", "scope", to="bounded"), {"scope"}),
    "chosen": (set_in("predicate", "scope", to="chosen"), {"scope"}),
    "an older set of scenarios": (set_in("predicate", "harness", "scenario_set", to="e" * 64), {"scenario-set"}),
    "a tree with changes": (set_in("predicate", "harness", "commit", to="abc-dirty"), {"harness"}),
    "a tree that is unknown": (set_in("predicate", "harness", "commit", to=""), {"harness"}),
    "no update from a version that is in use": (without("update", old=OLDER), {"missing", "from"}),
    "a scenario is missing": (without("panic"), {"missing"}),
    "the release itself never booted": (without("boot"), {"missing"}),
    "a number of processors is missing": (without("update", cpus=(4,)), {"missing"}),
    "a twin of something else": (set_in("predicate", "releases", 2, "payloads", "kernel", to="e" * 64),
                                 {"twin", "missing"}),
    "a scenario on something else": (in_run("panic", "old", to="e" * 64), {"release", "missing"}),
    "a release that says that it is a twin": (in_run("boot", "artifact", to="twin"), {"release", "missing"}),
    "a scenario that failed": (in_run("update", "outcome", "status", to="failed"), {"failed"}),
    "a run without a boot": (in_run("update", "outcome", "boots", to=[]), {"story"}),
    "logs of another story": (in_run("panic", "outcome", "boots", 1, "log", to="f" * 64), {"log"}),
    "another log": (in_run("boot", "outcome", "boots", 0, "log", to="e" * 64), {"log"}),
    "a run that stands there twice": (again, {"twice", "log"}),
    "did not pass": (set_in("predicate", "verdict", to="failed"), {"verdict"}),
    "too old": (set_in("predicate", "started_at", to=499), {"old"}),
    "a kept run that is too old": (in_run("boot", "outcome", "started_at", to=499), {"old"}),
    "of tomorrow": (set_in("predicate", "ended_at", to=90000), {"time"}),
    "ends before it begins": (in_run("boot", "outcome", "ended_at", to=900), {"time"}),
    "another kind of statement": (set_in("predicateType", to="urn:other"), {"form"}),
    "no kind": (lambda told: told.pop("predicateType"), {"form"}),
    "no statement": (lambda told: told.pop("predicate"), {"form"}),
}


@pytest.mark.parametrize("name", EDITS)
def test_what_is_no_proof_is_refused(name: str, keys: KeyFolder) -> None:
    told = document()
    edit, found = EDITS[name]
    edit(told)
    assert codes(keys, record(keys, told)) == found


def test_logs_are_read_again(keys: KeyFolder) -> None:
    """What the record says of a boot does not count: the panic's log shows a boot that was ready."""
    logs = at_hand()
    (panicked, *_) = [log for log, boot in logs.items() if boot.panic]
    logs[panicked] = replace(logs[panicked], panic="", ready=True)
    assert codes(keys, record(keys, document()), logs=logs) == {"story"}


def test_the_wrong_signers_are_refused(keys: KeyFolder, tmp_path: Path) -> None:
    told = document()
    other = make_folder(tmp_path / "other", name="", terms=Terms(dev=False, signed_at=0), passphrase=None)
    assert codes(keys, record(other, told)) == {"signature"}
    assert codes(keys, record(keys, told, "release")) == {"signature"}, "a key of another role"
    raw = json.loads(record(keys, told))
    told["predicate"]["ended_at"] = 3000
    raw["payload"] = json.loads(record(keys, told))["payload"]
    assert codes(keys, json.dumps(raw).encode()) == {"signature"}, "another payload under the same signature"


def test_a_threshold_counts_a_key_once(keys: KeyFolder, tmp_path: Path) -> None:
    second = KeyFolder(tmp_path / "second").make("evidence", "second", None)
    both = keysets.following(known(keys), Change(Role.EVIDENCE, (second.public,), threshold=2), signed_at=0)
    body = json.dumps(document()).encode()
    (first,) = keys.listed("evidence")
    one, two = (sign(key, dsse.message(body), lambda _: b"") for key in (first, second))
    for signatures, found in (((one,), {"signature"}), ((one, one), {"signature"}), ((one, two), set())):
        raw = dsse.encode(body, signatures)
        assert {fault.code for fault in evidence.faults(raw, both, wanted(), at_hand())} == found


def test_throw_away_keys_prove_nothing_unless_they_may(tmp_path: Path) -> None:
    dev = make_folder(tmp_path / "dev", name="", terms=Terms(dev=True, signed_at=0), passphrase=None)
    raw = record(dev, document())
    assert codes(dev, raw) == {"dev"}
    assert codes(dev, raw, wanted(dev=True)) == set()


def test_a_bounded_record_will_do_where_it_may(keys: KeyFolder) -> None:
    """Each scenario once, and the update from an older release among them."""
    told = document()
    told["predicate"]["scope"] = "bounded"
    without("boot", "panic", "update", cpus=(4,))(told)
    without("update", old=TWIN)(told)
    assert codes(keys, record(keys, told), wanted(bounded=True)) == set()
    without("panic")(told)
    assert codes(keys, record(keys, told), wanted(bounded=True)) == {"missing"}
    without("update")(told)
    assert codes(keys, record(keys, told), wanted(bounded=True)) == {"missing", "from"}


def enveloped(payload: str, sig: str) -> bytes:
    signatures = [{"keyid": "0" * 64, "sig": sig}]
    return json.dumps({"payloadType": "application/vnd.in-toto+json", "payload": payload, "signatures": signatures}
                      ).encode()


@given(st.binary(max_size=400) | st.builds(enveloped, st.text() | st.binary().map(lambda raw: b64encode(raw).decode()),
                                           st.text()))
def test_any_bytes_are_an_envelope_or_damage(raw: bytes) -> None:
    try:
        body, _ = dsse.decode(raw)
        dsse.statement(body)
    except DamageError:
        pass


@pytest.mark.parametrize("raw", [enveloped("é", ""), enveloped("e30=", "ü"), b'{"payload":"","signatures":[]}'])
def test_what_is_no_base64_or_no_envelope_is_damage(raw: bytes) -> None:
    with pytest.raises(DamageError, match="no DSSE envelope"):
        dsse.decode(raw)


def test_the_encoding_is_that_of_the_specification() -> None:
    """The example of DSSE's protocol.md, with our payload type."""
    assert dsse.message(b"hello world") == b"DSSEv1 28 application/vnd.in-toto+json 11 hello world"
