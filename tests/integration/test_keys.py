"""`swiftbuild keys`: folders of keys, the set that root signs, and mistakes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_cli import swiftbuild


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A new key folder."""
    done = swiftbuild("keys", "init", str(tmp_path / "keys"), "--no-passphrase", "--expires", "2031-12-31")
    assert done.returncode == 0, done.stderr
    return tmp_path / "keys"


def keys(folder: Path, *words: str, status: int = 0) -> Any:
    """The command's document, with this folder in use."""
    done = swiftbuild("--json", "keys", *words, env={"SWIFTBUILD_KEYS": str(folder)})
    assert done.returncode == status, done.stderr
    return json.loads(done.stdout)


def roles(document: Any) -> dict[str, tuple[int, list[str]]]:
    """Role → threshold and names."""
    return {row["role"]: (row["threshold"], [key["name"] for key in row["keys"]]) for row in document["roles"]}


def test_a_new_folder_has_a_key_of_each_role_and_a_set(folder: Path) -> None:
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.glob("*.pem")} == {0o600}
    shown = keys(folder, "show")
    assert (shown["version"], shown["dev"], shown["expires"][:10]) == (1, False, "2031-12-31")
    assert roles(shown) == {role: (1, [role]) for role in ("release", "packages", "evidence")}
    assert [(row["role"], row["private"], row["in_key_set"]) for row in keys(folder, "list")["keys"]] == [
        ("root", True, False), ("release", True, True), ("packages", True, True), ("evidence", True, True)]
    assert [path.name for path in folder.parent.iterdir()] == ["keys"], "nothing is left beside it"


def test_two_of_three_people_sign_releases(folder: Path, tmp_path: Path) -> None:
    for name in ("alice", "bob"):
        done = swiftbuild("keys", "init", str(tmp_path / name), "--only", "release", "--name", name, "--no-passphrase")
        assert done.returncode == 0, done.stderr
        made = sorted(path.name for path in (tmp_path / name).iterdir())
        assert made == [f"release-{name}.pem", f"release-{name}.pub"]
    added = [word for name in ("alice", "bob") for word in ("--add", str(tmp_path / name / f"release-{name}.pub"))]
    assert roles(keys(folder, "rotate", "release", *added, "--threshold", "2"))["release"] == (
        2, ["release", "release-alice", "release-bob"])
    gone = next(row["id"] for row in keys(folder, "list")["keys"] if row["name"] == "release-bob")
    shown = keys(folder, "rotate", "release", "--revoke", gone[:12])
    assert (shown["version"], roles(shown)["release"]) == (3, (2, ["release", "release-alice"]))
    left = shown["roles"][0]["keys"][0]["id"]
    assert "would have 1" in keys(folder, "rotate", "release", "--revoke", left, status=2)["error"]
    assert keys(folder, "show")["version"] == 3


def test_a_new_pair_takes_the_old_ones_place(folder: Path) -> None:
    assert roles(keys(folder, "rotate", "packages"))["packages"] == (1, ["packages-2"])
    assert roles(keys(folder, "rotate", "evidence", "--name", "second"))["evidence"] == (1, ["evidence-second"])
    assert keys(folder, "rotate", "release", "--expires", "never")["expires"] is None
    listed = {row["name"]: row["in_key_set"] for row in keys(folder, "list")["keys"]}
    assert listed == {"root": False, "release": True, "packages": False, "packages-2": True, "evidence": False,
                      "evidence-second": True}


