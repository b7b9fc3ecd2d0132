"""`swiftbuild keys rotate root`: from one root to the next, without a machine that trusts neither."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from swiftbuild.core.trust import accept_key_set
from swiftbuild.effects.keys import FolderKey, KeyFolder, sign
from swiftbuild.errors import DamageError, TrustError
from swiftbuild.model.release import SignatureArea
from swiftbuild.model.signing import Roots, SignedKeySet
from swiftbuild.scenarios.inspection import findings
from swiftbuild.wire import keyset, release, rootkeys

from tests.images import build_slot, make_loader, parts
from tests.integration.test_sign import INCOMPLETE, Desk, made
from tests.variants import with_area


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A folder with every key, root alone."""
    one = Desk(tmp_path)
    one.run("keys", "keys", "init", tmp_path / "keys", "--no-passphrase")
    return one


def quorums(desk: Desk, who: str = "keys") -> list[tuple[int, list[str]]]:
    """Threshold and names of each root that loaders built now trust."""
    shown = desk.run(who, "keys", "show")["roots"]
    return [(row["threshold"], [key["name"] for key in row["keys"]]) for row in shown]


def loader_of(desk: Desk, who: str = "keys") -> Roots:
    """What a loader that is built now trusts."""
    return rootkeys.find(make_loader(desk.folder, 1, KeyFolder(desk.file(who)).roots()).read_bytes())


def set_by(desk: Desk, *roots: FolderKey) -> SignedKeySet:
    """The folder's key set with these signatures alone."""
    present = keyset.decode(KeyFolder(desk.file("keys")).key_set() or b"")
    message = keyset.signed_message(present.digest)
    return keyset.decode(keyset.encode(present.key_set, [sign(root, message, lambda _: b"") for root in roots]))


def test_from_one_root_to_the_next(desk: Desk) -> None:
    before = loader_of(desk)
    told = desk.run("keys", "keys", "rotate", "root")
    assert told["signed_by_both"] is True
    assert quorums(desk) == [(1, ["root-2"]), (1, ["root"])]
    between = loader_of(desk)
    old, new = (KeyFolder(desk.file("keys")).listed("root")[at] for at in (1, 0))
    assert (old.path.name, new.path.name) == ("root.pub", "root-2.pub")
    for root in (old, new):
        accept_key_set(set_by(desk, root), between)
    accept_key_set(set_by(desk, old), before)
    with pytest.raises(TrustError):
        accept_key_set(set_by(desk, new), before)
    assert "already" in desk.run("keys", "keys", "rotate", "root", status=2)["error"]
    desk.run("keys", "keys", "rotate", "packages")  # signed by both, so that every loader takes it
    present = keyset.decode(KeyFolder(desk.file("keys")).key_set() or b"")
    assert present.key_set.version == 2 and len(present.signatures) == 2
    for roots in (before, between):
        accept_key_set(present, roots)
    desk.run("keys", "keys", "rotate", "root", "--commit")
    assert quorums(desk) == [(1, ["root-2"])]
    after = loader_of(desk)
    accept_key_set(present, after)
    accept_key_set(set_by(desk, new), after)
    with pytest.raises(TrustError):
        accept_key_set(set_by(desk, old), after)
    assert "not being rotated" in desk.run("keys", "keys", "rotate", "root", "--commit", status=2)["error"]
    desk.run("keys", "keys", "rotate", "evidence")  # by the new root alone
    assert len(keyset.decode(KeyFolder(desk.file("keys")).key_set() or b"").signatures) == 1


def test_a_release_of_either_root_verifies_while_root_is_rotated(desk: Desk, tmp_path: Path) -> None:
    desk.run("keys", "keys", "rotate", "root")
    folder = KeyFolder(desk.file("keys"))
    given = parts(tmp_path)
    slot = build_slot(replace(given, loader=make_loader(tmp_path, 1, folder.roots()), dev=False), "slot")
    raw, key = (slot / "unsigned").read_bytes(), folder.listed("release")[0]
    by = sign(key, release.signed_message(release.release_digest(raw)), lambda _: b"")
    for root in folder.root_keys():
        only = set_by(desk, root)
        area = SignatureArea(key_set=keyset.encode(only.key_set, only.signatures), signatures=(by,))
        (slot / "signed").write_bytes(with_area(raw, area))
        assert findings(slot / "signed") == []


