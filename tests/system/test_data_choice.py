"""Which volume is mounted, and how: never one that this system does not know, or one of two."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from swiftbuild.limits import SECTOR
from swiftbuild.machine.media import mapped, overlay
from swiftbuild.wire import datafs, gpt
from swiftbuild.wire.datafs import Feature

from tests.system.conftest import image_of
from tests.system.datadisk import MACHINES, NODE, Disk

pytestmark = [pytest.mark.system, pytest.mark.datafs_test]
on_both = pytest.mark.parametrize("profile", MACHINES)

UNKNOWN = 1 << 63


def with_feature(profile: str, folder: Path, feature: Feature) -> Path:
    """The image, with a feature in its volume's superblocks that nobody knows."""
    image = folder / "image.img"
    shutil.copyfile(image_of(profile), image)
    with mapped(image) as data:
        part = gpt.read(data).named("data")
        assert part
        pieces = datafs.with_feature(data[part.first * SECTOR :], feature, UNKNOWN)
    with image.open("r+b") as file:
        for offset, block in pieces.items():
            file.seek(part.first * SECTOR + offset)
            file.write(block)
    return image


def bytes_of_volume(image: Path) -> bytes:
    """The data partition."""
    with mapped(image) as data:
        part = gpt.read(data).named("data")
        assert part
        return bytes(data[part.first * SECTOR : (part.last + 1) * SECTOR])


@on_both
def test_a_feature_that_must_be_known_is_not_mounted(profile: str, tmp_path: Path) -> None:
    image = with_feature(profile, tmp_path, Feature.INCOMPAT)
    disk = Disk(profile, tmp_path, image=image)
    with disk.boot() as person:
        [failed] = disk.events("data.failed")
        assert failed["what"] == NODE[profile] and "feature" in failed["why"], failed
        assert disk.events("data.mounted") == []
        assert person.run("grep /data /proc/mounts").status == 1
        assert person.run("echo no >/data/file").status != 0
        disk.stop(person, "poweroff", "guest-shutdown")
    disk.raw(tmp_path / "after.img")
    assert bytes_of_volume(tmp_path / "after.img") == bytes_of_volume(image)


@on_both
def test_a_feature_that_writers_must_know_is_mounted_read_only(profile: str, tmp_path: Path) -> None:
    image = with_feature(profile, tmp_path, Feature.RO_COMPAT)
    disk = Disk(profile, tmp_path, image=image)
    with disk.boot() as person:
        assert [event["read_only"] for event in disk.events("data.mounted")] == ["1"]
        assert "features" in disk.events("data.read_only")[0]["why"]
        assert "ro," in person.output("grep ' /data ' /proc/mounts")
        answer = person.run("echo no >/data/file 2>&1")
        assert answer.status != 0 and "Read-only file system" in answer.text, answer
        disk.stop(person, "poweroff", "guest-shutdown")
    disk.raw(tmp_path / "after.img")
    assert bytes_of_volume(tmp_path / "after.img") == bytes_of_volume(image)


def with_second_disk(profile: str, folder: Path) -> Disk:
    """A machine with another disk of the same image."""
    disk = Disk(profile, folder)
    second = overlay(image_of(profile), folder / "second.qcow2")
    driver = "scsi-hd,bus=scsi.0" if disk.spec.disk == "virtio-scsi" else "virtio-blk-device"
    disk.spec = replace(disk.spec, extra=(
        "-blockdev", f"driver=qcow2,node-name=second,file.driver=file,file.filename={second}",
        "-device", f"{driver},drive=second"))  # fmt: skip
    return disk


def test_of_two_disks_that_match_none_is_taken(tmp_path: Path) -> None:
    disk = with_second_disk("qemu", tmp_path)
    with disk.boot() as person:
        assert [event["disks"] for event in disk.events("disk.ambiguous")] == ["2"]
        assert len(disk.events("data.none")) == 1
        assert disk.events("data.mounted") == disk.events("disk.boot") == []
        assert person.run("echo no >/data/file").status != 0
        disk.stop(person, "poweroff", "guest-shutdown")
    disk.check()


def test_boot_control_tells_two_copies_of_a_disk_apart(tmp_path: Path) -> None:
    """The loader has counted a try on the one that it booted from."""
    disk = with_second_disk("hetzner", tmp_path)
    with disk.boot() as person:
        assert [(event["name"], event["by"]) for event in disk.events("disk.boot")] == [("sda", "loader")]
        person.output("echo here >/data/file && sync")
        disk.stop(person, "poweroff", "guest-shutdown")
    disk.check()
    with disk.boot() as person:
        assert person.output("cat /data/file") == "here"
