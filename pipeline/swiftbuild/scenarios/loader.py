"""Releases that bring another loader: tried with its release, kept with it, given up with it."""

from __future__ import annotations

from collections.abc import Callable

from swiftbuild.errors import ProofError
from swiftbuild.machine.qemu import Machine
from swiftbuild.model.bootctl import BootControl
from swiftbuild.model.disk import LOADER_FILE_BYTES
from swiftbuild.model.release import SectionType
from swiftbuild.scenarios import variants
from swiftbuild.scenarios.bench import Bench
from swiftbuild.scenarios.expect import require, require_in
from swiftbuild.scenarios.failing import BREAK, ENDLESS
from swiftbuild.scenarios.updating import INSTALL_SECONDS, Updating
from swiftbuild.wire import bootctl, esp, release

HANG_SECONDS = 300.0
"""The firmware's watchdog is set to 30 s, of a guest on a busy host."""


def kept(bench: Bench) -> None:
    """Another loader, which works: it boots the release that it came with, changes places with the old one when that is
    good, and from then on the firmware starts it."""
    contents = bench.signed(variants.with_other_loader(bench.new))
    machine = bench.machine(contents)
    old = _first(machine)
    with machine.running_from("a", bench.before.version) as person:
        machine.install(person)
        require("starts that it is given", machine.status(person)["loader"]["starts_left"], 3)
        require_in("update status", "on trial, 3 starts left", person.output("update status"))
        machine.restarts(person, "reboot")
    require("the first loader file before the trial", _first(machine), old)
    with machine.running_from("b", bench.after.version) as person:
        require("loaders that ran", _ran(machine), ["0", "1"])
        person.output("update mark-good", seconds=INSTALL_SECONDS)
        require("loader on trial", machine.status(person)["loader"]["starts_left"], None)
        machine.restarts(person, "reboot")
    require("the first loader file", _first(machine), esp.padded(_loader(contents)))
    with machine.running_from("b", bench.after.version) as person:
        require("loaders that ran", _ran(machine), ["0"])
        person.output("update commit", seconds=INSTALL_SECONDS)
        require("floor of loaders", machine.status(person)["loader"]["floor"], bench.after.loader_security_version)
        machine.cut()


def hangs(bench: Bench) -> None:
    """A loader that comes to an endless loop: the firmware's watchdog restarts the machine, and when no start is left
    the old loader boots the old release."""
    _given_up(bench, variants.with_other_loader(bench.new, code=ENDLESS), "started 3 times", starts=1)


def crashes(bench: Bench) -> None:
    """A loader that crashes at once: the machine restarts, three times, and goes back."""
    _given_up(bench, variants.with_other_loader(bench.new, code=BREAK), "started 3 times", starts=3)


def refuses(bench: Bench) -> None:
    """A loader that trusts another root, and so refuses both slots: it comes back, and the old one goes on."""
    stranger = bench.stranger("root of another")
    _given_up(bench, variants.with_other_loader(bench.new, roots=stranger.roots()), "came back", starts=0)


def _given_up(bench: Bench, variant: bytes, why: str, *, starts: int) -> None:
    """So many starts end in a restart of the machine; then N boots, tells why, and does not take the release again."""
    machine = bench.machine(bench.signed(variant))
    old = _first(machine)
    with machine.running_from("a", bench.before.version) as person:
        person.output("echo kept >/data/file && sync")
        machine.install(person)
        machine.restarts(person, "reboot")
    if starts:
        machine.alter("bootctl", _left(starts))
    for _ in range(starts):
        with machine.started() as running:
            require("how the machine ended", running.ended(seconds=HANG_SECONDS), "guest-reset")
            _came_to_nothing(running)
    with machine.running_from("a", bench.before.version) as person:
        status = machine.status(person)
        b = status["slots"]["b"]
        require("slot b, given up", (b["state"], b["reason"]), ("unbootable", "loader"))
        require_in("why", why, b["why"])
        require("releases that failed here", status["failed_releases"], [b["release"]])
        require("loader on trial", status["loader"]["starts_left"], None)
        require("/data/file", person.output("cat /data/file"), "kept")
        machine.refused(person, "failed-here")
        require_in("update verify", f"slot a: {bench.before.version}: whole",
                   person.output("update verify", seconds=INSTALL_SECONDS))
        machine.cut()
    require("the first loader file", _first(machine), old)


def _came_to_nothing(running: Machine) -> None:
    """The new loader was started, and booted nothing."""
    names = [event.name for event in running.console.events]
    require_in("events of this boot", "loader.try", names)
    if "loader.slot" in names:
        raise ProofError("the new loader was to come to nothing, and a slot was booted")


def _ran(machine: Updating) -> list[str]:
    """Of each loader that ran in this boot: whether another one tried it."""
    return [event["trial"] for event in machine.events("loader.start")]


def _loader(raw: bytes) -> bytes:
    return bytes(release.read_slot(raw).section(SectionType.LOADER))


def _first(machine: Updating) -> bytes:
    """The loader file that the firmware starts."""
    found = []

    def look(volume: memoryview) -> dict[int, bytes]:
        first, second = (bytes(file) for file in esp.find(volume))
        require("sizes of the loader files", (len(first), len(second)), (LOADER_FILE_BYTES, LOADER_FILE_BYTES))
        found.append(first)
        return {}

    machine.alter("esp", look)
    return found[0]


def _left(starts: int) -> Callable[[memoryview], dict[int, bytes]]:
    """The loader on trial has so many starts left."""

    def fewer(block: memoryview) -> dict[int, bytes]:
        old: BootControl = bootctl.current(block)[1]
        if old.loader_trial is None:
            raise ProofError("no loader is on trial behind the install of a release that brings another one")
        trial = old.loader_trial.model_copy(update={"tries": starts})
        return bootctl.encode_partition(old.model_copy(update={"loader_trial": trial}))

    return fewer
