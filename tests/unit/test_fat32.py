"""The FAT32 builder, read back by fsck.fat, mtools and pyfatfs."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest
from pyfatfs.PyFatFS import PyFatFS
from swiftbuild.errors import SpaceError
from swiftbuild.wire import fat32

MIB = 1 << 20


def files() -> dict[str, bytes]:
    """Names of every shape, sizes around cluster limits, a folder larger than a cluster."""
    make = random.Random(7)  # noqa: S311 - test data
    found = {
        "EFI/BOOT/BOOTAA64.EFI": make.randbytes(200_001),
        "base.img": make.randbytes(3 * MIB),
        "EMPTY": b"",
        "a long name with spaces.text": b"x",
        "a long name with dots.too": b"y",
        ".hidden": b"z",
        "Ünï.txt": b"unicode",
        "thirteen char": b"13",
        "exactly-26-characters-long": b"26",
    }
    return found | {f"many/File number {i}.txt": make.randbytes(i * 37 % 1500) for i in range(200)}


def volume(tmp_path: Path, size: int = 64 * MIB) -> Path:
    """A volume in a file of its full size."""
    path = tmp_path / "esp.img"
    path.write_bytes(fat32.build(files(), size=size, serial=0x12345678))
    with path.open("r+b") as file:
        file.truncate(size)
    return path


@pytest.mark.parametrize("size", [36 * MIB, 64 * MIB, 67 * MIB + 512, 300 * MIB])
def test_fsck_finds_nothing(tmp_path: Path, size: int) -> None:
    done = subprocess.run(["/usr/sbin/fsck.fat", "-n", "-V", volume(tmp_path, size)], capture_output=True,
                          text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_fsck_finds_a_planted_fault(tmp_path: Path) -> None:
    path = volume(tmp_path)
    with path.open("r+b") as file:
        file.seek(32 * 512 + 4 * 10)
        file.write(b"\x01\x02\x03\x04")
    assert subprocess.run(["/usr/sbin/fsck.fat", "-n", path], check=False, capture_output=True).returncode != 0


def test_mtools_reads_every_file(tmp_path: Path) -> None:
    path = volume(tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    subprocess.run(["/usr/bin/mcopy", "-s", "-n", "-i", path, "::*", out], check=True, env={"LC_ALL": "C.UTF-8"})
    assert {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file()} == files()


def test_pyfatfs_reads_every_file(tmp_path: Path) -> None:
    with PyFatFS(str(volume(tmp_path)), read_only=True, encoding="utf-8") as fs:
        assert {path.lstrip("/"): fs.readbytes(path) for path in fs.walk.files("/")} == files()


def test_the_same_input_gives_the_same_bytes() -> None:
    shuffled = dict(reversed(files().items()))
    assert fat32.build(files(), size=64 * MIB, serial=1) == fat32.build(shuffled, size=64 * MIB, serial=1)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(SpaceError, match="the files need"):
        fat32.build({"big": bytes(40 * MIB)}, size=36 * MIB, serial=1)
    with pytest.raises(SpaceError, match="too small"):
        fat32.build({}, size=32 * MIB, serial=1)


@pytest.mark.parametrize("paths", [["a", "A"], ["x/a", "X/b"], ["a", "a/b"], ["a//b"], ["../a"], ["a:b"], ["end."]])
def test_paths_that_fat_cannot_hold_are_refused(paths: list[str]) -> None:
    with pytest.raises(ValueError, match=r"name on FAT|FAT can hold|is a file"):
        fat32.build(dict.fromkeys(paths, b""), size=64 * MIB, serial=1)
