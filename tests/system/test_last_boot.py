"""What a boot leaves for the next one: the report of a panic, its last events, the console; bounded, and only shown."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from swiftbuild.machine.qemu import Machine
from swiftbuild.scenarios import variants
from swiftbuild.scenarios.boot import wait_ready
from swiftbuild.scenarios.disk import Disk
from swiftbuild.scenarios.failing import BREAK
from swiftbuild.scenarios.session import Person

from tests.system.conftest import BOOT_SECONDS, image_of, password, spec
from tests.variants import installed, signed, slot_image

pytestmark = [pytest.mark.system, pytest.mark.rollback_test]
MACHINES = {"qemu": spec("qemu", way="uefi-fdt", cpus=2), "hetzner": spec("hetzner", cpus=2)}
GOES_ON = ("-action", "reboot=reset")
"""A restart is one: QEMU stays, and so does the machine's memory."""
PLACE = 0x4C00_0000
"""Where the loader looks first."""
TRIGGER = "swift_kernel::fs::proc::system::loadavg"
"""Of the variant's kernel, to be asked for by hand."""


class Restarting(Disk):
    """A machine that keeps its memory through restarts."""

    def __init__(self, profile: str, folder: Path, image: Path, *words: str) -> None:
        super().__init__(replace(MACHINES[profile], extra=(*GOES_ON, *words)), image, folder,
                         password=password(profile, "root"))

    def restarted(self, person: Person, command: str) -> None:
        """A command, behind which the machine starts anew."""
        person.console.send(f"{command}\n")
        self.until(self.running, "system.reboot")
        self.up_again(person)

    def up_again(self, person: Person) -> None:
        """root at the prompt again: the same person, for the answers of the boot before are in what is shown."""
        person.console.events.clear()  # a panic of the boot before is none of this one
        wait_ready(self.running, seconds=BOOT_SECONDS)
        person.log_in("root", password(self.spec.profile, "root"))

    @staticmethod
    def until(running: Machine, name: str) -> None:
        """Until that event, whatever else comes."""
        console, end = running.console, time.monotonic() + BOOT_SECONDS
        while not any(event.name == name for event in console.events):
            assert time.monotonic() < end and not console.closed, console.text[-2000:]
            console.pump(0.25)


@contextmanager
def booted(machine: Restarting) -> Iterator[Person]:
    """The first boot: memory holds nothing yet."""
    with machine.boot() as person:
        assert machine.events("lastboot.found") == machine.events("lastboot.error") == []
        (none,) = machine.events("lastboot.none")
        assert "outlasted" in none["why"]
        yield person


@pytest.mark.parametrize("profile", ["qemu", "hetzner"])
def test_a_panic_is_told_at_the_next_boot_and_kept(profile: str, tmp_path: Path) -> None:
    variant = signed(variants.with_code(slot_image(image_of(profile)), TRIGGER, BREAK))
    machine = Restarting(profile, tmp_path, installed(image_of(profile), tmp_path / "variant.img", variant))
    with booted(machine) as person:
        answer = person.run("events --last-boot")
        assert (answer.status, "nothing of the boot before is in memory" in answer.text) == (1, True)
        assert person.output("events --keep; ls /data/var 2>/dev/null | grep crash; true") == ""
        person.output("echo last words; true")
        machine.restarted(person, "cat /proc/loadavg")
        panicked(machine, person)
        machine.restarted(person, "reboot")
        (found,) = machine.events("lastboot.found")
        assert (found["end"], found["boot"]) == ("restart", "2")
        assert "last boot" not in person.output("update status")
        assert "  [old] init.stop" in person.output("events --last-boot init")
        assert len(person.output("ls /data/var/crash").split()) == 1, "an end by order is not kept"
        machine.cut()


def panicked(machine: Restarting, person: Person) -> None:
    """The boot behind a panic: who may sees all of it."""
    (found,) = machine.events("lastboot.found")
    assert (found["end"], found["boot"]) == ("panic", "1")
    assert machine.events("lastboot.error") == []
    text = person.output("events --last-boot")
    head, report, events, console = split(text, "report", "events", "console")
    assert "\nend panic\n" in head and f"\nwhy {found['why']}" in head
    assert "kernel panic on CPU" in report and "called from:" in report
    assert f"{TRIGGER}+0x" in report, report
    assert "  [old] boot.ready " in events and "  [old] kernel.panic " in events
    assert "last words" in console and "cat /proc/loadavg" in console
    assert "[evt]" not in text, "who reads this console finds no new events"
    assert person.output("events --last-boot kernel.panic").startswith("  [old] kernel.panic t=")
    # The same on the disk, for root alone.
    (kept,) = person.output("ls /data/var/crash").split()
    assert "\nend panic\n" in person.output(f"cat /data/var/crash/{kept}")
    assert person.output("stat -c %a:%U /data/var/crash /proc/last-boot").split() == ["700:root", "400:root"]
    assert f"last boot  panic: {found['why']}" in person.output("update status")
    told = json.loads(person.output("update status --json"))["last_boot"]
    assert told == {"end": "panic", "why": found["why"]}
    person.console.send("exit\n")
    person.log_in("guest", "guest")
    assert person.run("events --last-boot 2>&1").status == person.run("cat /proc/last-boot 2>&1").status == 1
    assert person.run("ls /data/var/crash 2>&1").status != 0
    person.console.send("exit\n")
    person.log_in("root", password(machine.spec.profile, "root"))


def split(text: str, *parts: str) -> list[str]:
    """What stands before the first part, and each part."""
    found = []
    for part in parts:
        before, mark, text = text.partition(f"\n[{part}]\n")
        assert mark, part
        found.append(before)
    return [*found, text]


def test_a_reset_from_outside_leaves_the_last_events(tmp_path: Path) -> None:
    """As a device that ends a hang: nobody wrote anything at the end."""
    machine = Restarting("qemu", tmp_path, image_of("qemu"))
    with booted(machine) as person:
        person.output("echo last words; echo 'test.mark a=b' >/dev/events")
        machine.running.monitor().execute("system_reset")
        machine.up_again(person)
        (found,) = machine.events("lastboot.found")
        assert (found["end"], found["why"]) == ("cut", "")
        text = person.output("events --last-boot")
        assert "\nend cut\n" in text and "  [old] test.mark " in text and "last words" in text
        assert "last boot  cut; " in person.output("update status")
        assert len(person.output("ls /data/var/crash").split()) == 1
        machine.cut()


@pytest.mark.parametrize("profile", ["qemu", "hetzner"])
def test_what_is_no_record_is_refused(profile: str, tmp_path: Path) -> None:
    """Memory that begins like a record and holds noise: told, not shown, not kept; the machine runs as ever."""
    noise = tmp_path / "noise"
    noise.write_bytes(b"SWLASTBT\1\0\0\0\0\0\0\0" + bytes(range(256)) * 511)
    machine = Restarting(profile, tmp_path, image_of(profile),
                         "-device", f"loader,file={noise},addr={PLACE:#x},force-raw=on")  # fmt: skip
    with machine.boot() as person:
        (error,) = machine.events("lastboot.error")
        assert (error["what"], error["why"]) == ("record", "the checksum of the record's head is wrong")
        assert machine.events("lastboot.found") == []
        assert person.output("cat /proc/last-boot").startswith("end refused\n")
        answer = person.run("events --last-boot 2>&1")
        assert (answer.status, "checksum" in answer.text) == (1, True)
        assert person.run("ls /data/var/crash 2>&1").status != 0
        machine.cut()