def test_root_of_one_becomes_two_of_three_people(desk: Desk) -> None:
    for name in ("alice", "bob", "carol"):
        desk.run(name, "keys", "init", desk.file(name), "--only", "root", "--name", name, "--no-passphrase")
    added = [word for name in ("alice", "bob", "carol") for word in ("--add", desk.file(name) / f"root-{name}.pub")]
    gone = KeyFolder(desk.file("keys")).listed("root")[0].public.key_id.hex()
    words = ("keys", "rotate", "root", *added, "--revoke", gone[:10], "--threshold", "2")
    told = desk.run("keys", *words)
    assert told["signed_by_both"] is False
    people = ["root-alice", "root-bob", "root-carol"]
    assert quorums(desk) == [(2, people), (1, ["root"])]
    refused = desk.run("keys", "keys", "rotate", "root", "--commit", status=INCOMPLETE)
    assert "the new root has not signed the key set" in refused["error"]
    file = desk.file("keys/keyset.bin")
    request = desk.run("keys", "sign", "request", file)["request"]
    groups = desk.run("keys", "sign", "status", request, status=INCOMPLETE)["groups"]
    assert [(group["role"], group["met"]) for group in groups] == [("root", False), ("root before", True)]
    desk.run("alice", "sign", "add", request)
    assert "root: 1 of 2" in desk.run("keys", "sign", "finish", request, file, status=INCOMPLETE)["error"]
    desk.run("carol", "sign", "add", request)
    desk.run("keys", "sign", "finish", request, file)
    desk.run("keys", "keys", "rotate", "root", "--commit")
    assert quorums(desk) == [(2, people)]
    error = desk.run("keys", "keys", "rotate", "release", status=3)["error"]
    assert "no private keys of root are here, 2 of 3" in error


def test_one_of_three_leaves(tmp_path: Path) -> None:
    """Two stay: the new root is met by them, and by them alone."""
    desk = made(tmp_path)
    desk.run("dave", "keys", "init", desk.file("dave"), "--only", "root", "--name", "dave", "--no-passphrase")
    gone = KeyFolder(desk.file("bob")).listed("root")[0].public.key_id.hex()
    desk.run("desk", "keys", "rotate", "root", "--add", desk.file("dave/root-dave.pub"), "--revoke", gone)
    assert quorums(desk, "desk") == [(2, ["root-alice", "root-carol", "root-dave"]),
                                     (2, ["root-alice", "root-bob", "root-carol"])]
    assert len(loader_of(desk, "desk").keys) == 4
    desk.run("desk", "keys", "rotate", "root", "--commit")  # Alice and Carol had signed the set
    assert quorums(desk, "desk") == [(2, ["root-alice", "root-carol", "root-dave"])]


def test_mistakes_change_nothing(desk: Desk, tmp_path: Path) -> None:
    before = loader_of(desk)
    for words, status, why in (
        (("--threshold", "2"), 2, "it would have 1"), (("--revoke", "zz"), 2, "0 keys of root"),
        (("--threshold", "1"), 2, "would be the same"), (("--stage", "x"), 2, "root is in none"),
        (("--commit", "--threshold", "1"), 2, "changes nothing else"),
        (("--add", desk.file("keys/release.pub"), "--threshold", "3"), 2, "it would have 2"),
    ):  # fmt: skip
        assert why in desk.run("keys", "keys", "rotate", "root", *words, status=status)["error"]
    assert "no other role" in desk.run("keys", "keys", "rotate", "release", "--commit", status=2)["error"]
    # a key file more in the folder is not a key of root more
    desk.run("keys", "keys", "init", desk.file("keys"), "--only", "root", "--name", "eve", "--no-passphrase")
    assert loader_of(desk) == before
    (tmp_path / "root-eve.pub").write_bytes(desk.file("keys/release.pub").read_bytes())
    eve = desk.run("keys", "keys", "rotate", "root", "--add", tmp_path / "root-eve.pub", status=3)
    assert "another key of that name" in eve["error"]
    with pytest.raises(DamageError):
        rootkeys.find(b"")
