"""Releases that fail: N, then the variant until its tries are used up, then N again, and the reason is kept."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from swiftbuild.core.slots import UNFINISHED_MAX
from swiftbuild.errors import ProofError
from swiftbuild.machine.qemu import Machine
from swiftbuild.scenarios import variants
from swiftbuild.scenarios.bench import Bench
from swiftbuild.scenarios.disk import BOOT_SECONDS
from swiftbuild.scenarios.expect import require, require_in
from swiftbuild.scenarios.updating import INSTALL_SECONDS, Updating
from swiftbuild.wire import bootctl

BREAK = struct.pack("<I", 0xD4200020)
"""`brk #1` (Arm ARM, C6.2)."""
ENDLESS = struct.pack("<I", 0x14000000)
"""`b .` (Arm ARM, C6.2)."""
LATE_IN_BOOT = "swift_kernel::fs::data::mount"
"""A function of the kernel that every boot from a disk comes to once."""
IDLE = "exec = /bin/sleep\nargs = 100000\npipe_out = verdict\n"
OPERATORS_CHECK = "kind = command\nexec = /bin/sh\nargs = /data/etc/slot.sh\nfailures = 1\ninterval = 1s\n"
OPERATORS_SCRIPT = "grep -q '^slot a$' /proc/boot || [ $(cut -d . -f 1 /proc/uptime) -lt 25 ]\n"
"""In the new release it holds at first, and begins to fail before the release could be called good."""
TRIES = 3
QUICK = "settle = 2s\ndeadline = 6s\n"
VERDICT_SECONDS = 480.0
"""The deadline of a verdict is 180 s, a watchdog's 60 s, and the host is busy."""


@dataclass(frozen=True)
class End:
    """How each boot of a variant ends."""

    check: Callable[[Machine], None]
    reason: str = "tries-used-up"
    tries: int = TRIES
    watchdog: bool = False


def kernel_panics(bench: Bench) -> None:
    """A kernel that panics at boot."""

    def check(running: Machine) -> None:
        _told(running, "kernel.panic")

    _given_up(bench, bench.with_code(LATE_IN_BOOT, BREAK), End(check))


def no_init(bench: Bench) -> None:
    """A base with the places to mount on and no program."""
    folders = ("dev", "proc", "run", "sys", "tmp", "data")

    def check(running: Machine) -> None:
        _told(running, "init.failed")

    _given_up(bench, bench.signed(variants.without_files(bench.new, bench.aside("variant"), folders)), End(check))


def kernel_hangs(bench: Bench) -> None:
    """A kernel that comes to an endless loop at boot, on a machine with a watchdog: the device resets it."""
    _given_up(bench, bench.with_code(LATE_IN_BOOT, ENDLESS), End(_reset_by_watchdog, watchdog=True, tries=1))


def userland_hangs(bench: Bench) -> None:
    """In healthd's place a program that does nothing: nobody feeds the watchdog, and the device resets the machine."""

    def check(running: Machine) -> None:
        _reset_by_watchdog(running)
        require_in("what was started", "healthd", _started(running))

    variant = bench.with_files({"/etc/services.d/healthd.service": IDLE})
    _given_up(bench, variant, End(check, watchdog=True, tries=1))


def restarts_for_ever(bench: Bench) -> None:
    """A release that restarts the machine as soon as it is up."""

    def check(running: Machine) -> None:
        require("last event", running.console.events[-1].name, "system.reboot")
        require_in("what was started", "zz-again", _started(running))

    _given_up(bench, bench.with_files({"/etc/services.d/zz-again.service": "exec = /sbin/reboot\n"}), End(check))


def check_fails_late(bench: Bench) -> None:
    """A check that is looked at for the first time a minute after the start."""
    variant = bench.with_files({
        "/etc/health.d/late.check": "kind = command\nexec = /usr/bin/false\nafter = 60s\nfailures = 1\n",
        "/etc/health.conf": "settle = 2s\ndeadline = 65s\n"})
    _given_up(bench, variant, End(_bad_by("late", after=60.0), reason="health", tries=1))


def check_fails(bench: Bench) -> None:
    """A check that the release brings itself never holds: bad at the deadline, three times."""
    variant = bench.with_files({
        "/etc/health.d/broken.check": "kind = command\nexec = /usr/bin/false\n", "/etc/health.conf": QUICK})
    _given_up(bench, variant, End(_bad_by("broken"), reason="health"))


