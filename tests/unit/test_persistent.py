"""Machines that are kept: whose they are, and what a newer image means to them. No QEMU is started."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from swiftbuild.errors import BootError, SpaceError, UsageError
from swiftbuild.machine import persistent
from swiftbuild.machine.persistent import Kept, kept
from swiftbuild.machine.spec import QEMU_IMG, Spec

from tests.unit.test_machine import spec

MACHINE = spec("qemu")


@pytest.fixture(autouse=True)
def firmware(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Small variables of a firmware."""
    file = tmp_path / "variables.fd"
    file.write_bytes(bytes(65536))
    monkeypatch.setattr(persistent, "FIRMWARE_VARIABLES", file)
    return file


@pytest.fixture
def image(tmp_path: Path) -> Path:
    file = tmp_path / "some.img"
    file.write_bytes(b"first".ljust(1 << 20, b"\0"))
    return file


def run(image: Path, *, machine: Spec = MACHINE, fresh: bool = False) -> Kept:
    with kept(machine, image, image.parent / "mine", size=None, fresh=fresh) as found:
        return found


def contents(disk: Path | None) -> bytes:
    """What the guest finds on the disk."""
    assert disk
    raw = disk.with_suffix(".raw")
    subprocess.run([QEMU_IMG, "convert", "-O", "raw", str(disk), str(raw)], check=True)
    return raw.read_bytes()


def test_two_do_not_share_a_machine_and_the_first_is_named(image: Path) -> None:
    folder = image.parent / "mine"
    with kept(MACHINE, image, folder, size=None, fresh=False) as first:
        before = contents(first.media.disk)
        told = rf"machine mine is running already \(process {os.getpid()}\)"
        for fresh in (False, True):
            with pytest.raises(BootError, match=told) as caught:
                run(image, fresh=fresh)
            assert "another machine" in caught.value.hint
        assert contents(first.media.disk) == before
    assert run(image).of_this_image


def test_nothing_lies_over_a_file_that_may_change(image: Path, firmware: Path) -> None:
    media = run(image).media
    for file in (media.disk, media.variables):
        told = subprocess.run([QEMU_IMG, "info", "--output=json", str(file)], check=True, capture_output=True).stdout
        assert "backing-filename" not in json.loads(told)
    firmware.write_bytes(b"newer".ljust(65536, b"\0"))
    image.write_bytes(b"newer".ljust(1 << 20, b"\0"))
    again = run(image)
    assert not again.of_this_image
    assert contents(again.media.disk).startswith(b"first")
    assert contents(again.media.variables) == bytes(65536)


def test_fresh_takes_the_newer_image(image: Path) -> None:
    run(image)
    image.write_bytes(b"newer".ljust(1 << 20, b"\0"))
    made = run(image, fresh=True)
    assert made.of_this_image and contents(made.media.disk).startswith(b"newer")
    assert run(image).of_this_image


def test_a_machine_of_another_profile_is_refused_and_kept(image: Path) -> None:
    disk = run(image).media.disk
    with pytest.raises(UsageError, match="machine mine was made for profile qemu, not hetzner"):
        run(image, machine=replace(MACHINE, profile="hetzner"))
    assert contents(disk).startswith(b"first")


def test_a_machine_of_an_older_version_runs_on(image: Path) -> None:
    run(image)
    (image.parent / "mine" / "machine.json").unlink()
    image.write_bytes(bytes(1 << 20))
    assert contents(run(image).media.disk).startswith(b"first")


def test_what_an_interrupt_left_is_made_again(image: Path) -> None:
    folder = image.parent / "mine"
    folder.mkdir()
    (folder / "disk.part").write_bytes(b"half")
    (folder / "machine.json").write_text('{"profile": "qemu", "sha')
    assert run(image).of_this_image
    assert not (folder / "disk.part").exists()


def test_a_disk_that_is_too_small_for_the_image_is_refused(image: Path) -> None:
    with (pytest.raises(SpaceError, match="the image does not fit a disk of 524288 bytes, it has 1048576") as caught,
          kept(MACHINE, image, image.parent / "mine", size=1 << 19, fresh=False)):
        pass
    assert caught.value.exit_code == 8
    with kept(MACHINE, image, image.parent / "mine", size=2 << 20, fresh=False) as found:
        assert len(contents(found.media.disk)) == 2 << 20
