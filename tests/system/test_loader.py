"""The loader under real firmware: which slot boots, what it writes before that, and what it says when none does.

The rules themselves are tested on the host (kernel/bootplan, kernel/bootctl), every combination of them; here is what
only a firmware can show: partitions found, blocks written and flushed, lines on the console.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from swiftbuild.limits import SECTOR
from swiftbuild.machine.media import mapped, overlay
from swiftbuild.machine.qemu import Machine, machine
from swiftbuild.machine.spec import FIRMWARE_VARIABLES, QEMU_IMG, Media
from swiftbuild.model.bootctl import BootControl, Reason, SlotEntry
from swiftbuild.model.release import SectionType
from swiftbuild.wire import bootctl, gpt, release

from tests.system.conftest import BOOT_SECONDS, image_of, spec
from tests.variants import installed, rebuilt, slot_image

pytestmark = [pytest.mark.system, pytest.mark.boot_test]

MACHINE = spec("hetzner", cpus=1, network=False)


class Disk:
    """A copy of the built image, raw, that tests write to and that machines write to."""

    def __init__(self, path: Path) -> None:
        self.image = slot_image(image_of("hetzner"))
        self.digest = release.release_digest(self.image)
        self.path = installed(image_of("hetzner"), path, self.image, self.image)
        with mapped(path) as data:
            self.partitions = {p.name: p for p in gpt.read(data).partitions}

    def write(self, name: str, offset: int, data: bytes) -> None:
        with self.path.open("r+b") as file:
            file.seek(self.partitions[name].first * SECTOR + offset)
            file.write(data)

    def control(self) -> BootControl:
        """The block that counts."""
        partition = self.partitions["bootctl"]
        with mapped(self.path) as data:
            return bootctl.current(data[partition.first * SECTOR : (partition.last + 1) * SECTOR])[1]

    def set_control(self, a: SlotEntry, b: SlotEntry, **marks: int) -> None:
        block = BootControl(slots=(a, b)).model_copy(update={"rollback_floor": 1, **marks})
        for offset, copy in bootctl.encode_partition(block).items():
            self.write("bootctl", offset, copy)

    def entry(self, **fields: int) -> SlotEntry:
        known = SlotEntry(rollback_index=1, release_digest=self.digest, version="0.1.0")
        return known.model_copy(update=fields)

    def boot(self, check: Callable[[Machine], None]) -> None:
        """One boot; what the machine wrote is on the disk afterwards."""
        folder = self.path.parent
        written = folder / "disk.qcow2"
        media = Media(
            disk=overlay(self.path, written), variables=overlay(FIRMWARE_VARIABLES, folder / "variables.qcow2")
        )
        with machine(MACHINE, lambda _: media, folder=folder) as running:
            check(running)
        subprocess.run([QEMU_IMG, "commit", "-q", str(written)], check=True)
        written.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    """The built image with its release in both slots, both good, slot a first."""
    return Disk(tmp_path / "disk.img")


def boots(slot: str) -> Callable[[Machine], None]:
    """The kernel starts, from that slot."""

    def check(running: Machine) -> None:
        running.console.event("loader.slot", slot=slot, seconds=BOOT_SECONDS)
        assert running.console.event("kernel.entry", seconds=BOOT_SECONDS).get("way") == "loader"

    return check


def test_a_slot_on_trial_spends_its_try_on_the_disk_then_the_other_boots(disk: Disk) -> None:
    disk.set_control(disk.entry(priority=14, successful=1), disk.entry(priority=15, tries=1))
    disk.boot(boots("b"))
    spent = disk.control()
    assert (spent.slots[1].tries, spent.slots[1].priority, spent.last_booted, spent.sequence) == (0, 15, 1, 2)
    disk.boot(boots("a"))
    after = disk.control()
    assert (after.slots[1].priority, after.slots[1].reason_code) == (0, Reason.TRIES_USED_UP)
    assert after.last_booted == 0


def test_a_slot_that_fails_verification_is_marked_bad_and_the_other_boots(disk: Disk) -> None:
    disk.write("base_a", release.SECTIONS_START + 4096, b"not what was built")

    def check(running: Machine) -> None:
        failure = running.console.event("loader.error", seconds=BOOT_SECONDS)
        assert (failure.get("what"), failure.get("where")) == ("kernel", "a")
        assert "SHA-256" in failure.get("why")
        boots("b")(running)

    disk.boot(check)
    a = disk.control().slots[0]
    assert (a.bad, a.priority, a.reason_code) == (1, 0, Reason.VERIFICATION)
    assert "SHA-256" in a.reason


def test_a_block_lost_in_both_copies_is_rebuilt_from_the_slot_that_verifies(disk: Disk) -> None:
    """And the other slot holds a kernel that no loader may run, under right digests."""
    kernel = bytearray(release.read_slot(disk.image).section(SectionType.KERNEL))
    flags = 64 + 4  # p_flags of the first program header
    assert kernel[flags] == 5
    kernel[flags] = 7
    disk.write("base_a", 0, rebuilt(disk.image, {SectionType.KERNEL: bytes(kernel)}))
    for offset in bootctl.COPY_OFFSETS:
        disk.write("bootctl", offset, bytes(4096))

    def check(running: Machine) -> None:
        assert running.console.event("loader.bootctl", seconds=BOOT_SECONDS).get("state") == "none"
        failure = running.console.event("loader.error", where="a", seconds=BOOT_SECONDS)
        assert "writable and executable" in failure.get("why")
        boots("b")(running)

    disk.boot(check)
    block = disk.control()
    assert (block.sequence, block.rollback_floor, block.last_booted) == (1, 1, 1)
    assert block.slots[0] == SlotEntry()
    assert (block.slots[1].successful, block.slots[1].release_digest) == (1, disk.digest)


def test_when_nothing_boots_the_console_says_why_of_each(disk: Disk) -> None:
    verity = release.read_slot(disk.image).header.section(SectionType.VERITY)
    assert verity
    disk.set_control(disk.entry(priority=15, successful=1), SlotEntry())
    disk.write("base_a", verity.offset, b"not what was built")
    disk.write("base_b", 0, bytes(release.SECTIONS_START))

    def check(running: Machine) -> None:
        console = running.console
        console.event("loader.error", what="boot", seconds=BOOT_SECONDS)
        assert "swift-os cannot start" in console.text
        assert "slot a: the SHA-256 of the verity" in console.text
        assert "slot b: it is marked unbootable" in console.text
        assert "base.img on the EFI system partition: there is no such file" in console.text
        assert not any(event.name == "kernel.entry" for event in console.events)

    disk.boot(check)


def recovers(slot: str) -> Callable[[Machine], None]:
    """The system is up to be repaired."""

    def check(running: Machine) -> None:
        loaded = running.console.event("loader.slot", seconds=BOOT_SECONDS)
        assert (loaded.get("slot"), loaded.get("recovery")) == (slot, "1")
        running.console.event("data.none", why="recovery", seconds=BOOT_SECONDS)
        running.console.event("boot.ready", seconds=BOOT_SECONDS)

    return check


def test_when_no_slot_has_tries_the_better_one_boots_for_recovery(disk: Disk) -> None:
    disk.set_control(disk.entry(priority=15), disk.entry(priority=0, successful=1))
    disk.boot(recovers("b"))
    a = disk.control().slots[0]
    assert (a.priority, a.reason_code) == (0, Reason.TRIES_USED_UP)
    assert disk.control().failed_releases[0] == disk.digest


def press(running: Machine, key: str, until: Callable[[Machine], bool]) -> None:
    """As a keyboard repeats a key that is held down."""
    for _ in range(int(BOOT_SECONDS * 30)):
        running.console.send(key)
        running.console.pump(1 / 30)
        if until(running):
            return


def is_started(running: Machine) -> bool:
    """The firmware starts the loader, which has not said anything yet."""
    return "BdsDxe: starting" in running.console.text


def test_who_holds_r_repairs_the_machine(disk: Disk) -> None:
    def check(running: Machine) -> None:
        press(running, "r", lambda running: any(event.name == "loader.slot" for event in running.console.events))
        recovers("a")(running)

    disk.boot(check)
    assert disk.control().sequence == 1, "nothing is counted"


def test_an_r_that_was_typed_before_is_no_wish(disk: Disk) -> None:
    def check(running: Machine) -> None:
        press(running, "r", is_started)
        loaded = running.console.event("loader.slot", seconds=BOOT_SECONDS)
        assert loaded.get("recovery") == "0"
        running.console.event("boot.ready", seconds=BOOT_SECONDS)

    disk.boot(check)


def test_keys_that_were_typed_before_do_not_hide_why_nothing_boots(disk: Disk) -> None:
    disk.set_control(SlotEntry(), SlotEntry())
    for slot in ("base_a", "base_b"):
        disk.write(slot, 0, bytes(release.SECTIONS_START))

    def check(running: Machine) -> None:
        press(running, "x", is_started)
        running.console.event("loader.error", what="boot", seconds=BOOT_SECONDS)
        shown = len(running.console.text)
        running.console.pump(3)
        after = running.console.text[shown:]
        assert "BdsDxe" not in after and "loader.start" not in after, "it waits for somebody to read it"

    disk.boot(check)


def test_a_clock_behind_what_was_signed_is_replaced(disk: Disk) -> None:
    signed = 4_000_000_000
    """2096-10-02, which no machine's clock shows yet."""
    disk.set_control(disk.entry(priority=15, successful=1), SlotEntry(), newest_signed_at=signed)

    def check(running: Machine) -> None:
        wrong = running.console.event("clock.error", seconds=BOOT_SECONDS)
        assert wrong.get("why") == "it shows a date before the newest signed time"
        ready = running.console.event("clock.ready", seconds=BOOT_SECONDS)
        assert (ready.get("source"), ready.get("time")) == ("signed", str(signed))
        running.console.event("boot.ready", seconds=BOOT_SECONDS)

    disk.boot(check)


def test_floors_that_nothing_stands_on_are_damage_and_the_machine_boots(disk: Disk) -> None:
    largest = (1 << 64) - 1
    disk.set_control(disk.entry(priority=15, successful=1), disk.entry(priority=14, successful=1),
                     rollback_floor=largest, key_set_floor=99)  # fmt: skip

    def check(running: Machine) -> None:
        failure = running.console.event("loader.error", what="bootctl", seconds=BOOT_SECONDS)
        assert "above every good slot" in failure.get("why")
        boots("a")(running)

    disk.boot(check)
    block = disk.control()
    assert (block.rollback_floor, block.key_set_floor) == (1, 1)


def test_a_good_slot_that_never_gets_ready_gives_way(disk: Disk) -> None:
    disk.set_control(disk.entry(priority=15, successful=1, unfinished_boots=4), disk.entry(priority=14, successful=1))
    disk.boot(boots("a"))  # the machine is cut at the kernel's first event
    a = disk.control().slots[0]
    assert (a.unfinished_boots, a.reason_code) == (5, Reason.HANG)
    disk.boot(boots("b"))
