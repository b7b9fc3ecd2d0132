"""`swiftbuild sign`: two of three people in folders of their own sign a key set and a release; and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from swiftbuild.cli.app import app
from swiftbuild.core import requests
from swiftbuild.core.trust import accept_release
from swiftbuild.effects.keys import KeyFolder
from swiftbuild.wire.request import encode
from typer.testing import CliRunner

from tests.fakes import ROOT
from tests.images import build_slot, make_loader, parts

PEOPLE = ("alice", "bob", "carol")
INCOMPLETE = 10


@dataclass(frozen=True)
class Desk:
    """The desk where releases are built, and the people who hold the keys, each in a folder that nobody else has."""

    folder: Path

    def run(self, who: str, *words: str | Path, status: int = 0) -> Any:
        """One command with somebody's key folder; its document."""
        done = CliRunner().invoke(app, ["-C", str(ROOT), "--json", *map(str, words)],
                                  env={"SWIFTBUILD_KEYS": str(self.folder / who)})
        assert done.exit_code == status, done.output
        return json.loads(done.stdout)

    def file(self, name: str) -> Path:
        return self.folder / name

    def request(self, file: Path) -> Path:
        """A request for it, from the desk."""
        return Path(self.run("desk", "sign", "request", file, "-o", f"{file}.request")["request"])


def made(folder: Path) -> Desk:
    """A desk whose root is two of three people, and whose releases two of the same three sign."""
    desk = Desk(folder)
    for name in PEOPLE:
        desk.run(name, "keys", "init", desk.file(name), "--only", "root", "--only", "release", "--name", name,
                 "--no-passphrase")
    roots = [word for name in PEOPLE for word in ("--root", desk.file(name) / f"root-{name}.pub")]
    desk.run("desk", "keys", "init", desk.file("desk"), *roots, "--root-threshold", "2", "--no-passphrase")
    draft = desk.file("desk/keyset.draft")
    signed_by(desk, Path(f"{draft}.request.json"), draft, "alice", "bob")
    desk.run("desk", "keys", "take", draft)
    old = KeyFolder(desk.file("desk")).listed("release")[0].public.key_id.hex()
    added = [word for name in PEOPLE for word in ("--add", desk.file(name) / f"release-{name}.pub")]
    second = desk.file("second")
    words = ("--revoke", old, "--threshold", "2", "--stage", second)
    asked = desk.run("desk", "keys", "rotate", "release", *added, *words)
    signed_by(desk, Path(asked["request"]), second, "carol", "alice")
    assert desk.run("desk", "keys", "take", second)["version"] == 2
    return desk


