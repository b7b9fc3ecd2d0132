"""QEMU command lines, machine slots, and what a direct boot takes out of an image. No QEMU is started."""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing.synchronize import Event as Signal
from pathlib import Path

import pytest
from swiftbuild.digest import derive_uuid
from swiftbuild.errors import BootError, UsageError
from swiftbuild.machine import media, slots
from swiftbuild.machine.spec import Media, Way, arguments, spec
from swiftbuild.model.disk import BASE_TYPE, DiskTable, Partition
from swiftbuild.model.release import ReleaseFacts, SectionType
from swiftbuild.wire import gpt, release

from tests.unit.test_elf import GOOD, HEAD, make

FILES = Media(disk=Path("d"), variables=Path("v"), kernel=Path("k"), initrd=Path("i"))


def test_hetzner_is_the_device_model_of_the_rented_machine() -> None:
    line = " ".join(arguments(spec("hetzner"), FILES, console="stdio"))
    for part in ("-M virt,gic-version=3 ", "-cpu max,pauth-impdef=on", "-smp 2", "-m 4096M", "virtio-scsi-pci",
                 "scsi-hd,bus=scsi.0", "virtio-net-pci", "virtio-rng-pci"):  # fmt: skip
        assert part in line
    assert "-kernel" not in line


@pytest.mark.parametrize(
    ("way", "parts", "absent"),
    [
        (Way.DIRECT, ["acpi=off", "-kernel k -initrd i", "virtio-rng-device"], ["pflash"]),
        (Way.UEFI_FDT, ["acpi=off", "pflash", "virtio-blk-device", "virtio-rng-device"], ["-kernel"]),
        (Way.UEFI_ACPI, ["pflash", "virtio-blk-pci", "virtio-rng-pci"], ["acpi=off", "-kernel"]),
    ],
)
def test_the_three_ways_in(way: Way, parts: list[str], absent: list[str]) -> None:
    line = " ".join(arguments(spec("qemu", way=way.value, cpus=4), FILES, console="stdio"))
    assert all(part in line for part in [*parts, "-smp 4", "-cpu cortex-a72", "-m 1024M"]), line
    assert not any(part in line for part in absent), line


@pytest.mark.parametrize(("profile", "way", "cpus"), [("vax", None, 1), ("qemu", "grub", 1), ("qemu", None, 9),
                                                      ("qemu", None, 0)])  # fmt: skip
def test_what_is_not_known_is_named(profile: str, way: str | None, cpus: int) -> None:
    with pytest.raises(UsageError):
        spec(profile, way=way, cpus=cpus)


def test_a_third_machine_waits_until_one_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "WAIT_SECONDS_MAX", 0.3)
    waited: list[str] = []
    with slots.slot(folder=tmp_path), slots.slot(folder=tmp_path):
        with pytest.raises(BootError, match="no machine slot"), slots.slot(lambda: waited.append("told"), tmp_path):
            pass
        assert waited == ["told"]
    with slots.slot(folder=tmp_path):
        pass


def _hold(folder: Path, ready: Signal) -> None:
    with slots.slot(folder=folder):
        ready.set()
        os._exit(1)  # a process that dies without cleaning up


def test_a_slot_is_free_when_its_holder_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "SLOTS", 1)
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    child = context.Process(target=_hold, args=(tmp_path, ready))
    child.start()
    assert ready.wait(30)
    child.join()
    with slots.slot(folder=tmp_path):
        pass


def disk_with_slot(folder: Path) -> Path:
    """A disk image whose base_a holds a slot image with a small kernel."""
    facts = ReleaseFacts(profile="qemu", version="1", rollback_index=1, verity_root=bytes(32))
    kinds = (SectionType.EROFS, SectionType.VERITY, SectionType.LOADER)
    base = release.build_slot(facts, [(SectionType.KERNEL, make(GOOD)), *((kind, b"x") for kind in kinds)])
    part = Partition(type=BASE_TYPE, guid=derive_uuid("a"), first=2048, last=4095, name="base_a")
    table = DiskTable(guid=derive_uuid("disk"), sectors=8192, partitions=(part,))
    out = bytearray(8192 * 512)
    for offset, data in (gpt.encode(table) | {2048 * 512: base}).items():
        out[offset : offset + len(data)] = data
    path = folder / "disk.img"
    path.write_bytes(out)
    return path


def test_a_direct_boot_takes_kernel_and_base_out_of_the_image(tmp_path: Path) -> None:
    image = disk_with_slot(tmp_path)
    before = image.read_bytes()
    found = media.prepare(spec("qemu", way="direct"), image, tmp_path, command_line="quiet")
    assert found.kernel and found.initrd
    assert found.kernel.read_bytes().startswith(HEAD + b"text")
    assert release.read_slot(found.initrd.read_bytes()).header.version == "1"
    assert image.read_bytes() == before


def test_an_overlay_takes_the_writes(tmp_path: Path) -> None:
    image = disk_with_slot(tmp_path)
    found = media.prepare(spec("qemu"), image, tmp_path)
    assert found.disk and found.variables
    assert found.disk.read_bytes()[:4] == b"QFI\xfb"
    assert str(image).encode() in found.disk.read_bytes()