def test_what_is_exported_is_public(folder: Path, tmp_path: Path) -> None:
    keys(folder, "export", str(tmp_path / "out"))
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["evidence.pub", "keyset.bin", "packages.pub", "release.pub", "root.pub"]
    assert keys(tmp_path / "out", "show")["version"] == 1
    assert "no private keys of root" in keys(tmp_path / "out", "rotate", "packages", status=3)["error"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names, "nothing was made"
    assert "it exists" in keys(folder, "export", str(tmp_path / "out"), status=2)["error"]


def test_as_many_of_root_sign_a_set_as_the_folder_says(folder: Path, tmp_path: Path) -> None:
    for name in ("alice", "bob"):
        done = swiftbuild("keys", "init", str(folder), "--only", "root", "--name", name, "--no-passphrase")
        assert done.returncode == 0, done.stderr
    (folder / "root.toml").write_text('threshold = 2\nkeys = ["root", "root-alice"]\n')
    assert "signed by 1 of 2 root keys, 2 must" in keys(folder, "show", status=6)["error"]
    (folder / "root.toml").write_text("threshold = 1\n")
    keys(folder, "rotate", "packages")
    (folder / "root.toml").write_text('threshold = 2\nkeys = ["root", "root-alice"]\n')
    shown = keys(folder, "show")  # all of root that was here has signed
    assert [(row["threshold"], [key["name"] for key in row["keys"]]) for row in shown["roots"]] == [
        (2, ["root", "root-alice"])]
    (folder / "root-alice.pem").rename(tmp_path / "elsewhere")
    refused = keys(folder, "rotate", "packages", status=3)
    assert "1 private keys of root are here, 2 of 2 must sign" in refused["error"] and "--stage" in refused["hint"]
    assert keys(folder, "show")["version"] == 2, "nothing was made"


@pytest.mark.parametrize(("text", "why"), [
    ("threshold = 2", "2 of 1 keys must sign"), ("threshold = 0", "greater than or equal to 1"),
    ('keys = ["root-bob"]', "there is no root-bob.pub"), ('keys = ["../root"]', "keys.0"),
    ('[previous]\nthreshold = 2\nkeys = ["root"]', "2 of 1 keys must sign"), ("treshold = 1", "unknown key 'treshold'"),
])  # fmt: skip
def test_a_root_that_makes_no_sense_is_told(folder: Path, text: str, why: str) -> None:
    (folder / "root.toml").write_text(text)
    error = keys(folder, "show", status=3)["error"]
    assert why in error and str(folder / "root.toml") in error


def test_a_private_key_may_be_hidden(tmp_path: Path) -> None:
    right, wrong, empty = tmp_path / "right", tmp_path / "wrong", tmp_path / "empty"
    right.write_text("a long secret\n")
    wrong.write_text("another secret\n")
    empty.write_text("\n")
    folder = tmp_path / "keys"
    assert "first line is empty" in keys(folder, "init", "--passphrase-file", str(empty), status=3)["error"]
    assert "no terminal" in keys(folder, "init", status=3)["error"]
    assert not folder.exists()
    keys(folder, "init", "--passphrase-file", str(right))
    assert all(b"ENCRYPTED" in path.read_bytes() for path in folder.glob("*.pem"))
    keys(folder, "rotate", "release", "--passphrase-file", str(right))
    assert b"ENCRYPTED" in (folder / "release-2.pem").read_bytes()
    said = keys(folder, "rotate", "release", "--threshold", "1", "--passphrase-file", str(wrong), status=3)
    assert "the passphrase is wrong" in said["error"]
    assert "secret" not in json.dumps(said)
    assert keys(folder, "show")["version"] == 2


def test_mistakes(folder: Path, tmp_path: Path) -> None:
    assert "it exists" in keys(folder, "init", "--no-passphrase", status=2)["error"]
    assert "never overwritten" in keys(folder, "init", "--only", "root", "--no-passphrase", status=3)["error"]
    assert "no such role" in keys(folder, "init", "--only", "rot", status=2)["error"]
    assert "letters" in keys(folder, "init", "--only", "root", "--name", "../x", status=2)["error"]
    assert "no role of a key set" in keys(folder, "rotate", "rot", status=2)["error"]
    assert "not a day" in keys(folder, "rotate", "release", "--expires", "soon", status=2)["error"]
    assert "no keys" in keys(tmp_path, "list", status=3)["error"]
    raw = bytearray((folder / "keyset.bin").read_bytes())
    raw[16] ^= 2  # the version
    (folder / "keyset.bin").write_bytes(raw)
    assert "0 of 1 root keys" in keys(folder, "show", status=6)["error"]
    (folder / "keyset.bin").write_bytes(raw[:100])
    assert "key set" in keys(folder, "show", status=6)["error"]


def test_a_private_key_of_another_pair_signs_nothing(folder: Path) -> None:
    (folder / "root.pem").write_bytes((folder / "release.pem").read_bytes())
    assert "does not belong to root.pub" in keys(folder, "rotate", "packages", status=3)["error"]
    assert keys(folder, "show")["version"] == 1
