"""`image --out`: what is no image of ours is never overwritten, and nothing is built first."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes import ROOT
from tests.images import build, parts


def image(out: Path, profile: str = "qemu") -> subprocess.CompletedProcess[str]:
    """Would write an image there; whether it may is decided before the plan is shown."""
    words = ["image", "-p", profile, "--out", str(out), "--dry-run", "--json"]
    return subprocess.run([sys.executable, "-m", "swiftbuild", *words], cwd=ROOT, capture_output=True, text=True,
                          check=False, timeout=120, stdin=subprocess.DEVNULL)


def refused(out: Path, named: Path, profile: str = "qemu") -> None:
    before = named.read_bytes()
    done = image(out, profile)
    assert done.returncode == 2, done.stdout
    found = json.loads(done.stdout)
    assert found["error"] == f"{named} is there and is no disk image of ours: it is not overwritten"
    assert found["hint"] == "name another file with --out, or remove that one"
    assert named.read_bytes() == before


@pytest.mark.parametrize("contents", [b"root:x:0:0\n", bytes(1 << 20), b"x" * (9 << 20)], ids=["text", "zeros", "big"])
def test_a_file_of_somebody_else_stays(tmp_path: Path, contents: bytes) -> None:
    mine = tmp_path / "mine"
    mine.write_bytes(contents)
    refused(mine, mine)
    link = tmp_path / "link"
    link.symlink_to(mine)
    refused(link, link)
    assert link.is_symlink()


def test_another_disk_stays(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with disk.open("wb") as file:
        file.truncate(100 << 20)
    subprocess.run(["/usr/sbin/sfdisk", "-q", str(disk)], input=b"label: gpt\nsize=10M, name=base_a\n", check=True)
    refused(disk, disk)


def test_an_image_an_empty_file_and_a_new_name_may_be_written(tmp_path: Path) -> None:
    ours = build(parts(tmp_path), "ours")
    empty = tmp_path / "empty"
    empty.touch()
    for out in (ours, empty, tmp_path / "new"):
        assert image(out).returncode == 0


def test_a_compressed_file_of_somebody_else_stays(tmp_path: Path) -> None:
    mine = tmp_path / "backup.zst"
    mine.write_bytes(b"mine")
    refused(tmp_path / "backup", mine, "hetzner")
    assert image(tmp_path / "backup").returncode == 0, "only hetzner's image has a compressed copy"