def check_of_the_operator_fails(bench: Bench) -> None:
    """A check of the operator's holds in the old release and fails in the new one: nothing about the release is
    changed, and it is given up."""
    machine = bench.machine()
    with machine.running_from("a", bench.before.version) as person:
        person.output("mkdir -p /data/etc/health.d && echo kept >/data/file")
        person.type_file("/data/etc/health.d/slot.check", OPERATORS_CHECK)
        person.type_file("/data/etc/slot.sh", OPERATORS_SCRIPT)
        person.output("kill -9 $(pidof healthd); sleep 1")  # which reads the checks when it starts
        person.output("until health; do sleep 1; done", seconds=BOOT_SECONDS)
        require_in("the checks", "slot", person.output("health"))
        person.output("sync")
        machine.install(person)
        machine.restarts(person, "reboot")
    _leave(machine, tries=1)
    with machine.fails("b", bench.after.version, seconds=VERDICT_SECONDS):
        require_in("why it is bad", "slot", machine.event("update.bad").get("why"))
    _back(bench, machine, reason="health")


def good_slot_stops_booting(bench: Bench) -> None:
    """A slot that was good, and whose kernel panics from some day on: after five boots the other's turn."""
    broken = bench.with_code(LATE_IN_BOOT, BREAK)
    machine = bench.machine(image=bench.installed(broken, bench.old))
    for _ in range(UNFINISHED_MAX):
        with machine.fails("a", bench.after.version) as running:
            _told(running, "kernel.panic")
    with machine.running_from("b", bench.before.version) as person:
        machine.install(person)
        machine.cut()


def _given_up(bench: Bench, variant: bytes, end: End) -> None:
    """The variant has its tries, each of which ends so; then N boots, tells why, and does not take it again. What takes
    minutes has one of them left."""
    machine = bench.machine(variant, watchdog=end.watchdog)
    with machine.running_from("a", bench.before.version) as person:
        person.output("echo kept >/data/file && sync")
        machine.install(person)
        machine.restarts(person, "reboot")
    _leave(machine, tries=end.tries)
    for _ in range(end.tries):
        with machine.fails("b", bench.after.version, seconds=VERDICT_SECONDS) as running:
            end.check(running)
    _back(bench, machine, reason=end.reason)


def _started(running: Machine) -> list[str]:
    """Services that init has started."""
    return [event.get("name") for event in running.console.events if event.name == "service.start"]


def _leave(machine: Updating, *, tries: int) -> None:
    """Slot B has so many boots left."""

    def fewer(block: memoryview) -> dict[int, bytes]:
        old = bootctl.current(block)[1]
        b = old.slots[1].model_copy(update={"tries": tries})
        return bootctl.encode_partition(old.model_copy(update={"slots": (old.slots[0], b)}))

    if tries != TRIES:
        machine.alter("bootctl", fewer)


def _reset_by_watchdog(running: Machine) -> None:
    if not running.monitor().watchdog_expired():
        raise ProofError("the machine started anew, and its watchdog did not do it")


def _bad_by(check: str, *, after: float = 0.0) -> Callable[[Machine], None]:
    """The boot ended with a verdict that names this check, so long after its beginning."""

    def told(running: Machine) -> None:
        bad = next((event for event in running.console.events if event.name == "update.bad"), None)
        if bad is None:
            raise ProofError("no event update.bad: the release was not given up by its health")
        require("slot and whether it is kept", (bad.get("slot"), bad.get("kept")), ("b", "1"))
        require_in("why it is bad", check, bad.get("why"))
        if bad.time < after:
            raise ProofError(f"bad after {bad.time} s, expected {after} s or more")

    return told


def _told(running: Machine, name: str) -> None:
    """The boot told of this event, then restarted, and was never ready."""
    names = [event.name for event in running.console.events]
    require_in("events of this boot", name, names)
    require("last event", names[-1], "system.reboot")
    require("events boot.ready", names.count("boot.ready"), 0)


def _back(bench: Bench, machine: Updating, *, reason: str) -> None:
    with machine.running_from("a", bench.before.version) as person:
        status = machine.status(person)
        b = status["slots"]["b"]
        require("slot b, given up", (b["state"], b["reason"], b["tries"]), ("unbootable", reason, 0))
        require("releases that failed here", status["failed_releases"], [b["release"]])
        require("/data/file", person.output("cat /data/file"), "kept")
        machine.refused(person, "failed-here")
        require_in("update verify", f"slot a: {bench.before.version}: whole",
                   person.output("update verify", seconds=INSTALL_SECONDS))
        machine.cut()
