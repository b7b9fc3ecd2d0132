"""The loader under real firmware: which slot boots, what it writes before that, and what it says when none does.

The rules themselves are tested on the host (kernel/bootplan, kernel/bootctl), every combination of them; here is what
only a firmware can show: partitions found, blocks written and flushed, files read, lines on the console.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from swiftbuild.limits import MIB, SECTOR
from swiftbuild.machine.media import mapped, overlay
from swiftbuild.machine.qemu import Machine, machine
from swiftbuild.machine.spec import FIRMWARE_VARIABLES, QEMU_IMG, Media, Spec, Way
from swiftbuild.model.bootctl import BootControl, Reason, SlotEntry
from swiftbuild.model.disk import ESP_TYPE, Partition
from swiftbuild.model.release import ReleaseFacts, SectionType
from swiftbuild.stages.disk import LOADER_PATH, write_sparse
from swiftbuild.wire import bootctl, fat32, gpt, release

pytestmark = [pytest.mark.system, pytest.mark.boot_test]

IMAGE = Path(__file__).parents[2] / "build" / "images" / "qemu.img"
SECONDS = 90.0
MACHINE = Spec(profile="qemu", way=Way.UEFI_ACPI, cpus=1, gic=3, cpu="cortex-a72", memory_mib=1024, disk="virtio-scsi",
               network=False)  # fmt: skip


class Disk:
    """A copy of the built image, raw, that tests write to and that machines write to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        subprocess.run(["/usr/bin/cp", "--sparse=always", str(IMAGE), str(path)], check=True)
        with mapped(path) as data:
            self.table = gpt.read(data)
        self.image = bytes(release.read_slot(self.read("base_a")).body)

    def start(self, name: str) -> int:
        """Byte at which a partition begins."""
        return self.partition(name).first * SECTOR

    def partition(self, name: str) -> Partition:
        found = self.table.named(name)
        assert found
        return found

    def read(self, name: str) -> memoryview:
        partition = self.partition(name)
        with mapped(self.path) as data:
            return data[partition.first * SECTOR : (partition.last + 1) * SECTOR]

    def write(self, name: str, offset: int, data: bytes) -> None:
        with self.path.open("r+b") as file:
            file.seek(self.start(name) + offset)
            file.write(data)

    def flip(self, name: str, offset: int) -> None:
        self.write(name, offset, bytes([self.read(name)[offset] ^ 1]))

    def control(self) -> BootControl:
        """The block that counts."""
        return bootctl.current(self.read("bootctl"))[1]

    def set_control(self, a: SlotEntry, b: SlotEntry) -> None:
        for offset, copy in bootctl.encode_partition(BootControl(rollback_floor=1, slots=(a, b))).items():
            self.write("bootctl", offset, copy)

    def boot(self, check: Callable[[Machine], None]) -> None:
        """One boot; what the machine wrote is in the disk afterwards."""

        def media(folder: Path) -> Media:
            variables = overlay(FIRMWARE_VARIABLES, folder / "variables.qcow2")
            return Media(disk=overlay(self.path, folder / "disk.qcow2"), variables=variables)

        with machine(MACHINE, media, folder=self.path.parent) as running:
            check(running)
        written = self.path.parent / "disk.qcow2"
        subprocess.run([QEMU_IMG, "commit", "-q", str(written)], check=True)
        written.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    """The built image with its release in slot a."""
    return Disk(tmp_path / "disk.img")


def entry(digest: bytes, **fields: int) -> SlotEntry:
    known = SlotEntry(rollback_index=1, release_digest=digest, version="0.1.0")
    return known.model_copy(update=fields)


def boots(slot: str) -> Callable[[Machine], None]:
    """The kernel starts, from that slot."""

    def check(running: Machine) -> None:
        running.console.event("loader.slot", slot=slot, seconds=SECONDS)
        assert running.console.event("kernel.entry", seconds=SECONDS).fields["way"] == "loader"

    return check


def with_kernel(image: bytes, change: Callable[[bytearray], None]) -> bytes:
    """The slot image with another kernel in it, digests right."""
    old = release.read_slot(image)
    kernel = bytearray(old.section(SectionType.KERNEL))
    change(kernel)
    facts = ReleaseFacts.model_validate({name: getattr(old.header, name) for name in ReleaseFacts.model_fields})
    sections = [(SectionType(s.type), bytes(old.section(SectionType(s.type)))) for s in old.header.sections]
    return release.build_slot(facts, [(kind, bytes(kernel) if kind is SectionType.KERNEL else body)
                                      for kind, body in sections])  # fmt: skip


