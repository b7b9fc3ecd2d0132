"""Bytes that change on the disk behind everybody's back: of slots, of the boot-control block, of the data volume."""

from __future__ import annotations

import time

from swiftbuild.limits import MIB
from swiftbuild.machine.console import POLL_SECONDS
from swiftbuild.machine.qemu import Machine
from swiftbuild.model.bootctl import BootControl
from swiftbuild.model.release import SectionType
from swiftbuild.scenarios.bench import Bench
from swiftbuild.scenarios.disk import BOOT_SECONDS
from swiftbuild.scenarios.expect import require, require_in
from swiftbuild.scenarios.failing import TRIES
from swiftbuild.scenarios.updating import INSTALL_SECONDS, Updating
from swiftbuild.wire import bootctl, datafs, release
from swiftbuild.wire.datafs import Feature

UNKNOWN = 1 << 63
FLOOR_MAX = 2**64 - 1
SLOTS = ("base_a", "base_b")


def header(bench: Bench) -> None:
    """A bit of the header: nobody has signed this, and the loader takes the other slot."""
    _seen_by_loader(bench, None, "signed by 0")


def kernel(bench: Bench) -> None:
    """A bit of the kernel: its digest is another, and the loader takes the other slot."""
    _seen_by_loader(bench, SectionType.KERNEL, "kernel")


def erofs(bench: Bench) -> None:
    """A bit in the middle of the base: whether it is read by the loader, at boot, or only before mark-good, the release
    is never good."""
    _seen_before_good(bench, SectionType.EROFS)


def tree(bench: Bench) -> None:
    """A bit of the verity tree."""
    _seen_before_good(bench, SectionType.VERITY)


def unread(bench: Bench) -> None:
    """A bit that no boot reads: it boots, and who would mark it good reads all of it first, and goes back."""
    machine = bench.on_trial()
    machine.flip("base_b", SectionType.LOADER)
    with machine.running_from("b", bench.after.version) as person:
        require_in("update verify", "the SHA-256 of the loader",
                   person.run("update verify 2>&1", seconds=INSTALL_SECONDS).text)
        machine.restarts(person, "update mark-good")
    with machine.running_from("b", bench.after.version) as person:
        b = machine.slot(person, "b")
        require("slot b", (b["reason"], b["tries"]), ("verification", TRIES - 2))
        require_in("why", "loader", b["why"])
        machine.cut()


def truncated(bench: Bench) -> None:
    """The second half of what was installed is gone: never good, and the old one boots."""
    half = len(bench.new) // 2
    machine = bench.on_trial()
    machine.alter("base_b", lambda slot: {half: bytes(len(slot) - half)})
    _never_good(bench, machine)


def both_slots(bench: Bench) -> None:
    """Neither slot verifies: the loader says why for each, and starts nothing."""
    machine = bench.on_trial()
    for name in SLOTS:
        machine.flip(name, SectionType.KERNEL)
    with machine.started() as running:
        running.console.wait(lambda: _ended(running), seconds=BOOT_SECONDS, what="event loader.error what=boot")
        errors = {e.get("where"): e.get("what") for e in running.console.events if e.name == "loader.error"}
        require("errors of the slots", (errors.get("a"), errors.get("b")), ("kernel", "kernel"))
        require("events kernel.entry", machine.events("kernel.entry"), [])
        for slot in "ab":
            require_in("what the screen says", f"slot {slot}: ", running.console.text)


def older_disk(bench: Bench) -> None:
    """The disk as it was before a commit is put back into the machine: the firmware keeps the floors, and nothing below
    them boots."""
    machine = bench.on_trial()
    with machine.running_from("b", bench.after.version) as person:
        person.output("update mark-good", seconds=INSTALL_SECONDS)
        person.output("update commit", seconds=INSTALL_SECONDS)
        machine.restarts(person, "reboot")
    with machine.running_from("b", bench.after.version):
        kept = machine.event("loader.kept")
        require("floor that the firmware keeps", kept.get("floor"), str(bench.after.rollback_index))
        machine.cut()
    machine.replace_disk(bench.image)
    with machine.started() as running:
        running.console.wait(lambda: _ended(running), seconds=BOOT_SECONDS, what="event loader.error what=boot")
        require("events kernel.entry", machine.events("kernel.entry"), [])
        index, floor = bench.before.rollback_index, bench.after.rollback_index
        require_in("what the screen says", f"slot a: rollback index {index} is below the floor {floor}",
                   running.console.text)


