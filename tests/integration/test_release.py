"""`swiftbuild release` on this tree: two versions of it, what is built for them, who signs, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from swiftbuild.wire import release

from tests.fakes import ROOT
from tests.integration.test_cli import swiftbuild
from tests.variants import slot_image

pytestmark = [pytest.mark.image_test, pytest.mark.xdist_group("image")]
REFUSED = 10
DEV = str(ROOT / "keys" / "dev")


def run(*words: str | Path, keys: str | Path = DEV, status: int = 0) -> Any:
    """The command's document, with this key folder."""
    done = swiftbuild("--json", *map(str, words), env={"SWIFTBUILD_KEYS": str(keys)})
    assert done.returncode == status, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree's release."""
    folder = tmp_path_factory.mktemp("release")
    run("release", "build", "-p", "qemu", "-o", folder / "n.release")
    return folder


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys that are no throw-away, of which two must sign a release, and a release for them that one has built."""
    folder = tmp_path_factory.mktemp("real")
    keys = folder / "keys"
    run("keys", "init", keys, "--no-passphrase", "--expires", "2031-12-31")
    run("keys", "init", folder / "bob", "--only", "release", "--name", "bob", "--no-passphrase")
    run("keys", "rotate", "release", "--add", folder / "bob/release-bob.pub", "--threshold", "2", keys=keys)
    words = ("--no-dev", "--signed-at", "2026-11-30", "-o", folder / "n.release")
    run("release", "build", "-p", "qemu", *words, keys=keys)
    return folder


def test_a_release_is_what_a_slot_holds(built: Path) -> None:
    image = run("image", "-p", "qemu")["path"]
    raw = (built / "n.release").read_bytes()
    assert raw == slot_image(Path(image))
    assert len(raw) == release.decode_header(raw).min_slot_size
    assert run("release", "verify", built / "n.release")["ok"]
    shown = run("release", "inspect", built / "n.release")
    assert (shown["kind"], shown["state"], shown["trust"]["accepted"]) == ("release", "ok", True)


def test_the_next_version_of_the_same_tree_shares_the_kernel(built: Path) -> None:
    more = ("--version", "9.8.7", "--rollback-index", "5", "--revokes-older")
    made = run("release", "build", "-p", "qemu", *more, "-o", built / "next.release")
    assert set(made["ran"]) <= {"root/qemu", "verity/qemu", "slot/qemu", "signed/qemu"}, "nothing was compiled"
    assert (made["version"], made["rollback_index"], made["flags"]) == ("9.8.7", 5, ["dev", "revokes_older"])
    assert made["signed_at"] is None, "throw-away keys tell no time"
    now, then = (release.read_slot((built / name).read_bytes()) for name in ("next.release", "n.release"))
    for kind in ("kernel", "loader", "symbols", "erofs"):
        digests = [next(s.digest for s in image.header.sections if s.name == kind) for image in (now, then)]
        assert (digests[0] == digests[1]) == (kind != "erofs"), kind
    assert b"VERSION_ID=\"9.8.7\"" in bytes(now.body)
    assert run("release", "verify", built / "next.release")["ok"]


def test_without_enough_keys_it_is_built_and_not_signed(real: Path) -> None:
    made = run("release", "build", "-p", "qemu", "--no-dev", "--signed-at", "2026-11-30", "-o", real / "again.release",
               keys=real / "keys")
    assert made["state"].startswith("not signed") and made["signatures"] == [] and made["flags"] == []
    assert made["signed_at"] == "2026-11-30T00:00:00Z"
    told = run("release", "verify", real / "again.release", keys=real / "keys", status=6)
    assert [fault["code"] for fault in told["findings"]] == ["signature-release"]
    assert (real / "again.release").read_bytes() == (real / "n.release").read_bytes(), "the same, bit for bit"
    refused = run("release", "sign", real / "again.release", keys=real / "keys", status=REFUSED)
    assert "1 private release keys are here, 2 must sign" in refused["error"] and "sign request" in refused["hint"]


def test_the_second_person_makes_it_whole(real: Path, tmp_path: Path) -> None:
    file, keys = Path(shutil.copy(real / "n.release", tmp_path / "n.release")), real / "keys"
    request = run("sign", "request", file, keys=keys)["request"]
    run("sign", "add", request, keys=real / "bob")
    run("sign", "add", request, keys=keys)
    run("sign", "finish", request, file, keys=keys)
    run("keys", "export", tmp_path / "public", keys=keys)
    for words in (("--keys", tmp_path / "public"), ("--root", keys / "root.pub")):
        assert run("release", "verify", file, *words)["ok"]
    codes = {fault["code"] for fault in run("release", "verify", file, status=6)["findings"]}
    assert codes == {"signature-root"}, "throw-away keys are another root"
    for at, status in (("2031-12-31", 0), ("2032-01-01", 6)):
        told = run("release", "verify", file, "--keys", tmp_path / "public", "--at", at, status=status)
        assert [fault["code"] for fault in told["findings"]] == ["expired"] * (status == 6)
    signed = file.read_bytes()
    again = run("release", "build", "-p", "qemu", "--no-dev", "--signed-at", "2026-11-30", "-o", file, keys=keys)
    assert again["state"].startswith("kept") and file.read_bytes() == signed


def test_what_must_not_leave_the_desk_is_not_signed(built: Path, real: Path, tmp_path: Path) -> None:
    before = sorted(path.name for path in tmp_path.iterdir())
    words = ("release", "build", "-p", "qemu", "-o", tmp_path / "dev.release")
    refused = run(*words, keys=real / "keys", status=REFUSED)
    assert "has built-in passwords" in refused["error"] and "--no-dev" in refused["hint"]
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    refused = run("image", "-p", "qemu", "-o", tmp_path / "dev.img", keys=real / "keys", status=REFUSED)
    assert "has built-in passwords" in refused["error"]
    file = Path(shutil.copy(built / "n.release", tmp_path / "n.release"))
    for command in ("release sign", "sign request"):
        error = run(*command.split(), file, keys=real / "keys", status=REFUSED)["error"]
        for code in ("dev-flag", "root-keys", "dev-key", "built-in-password"):
            assert f"[{code}]" in error
    assert file.read_bytes() == (built / "n.release").read_bytes()


def test_own_passwords_may_leave(real: Path, tmp_path: Path) -> None:
    words = ("release", "build", "-p", "qemu", "--no-dev", "-o", tmp_path / "own.release", "--password-hash")
    assert run(*words, "$6$own$" + "x" * 86, keys=real / "keys")["signatures"] == []


def test_mistakes(built: Path, tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("a host's name\n")
    for words in (["verify"], ["sign"], ["inspect"]):
        assert "no release" in run("release", *words, text, status=6)["error"]
        assert "there is no file" in run("release", *words, tmp_path / "none", status=2)["error"]
    assert "not overwritten" in run("release", "build", "-p", "qemu", "-o", text, status=2)["error"]
    assert "no place for a release" in run("release", "build", "-p", "qemu", "-o", tmp_path, status=2)["error"]
    assert "--version 1: not" in run("release", "build", "-p", "qemu", "--version", "1", status=2)["error"]
    assert "not a time" in run("release", "verify", built / "n.release", "--at", "soon", status=2)["error"]
    error = run("release", "verify", built / "n.release", "--root-threshold", "2", status=2)["error"]
    assert "0 keys are given" in error
    assert "qemu" in json.dumps(run("release", "build"))
