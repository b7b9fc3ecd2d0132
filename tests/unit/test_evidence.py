"""A record proves a release, or is refused: each fault has its own name, and none is looked at before the signature."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from swiftbuild.core import evidence, keysets
from swiftbuild.core.evidence import Wanted
from swiftbuild.core.keysets import Change
from swiftbuild.effects.keys import KeyFolder, Terms, make_folder, sign
from swiftbuild.errors import DamageError
from swiftbuild.model.signing import KeySet, Role
from swiftbuild.wire import dsse, keyset

RELEASE, OLDER, TWIN, SET, LOG = ("1" * 64, "2" * 64, "3" * 64, "4" * 64, "5" * 64)
PAYLOADS = {"kernel": "6" * 64, "erofs": "7" * 64}
Edit = Callable[[dict[str, Any]], object]


def document() -> dict[str, Any]:
    """A statement that proves RELEASE."""

    def run(scenario: str, old: str, artifact: str, new: str) -> dict[str, Any]:
        return {"scenario": scenario, "profile": "qemu", "cpus": 1, "artifact": artifact, "old": old, "new": new,
                "kept": False, "outcome": {"status": "passed", "boots": 2, "logs": {"boot-1": LOG}}}

    def release(role: str, digest: str) -> dict[str, Any]:
        return {"role": role, "profile": "qemu", "version": "1.0.0", "digest": digest,
                "payloads": dict(PAYLOADS) if digest != OLDER else {"kernel": "8" * 64}}

    return {
        "_type": "https://in-toto.io/Statement/v1", "predicateType": "urn:swift-os:verify:1",
        "subject": [{"name": "swift-os-qemu.release", "digest": {"sha256": "9" * 64}}],
        "predicate": {
            "verdict": "passed", "scope": "full", "seed": None, "started_at": 1000, "ended_at": 2000,
            "harness": {"commit": "abc", "digest": "a" * 64, "scenario_set": SET, "qemu": "QEMU",
                        "qemu_sha256": "b" * 64, "firmware_sha256": "c" * 64},
            "releases": [release("subject", RELEASE), release("from", OLDER), release("twin", TWIN)],
            "runs": [run("update", OLDER, "release", RELEASE), run("panic", TWIN, "twin", "d" * 64)],
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
    fields: dict[str, Any] = {"digests": {"qemu": RELEASE}, "scenarios": frozenset({"update", "panic"}),
                              "scenario_set": SET, "since": 500, "older": frozenset({OLDER}), **changes}
    return Wanted(**fields)


def codes(keys: KeyFolder, raw: bytes, asked: Wanted | None = None) -> set[str]:
    found = evidence.faults(raw, known(keys), asked or wanted(), {LOG: ""})
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


EDITS: dict[str, tuple[Edit, str]] = {
    "another release": (set_in("predicate", "releases", 0, "digest", to="e" * 64), "release"),
    "bounded": (set_in("predicate", "scope", to="bounded"), "scope"),
    "chosen": (set_in("predicate", "scope", to="chosen"), "scope"),
    "an older set of scenarios": (set_in("predicate", "harness", "scenario_set", to="e" * 64), "scenario-set"),
    "a version that is in use is missing": (lambda told: told["predicate"]["releases"].pop(1), "from"),
    "a scenario is missing": (lambda told: told["predicate"]["runs"].pop(1), "missing"),
    "a twin of something else": (set_in("predicate", "releases", 2, "payloads", "kernel", to="e" * 64), "twin"),
    "a scenario on something else": (set_in("predicate", "runs", 1, "old", to="e" * 64), "release"),
    "a scenario that failed": (set_in("predicate", "runs", 0, "outcome", "status", to="failed"), "failed"),
    "a run without a log": (set_in("predicate", "runs", 0, "outcome", "logs", to={}), "log"),
    "another log": (set_in("predicate", "runs", 0, "outcome", "logs", "boot-1", to="e" * 64), "log"),
    "did not pass": (set_in("predicate", "verdict", to="failed"), "verdict"),
    "too old": (set_in("predicate", "started_at", to=499), "old"),
    "another kind of statement": (set_in("predicateType", to="urn:other"), "form"),
    "no statement": (lambda told: told.pop("predicate"), "form"),
}


@pytest.mark.parametrize("name", EDITS)
def test_what_is_no_proof_is_refused(name: str, keys: KeyFolder) -> None:
    told = document()
    edit, code = EDITS[name]
    edit(told)
    assert code in codes(keys, record(keys, told))


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
        assert {fault.code for fault in evidence.faults(raw, both, wanted(), {LOG: ""})} == found


def test_throw_away_keys_prove_nothing_unless_they_may(tmp_path: Path) -> None:
    dev = make_folder(tmp_path / "dev", name="", terms=Terms(dev=True, signed_at=0), passphrase=None)
    raw = record(dev, document())
    assert codes(dev, raw) == {"dev"}
    assert codes(dev, raw, wanted(dev=True)) == set()


def test_a_bounded_record_will_do_where_it_may(keys: KeyFolder) -> None:
    told = document()
    told["predicate"]["scope"] = "bounded"
    assert codes(keys, record(keys, told), wanted(bounded=True)) == set()
    told["predicate"]["runs"].pop()
    assert codes(keys, record(keys, told), wanted(bounded=True)) == {"missing"}


@given(st.binary(max_size=400) | st.from_regex(r'\{"payloadType":"[a-z/+.-]*","payload":"[A-Za-z0-9=]*","sig.*\}'
                                              ).map(str.encode))
def test_any_bytes_are_an_envelope_or_damage(raw: bytes) -> None:
    try:
        body, _ = dsse.decode(raw)
        dsse.statement(body)
    except DamageError:
        pass


def test_the_encoding_is_that_of_the_specification() -> None:
    """The example of DSSE's protocol.md, with our payload type."""
    assert dsse.message(b"hello world") == b"DSSEv1 28 application/vnd.in-toto+json 11 hello world"
