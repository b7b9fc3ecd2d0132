"""Hangs end in a reset: of programs, of one CPU, of a boot before its first program; and `/dev/watchdog` is Linux's."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest
from swiftbuild.machine.media import prepare
from swiftbuild.machine.qemu import Machine, machine
from swiftbuild.machine.spec import Spec

from tests.system.conftest import BOOT_SECONDS, image_of, spec
from tests.system.debugger import Debugger, door, function

pytestmark = [pytest.mark.system, pytest.mark.watchdog_test]
LAST_OF_BOOT = "swift_kernel::process::start_init"
"""A function that the kernel comes to once, when everything but the programs is there."""
BOOT = "<swift_kernel::boot::bring_up as core::ops::function::FnOnce<()>>::call_once::{shim:vtable#0}"
BOOT_TIMEOUT_SECONDS = 60
SILENT_SECONDS = 30
SLACK_SECONDS = 60.0
"""Emulation shares its host."""


def started(wanted: Spec, folder: Path) -> AbstractContextManager[Machine]:
    """A machine of its profile's image."""
    media = prepare(wanted, image_of(wanted.profile), folder)
    return machine(wanted, lambda _: media, folder=folder)


def reset_by_device(running: Machine, *, within: float) -> None:
    """Waits until the device has reset the machine."""
    assert running.ended(seconds=within + SLACK_SECONDS) == "guest-reset"
    assert running.monitor().watchdog_expired()


@pytest.mark.parametrize("profile", ["qemu", "hetzner"])
def test_a_boot_that_hangs_before_its_first_program_is_reset(profile: str, tmp_path: Path) -> None:
    """The loader has armed the device; the kernel never comes to init."""
    wanted = replace(spec(profile, cpus=2), watchdog=True, extra=door(tmp_path / "door"))
    with started(wanted, tmp_path) as running, Debugger(running, tmp_path / "door") as debugger:
        debugger.stop_at(function(image_of(profile), BOOT))
        debugger.make_endless(function(image_of(profile), LAST_OF_BOOT))
        debugger.go_on()
        armed = running.console.event("loader.watchdog", seconds=BOOT_SECONDS)
        assert (armed.fields["driver"], armed.fields["timeout"]) == ("i6300esb", str(BOOT_TIMEOUT_SECONDS))
        ready = running.console.event("watchdog.ready", seconds=BOOT_SECONDS)
        assert (ready.fields["driver"], ready.fields["armed"], ready.fields["expired"]) == ("i6300esb", "1", "0")
        reset_by_device(running, within=BOOT_TIMEOUT_SECONDS)
        names = [event.name for event in running.console.events]
        assert "init.start" not in names
        assert "kernel.panic" not in names


def test_a_cpu_that_falls_silent_is_named_in_a_panic(tmp_path: Path) -> None:
    wanted = replace(spec("qemu", way="direct", cpus=3), extra=door(tmp_path / "door"))
    image = image_of("qemu")
    with started(wanted, tmp_path) as running, Debugger(running, tmp_path / "door") as debugger:
        debugger.go_on()
        running.console.event("boot.ready", seconds=BOOT_SECONDS)
        debugger.hold()
        endless = function(image, LAST_OF_BOOT)
        debugger.make_endless(endless)
        debugger.send_cpu(1, endless)
        debugger.go_on()
        assert running.ended(seconds=SILENT_SECONDS + SLACK_SECONDS) == "guest-reset"
        panic = next(event for event in running.console.events if event.name == "kernel.panic")
        assert f"CPU 1 has taken no timer interrupt for {SILENT_SECONDS} s" in panic.fields["why"]
        assert panic.fields["cpu"] == "0", "the one before it in the row watches it"
        assert not running.monitor().watchdog_expired(), "nothing but the kernel restarts this machine"