def control_block(bench: Bench) -> None:
    """Both copies of the boot-control block are gone: rebuilt from the slots that verify, and an update works."""
    machine = bench.machine()
    machine.alter("bootctl", lambda block: {0: bytes(len(block))})
    _rebuilt(bench, machine)


def floor_of_the_maximum(bench: Bench) -> None:
    """A floor that no release can reach is damage, not an order: the machine boots, and an update works."""
    machine = bench.machine()

    def raised(block: memoryview) -> dict[int, bytes]:
        old: BootControl = bootctl.current(block)[1]
        return bootctl.encode_partition(old.model_copy(update={"rollback_floor": FLOOR_MAX}))

    machine.alter("bootctl", raised)
    _rebuilt(bench, machine)


def data_volume(bench: Bench) -> None:
    """The data volume is damaged while the new release is on trial: that is no fault of the release, which is kept."""
    machine = bench.on_trial()
    machine.alter("data", lambda volume: {0: b"\xff" * min(len(volume), 4 * MIB)})
    with machine.running_from("b", bench.after.version) as person:
        require("events data.mounted", machine.events("data.mounted"), [])
        machine.event("data.failed")
        person.console.event("update.good", seconds=BOOT_SECONDS, slot="b")
        require("slot b", machine.slot(person, "b")["state"], "good")
        machine.cut()


def data_feature(bench: Bench) -> None:
    """The new release has begun to use a feature of the data volume that the old one may read and not write; rolled
    back, the old one reads all that is there, and writes nothing."""
    machine = bench.on_trial()
    with machine.running_from("b", bench.after.version) as person:
        person.output("echo kept >/data/file && sync")
        machine.restarts(person, "update rollback it uses what the old one does not know")
    machine.alter("data", lambda volume: datafs.with_feature(volume, Feature.RO_COMPAT, UNKNOWN))
    with machine.running_from("a", bench.before.version) as person:
        require("how /data is mounted", [event["read_only"] for event in machine.events("data.mounted")], ["1"])
        require("/data/file", person.output("cat /data/file"), "kept")
        require_in("a write", "Read-only file system", person.run("echo no >/data/file 2>&1").text)
        machine.refused(person, "failed-here")
        machine.cut()


def _seen_by_loader(bench: Bench, kind: SectionType | None, why: str) -> None:
    machine = bench.on_trial()
    machine.flip("base_b", kind)
    with machine.running_from("a", bench.before.version) as person:
        b = machine.slot(person, "b")
        require("slot b", (b["state"], b["reason"]), ("bad", "verification"))
        require_in("why", why, b["why"])
        machine.cut()


def _seen_before_good(bench: Bench, kind: SectionType) -> None:
    machine = bench.on_trial()
    machine.flip("base_b", kind)
    _never_good(bench, machine)


def _never_good(bench: Bench, machine: Updating) -> None:
    """What the loader reads whole (a base that stays in memory) it refuses at once. Else each boot ends in a restart,
    by the kernel that cannot mount it or by the check that reads all of it."""
    for _ in range(TRIES):
        with machine.started() as running:
            _settle(running)
            if [event["slot"] for event in machine.events("loader.slot")] == ["a"]:
                machine.cut()
                break
            require("how the machine ended", running.ended(seconds=BOOT_SECONDS), "guest-reset")
            require("events update.good", machine.events("update.good"), [])
    with machine.running_from("a", bench.before.version) as person:
        require_in("state of slot b", machine.slot(person, "b")["state"], ("bad", "unbootable"))
        machine.cut()


def _settle(running: Machine) -> None:
    """Until the boot has ended or is ready: one that the kernel gives up is as good as any other here."""
    end = time.monotonic() + BOOT_SECONDS
    while not running.console.closed and not any(event.name == "boot.ready" for event in running.console.events):
        if time.monotonic() > end:
            raise running.console.error(f"waited {BOOT_SECONDS:g} s for a restart or boot.ready, in vain")
        running.console.pump(POLL_SECONDS)


def _ended(running: Machine) -> bool | None:
    """The loader has said that it has nothing to start."""
    found = [event for event in running.console.events if event.name == "loader.error" and event.get("what") == "boot"]
    return True if found else None


def _rebuilt(bench: Bench, machine: Updating) -> None:
    """The machine boots what it had, with a floor that it stands on, and takes an update."""
    with machine.running_from("a", bench.before.version) as person:
        require("floor", machine.status(person)["rollback_floor"], bench.before.rollback_index)
        machine.install(person)
        machine.restarts(person, "reboot")
    with machine.running_from("b", bench.after.version) as person:
        require("header of the slot that boots", release.release_digest(bench.new).hex(),
                machine.slot(person, "b")["release"])
        machine.cut()