def signed_by(desk: Desk, request: Path, file: Path, *names: str) -> None:
    """Each adds to a copy of their own, the desk puts the copies together."""
    copies = []
    for name in names:
        copies.append(Path(shutil.copy(request, desk.file(f"{request.name}.{name}"))))
        desk.run(name, "sign", "add", copies[-1])
    desk.run("desk", "sign", "finish", *copies, file)


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A desk with an unsigned release, and another one."""
    desk = made(tmp_path_factory.mktemp("desk"))
    given = parts(desk.folder)
    loader = make_loader(desk.folder, 1, KeyFolder(desk.file("desk")).roots())
    for version in ("0.1.0", "0.1.1"):
        build_slot(replace(given, loader=loader, dev=False, version=version), version)
        (desk.file(version) / "unsigned").rename(desk.file(f"{version}.release"))
        shutil.rmtree(desk.file(version))
    return desk.folder


@pytest.fixture
def desk(ready: Path, tmp_path: Path) -> Desk:
    """A copy for one test."""
    shutil.copytree(ready, tmp_path / "all")
    return Desk(tmp_path / "all")


def test_two_of_three_sign_a_release(desk: Desk) -> None:
    file = desk.file("0.1.0.release")
    before = file.read_bytes()
    request = desk.request(file)
    told = desk.run("alice", "sign", "status", request, status=INCOMPLETE)
    assert (told["kind"], told["about"]["version"], told["about"]["profile"]) == ("release", "0.1.0", "qemu")
    assert told["about"]["key set"].startswith("version 2,") and told["complete"] is False
    assert [(g["role"], g["threshold"], [h["name"] for h in g["holders"]]) for g in told["groups"]] == [
        ("release", 2, [f"release-{name}" for name in PEOPLE])]
    desk.run("bob", "sign", "add", request)
    error = desk.run("desk", "sign", "finish", request, file, status=INCOMPLETE)
    assert "release: 1 of 2 have signed" in error["error"] and file.read_bytes() == before
    added = desk.run("carol", "sign", "add", request)
    assert added["complete"] and [h["signed"] for h in added["groups"][0]["holders"]] == [False, True, True]
    desk.run("desk", "sign", "finish", request, file)
    after = file.read_bytes()
    header, key_set = accept_release(after, KeyFolder(desk.file("desk")).roots())
    assert (header.version, key_set.version) == ("0.1.0", 2)
    assert before[:4096] == after[:4096] and before[16384:] == after[16384:], "only the signature area has changed"
    assert desk.run("alice", "sign", "status", request)["complete"]


def test_two_of_three_hold_root_and_each_copy_counts(desk: Desk) -> None:
    """Made by `made`: the first set, and the second, by copies that were put together."""
    shown = desk.run("desk", "keys", "show")
    assert (shown["version"], shown["roots"][0]["threshold"]) == (2, 2)
    draft = desk.file("third")
    asked = desk.run("desk", "keys", "rotate", "evidence", "--stage", draft)
    request = Path(asked["request"])
    about = desk.run("alice", "sign", "status", request, status=INCOMPLETE)["about"]
    assert about["version"] == "3" and about["may sign as release"].startswith("2 of ")
    desk.run("alice", "sign", "add", request)
    assert desk.run("desk", "sign", "finish", request, draft, status=INCOMPLETE)["exit_code"] == INCOMPLETE
    draft.rename(desk.file("aside"))
    given = request.read_bytes()
    words = ("keys", "rotate", "evidence", "--stage", draft)
    assert f"{request}: it exists" in desk.run("desk", *words, status=2)["error"] and request.read_bytes() == given
    desk.file("aside").rename(draft)
    assert "no signatures" in desk.run("desk", "keys", "take", draft, status=6)["error"]
    assert desk.run("desk", "keys", "show")["version"] == 2
    desk.run("bob", "sign", "add", request)
    desk.run("desk", "sign", "finish", request, draft)
    assert desk.run("desk", "keys", "take", draft)["version"] == 3
    older = desk.run("desk", "keys", "take", desk.file("second"), status=INCOMPLETE)
    assert "key set 2, and 3 is in use" in older["error"]


def test_the_same_key_twice_counts_once(desk: Desk) -> None:
    file = desk.file("0.1.0.release")
    request = desk.request(file)
    assert desk.run("alice", "sign", "add", request)["added"][0]["again"] is False
    first = request.read_bytes()
    again = desk.run("alice", "sign", "add", request, "--key", desk.file("alice/release-alice.pem"))
    assert again["added"][0]["again"] is True and not again["complete"]
    assert request.read_bytes() == first
    copy = Path(shutil.copy(request, desk.file("copy")))
    error = desk.run("desk", "sign", "finish", request, copy, file, status=INCOMPLETE)
    assert "1 of 2 have signed" in error["error"]


def test_what_somebody_gave_is_not_lost(desk: Desk) -> None:
    file = desk.file("0.1.0.release")
    request = desk.request(file)
    assert "it exists" in desk.run("desk", "sign", "request", file, "-o", request, status=2)["error"]
    for name in PEOPLE:
        desk.run(name, "sign", "add", request)
    desk.run("desk", "sign", "finish", request, file)
    later = desk.run("desk", "sign", "request", file, "-o", desk.file("later"))
    assert later["complete"], "the signatures that it has are known"
    # one whom the second request lacks: the signature that stands in the file stays
    asked = json.loads(desk.file("later").read_text())
    asked["signatures"] = asked["signatures"][:2]
    desk.file("later").write_text(json.dumps(asked))
    desk.run("desk", "sign", "finish", desk.file("later"), file)
    assert desk.run("desk", "inspect", file)["trust"]["signed_by"] == sorted(
        row["id"] for row in desk.run("desk", "keys", "show")["roles"][0]["keys"])


def test_a_key_that_may_not_sign_is_refused(desk: Desk) -> None:
    request = desk.request(desk.file("0.1.0.release"))
    before = request.read_bytes()
    for name, role in (("alice", "root"), ("desk", "evidence"), ("desk", "release")):  # the last one was revoked
        key = desk.file(name) / (f"{role}-{name}.pem" if name in PEOPLE else f"{role}.pem")
        refused = desk.run(name, "sign", "add", request, "--key", key, status=INCOMPLETE)
        assert "may not sign this" in refused["error"] and "release-alice" in refused["hint"]
    assert "no private key that may sign this is here" in desk.run("desk", "sign", "add", request,
                                                                   status=INCOMPLETE)["error"]
    asked = desk.run("desk", "keys", "rotate", "evidence", "--stage", desk.file("third"))
    key = desk.file("alice/release-alice.pem")
    assert "may not sign this" in desk.run("alice", "sign", "add", asked["request"], "--key", key,
                                           status=INCOMPLETE)["error"]
    assert request.read_bytes() == before


def _payload(asked: dict[str, Any]) -> None:
    asked["payload"] = asked["payload"][:224] + "09" + asked["payload"][226:]  # the rollback index


def _threshold(asked: dict[str, Any]) -> None:
    asked["groups"][0]["threshold"] = 1


def _other_words(asked: dict[str, Any]) -> None:
    asked["about"]["version"] = "0.1.2"


def _other_domain(asked: dict[str, Any]) -> None:
    asked["domain"] = "swift-os/key-set/v1"


def _digest(asked: dict[str, Any]) -> None:
    asked["digest"] = "00" * 32


def _holder(asked: dict[str, Any]) -> None:
    asked["groups"][0]["holders"].pop()


def _wrong_signature(asked: dict[str, Any]) -> None:
    asked["signatures"][0]["signature"] = "00" * 64


def _of_another(asked: dict[str, Any]) -> None:
    asked["signatures"][0]["key_id"] = asked["groups"][0]["holders"][1]["id"]


def _unknown_field(asked: dict[str, Any]) -> None:
    asked["note"] = "please"


def _later_version(asked: dict[str, Any]) -> None:
    asked["format_version"] = 2


def _escape(asked: dict[str, Any]) -> None:
    asked["groups"][0]["holders"][0]["name"] = "alice\x1b[2J"


ALTERATIONS: list[Callable[[dict[str, Any]], None]] = [
    _payload, _threshold, _other_words, _other_domain, _digest, _holder, _wrong_signature, _of_another, _unknown_field,
    _later_version, _escape,
]  # fmt: skip


@pytest.mark.parametrize("alter", ALTERATIONS, ids=lambda function: function.__name__.strip("_"))
def test_an_altered_request_is_refused(desk: Desk, alter: Callable[[dict[str, Any]], None]) -> None:
    file = desk.file("0.1.0.release")
    before, request = file.read_bytes(), desk.request(file)
    for name in ("alice", "bob"):
        desk.run(name, "sign", "add", request)
    asked = json.loads(request.read_text())
    alter(asked)
    request.write_text(json.dumps(asked))
    for words in (("add", request), ("status", request), ("finish", request, file)):
        error = desk.run("carol", "sign", *words, status=6)["error"]
        assert str(request) in error and "sign request" in error
    assert json.loads(request.read_text()) == asked and file.read_bytes() == before, "nothing was signed or written"


def test_another_release_or_request_is_refused(desk: Desk) -> None:
    one, two = desk.file("0.1.0.release"), desk.file("0.1.1.release")
    before = two.read_bytes()
    request, other = desk.request(one), desk.request(two)
    for name in ("alice", "bob"):
        desk.run(name, "sign", "add", request)
    assert "another release" in desk.run("desk", "sign", "finish", request, two, status=INCOMPLETE)["error"]
    error = desk.run("desk", "sign", "finish", request, other, one, status=INCOMPLETE)["error"]
    assert "release qemu 0.1.0" in error and "release qemu 0.1.1" in error
    damaged = desk.file("damaged")
    raw = bytearray(one.read_bytes())
    raw[16400] ^= 1
    damaged.write_bytes(raw)
    assert "kernel section is not the one" in desk.run("desk", "sign", "finish", request, damaged, status=6)["error"]
    assert two.read_bytes() == before and damaged.read_bytes() == raw


def test_a_request_that_asks_too_few_of_root_is_not_believed(desk: Desk) -> None:
    draft = desk.file("third")
    request = Path(desk.run("desk", "keys", "rotate", "evidence", "--stage", draft)["request"])
    desk.run("alice", "sign", "add", request)
    asked = json.loads(request.read_text())
    asked["groups"][0]["threshold"] = 1
    request.write_text(json.dumps(asked))
    assert desk.run("alice", "sign", "status", request)["complete"]
    before = draft.read_bytes()
    error = desk.run("desk", "sign", "finish", request, draft, status=INCOMPLETE)["error"]
    assert "root: 1 of 2 have signed" in error and draft.read_bytes() == before


def test_keys_that_have_left_the_set_sign_no_more(desk: Desk) -> None:
    """A request from before a revocation, complete: the set in use is a newer one."""
    file = desk.file("0.1.0.release")
    request = desk.request(file)
    for name in ("alice", "bob"):
        desk.run(name, "sign", "add", request)
    bob = KeyFolder(desk.file("bob")).listed("release")[0].public.key_id.hex()
    asked = desk.run("desk", "keys", "rotate", "release", "--revoke", bob, "--stage", desk.file("third"))
    signed_by(desk, Path(asked["request"]), desk.file("third"), "alice", "carol")
    desk.run("desk", "keys", "take", desk.file("third"))
    error = desk.run("desk", "sign", "finish", request, file, status=INCOMPLETE)
    assert "held to key set 2, and 3 is in use" in error["error"]


def test_signatures_under_a_set_that_root_did_not_sign_are_worth_nothing(desk: Desk, tmp_path: Path) -> None:
    """Somebody with a root of their own asks two of the real people, by a set that names their keys."""
    file = desk.file("0.1.0.release")
    desk.run("forger", "keys", "init", desk.file("forger"), "--no-passphrase")
    added = [word for name in PEOPLE for word in ("--add", desk.file(name) / f"release-{name}.pub")]
    desk.run("forger", "keys", "rotate", "release", *added, "--threshold", "2")
    place, request = KeyFolder(desk.file("forger")), tmp_path / "forged"
    forged = requests.for_release(file.read_bytes()[:4096], place.key_set() or b"", (), place.names())
    request.write_bytes(encode(forged))
    for name in ("alice", "bob"):
        desk.run(name, "sign", "add", request)
    assert "0 of 3 root keys" in desk.run("desk", "sign", "finish", request, file, status=6)["error"]


def test_mistakes(desk: Desk, tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("a host's name\n")
    assert "it is no release" in desk.run("desk", "sign", "request", text, status=6)["error"]
    assert "sign request" in desk.run("desk", "sign", "status", text, status=6)["error"]
    assert "No such file" in desk.run("desk", "sign", "status", tmp_path / "none", status=2)["error"]
    text.write_bytes(b" " * (1 << 20))
    assert "at most" in desk.run("desk", "sign", "status", text, status=6)["error"]
    words = ("keys", "init", tmp_path / "keys", "--root", desk.file("alice/root-alice.pub"), "--root-threshold", "2")
    assert "1 keys are given" in desk.run("desk", *words, "--no-passphrase", status=2)["error"]