def test_a_slot_on_trial_spends_its_try_on_the_disk_then_the_other_boots(disk: Disk) -> None:
    digest = release.release_digest(disk.image)
    disk.write("base_b", 0, disk.image)
    disk.set_control(entry(digest, priority=14, successful=1), entry(digest, priority=15, tries=1))
    disk.boot(boots("b"))
    spent = disk.control()
    assert (spent.slots[1].tries, spent.slots[1].priority, spent.last_booted, spent.sequence) == (0, 15, 1, 2)
    disk.boot(boots("a"))
    after = disk.control()
    assert (after.slots[1].priority, after.slots[1].reason_code) == (0, Reason.TRIES_USED_UP)
    assert after.last_booted == 0


def test_a_slot_that_fails_verification_is_marked_bad_and_the_other_boots(disk: Disk) -> None:
    digest = release.release_digest(disk.image)
    disk.write("base_b", 0, disk.image)
    disk.set_control(entry(digest, priority=15, successful=1), entry(digest, priority=14, successful=1))
    disk.flip("base_a", release.SECTIONS_START + 4096)

    def check(running: Machine) -> None:
        failure = running.console.event("loader.error", seconds=SECONDS)
        assert (failure.fields["what"], failure.fields["where"]) == ("kernel", "a")
        assert "SHA-256" in failure.fields["why"]
        boots("b")(running)

    disk.boot(check)
    a = disk.control().slots[0]
    assert (a.bad, a.priority, a.reason_code) == (1, 0, Reason.VERIFICATION)
    assert "SHA-256" in a.reason


def test_a_block_lost_in_both_copies_is_rebuilt_from_the_slot_that_verifies(disk: Disk) -> None:
    """And the other slot holds a kernel that no loader may run, under right digests."""

    def make_text_writable(kernel: bytearray) -> None:
        flags = 64 + 4  # p_flags of the first program header
        assert kernel[flags] == 5
        kernel[flags] = 7

    good = disk.image
    disk.write("base_a", 0, with_kernel(good, make_text_writable))
    disk.write("base_b", 0, good)
    for offset in bootctl.COPY_OFFSETS:
        disk.write("bootctl", offset, bytes(4096))

    def check(running: Machine) -> None:
        assert running.console.event("loader.bootctl", seconds=SECONDS).fields["state"] == "none"
        failure = running.console.event("loader.error", seconds=SECONDS, where="a")
        assert "writable and executable" in failure.fields["why"]
        boots("b")(running)

    disk.boot(check)
    block = disk.control()
    assert (block.sequence, block.rollback_floor, block.last_booted) == (1, 1, 1)
    assert block.slots[0] == SlotEntry()
    assert (block.slots[1].successful, block.slots[1].release_digest) == (1, release.release_digest(good))


def test_when_nothing_boots_the_console_says_why_of_each(disk: Disk) -> None:
    verity = release.read_slot(disk.image).header.section(SectionType.VERITY)
    assert verity
    disk.flip("base_a", verity.offset)

    def check(running: Machine) -> None:
        console = running.console
        console.event("loader.error", what="boot", seconds=SECONDS)
        assert "swift-os cannot start" in console.text
        assert "slot a: the SHA-256 of the verity" in console.text
        assert "slot b: it is marked unbootable" in console.text
        assert "base.img on the EFI system partition: there is no such file" in console.text
        assert not any(event.name == "kernel.entry" for event in console.events)

    disk.boot(check)


def test_base_img_on_an_efi_partition_is_enough(disk: Disk) -> None:
    """First bring-up: one file beside the loader; no slots, no boot-control block."""
    loader = bytes(release.read_slot(disk.image).section(SectionType.LOADER))
    first, sectors = MIB // SECTOR, 128 * MIB // SECTOR
    esp = Partition(type=ESP_TYPE, guid=disk.partition("esp").guid, first=first, last=first + sectors - 1, name="esp")
    table = disk.table.model_copy(update={"partitions": (esp,), "sectors": sectors + 2 * first})
    pieces = gpt.encode(table)
    pieces[MIB] = fat32.build({LOADER_PATH: loader, "base.img": disk.image}, size=128 * MIB, serial=1)
    write_sparse(disk.path, pieces, table.sectors * SECTOR)
    disk.boot(boots("esp"))
