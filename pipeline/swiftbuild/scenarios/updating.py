"""A machine that updates itself, from boot to boot: its own disk, and a release on a medium beside it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from swiftbuild.errors import ProofError
from swiftbuild.limits import MIB
from swiftbuild.machine.qemu import Machine
from swiftbuild.machine.spec import Spec
from swiftbuild.model.event import Event
from swiftbuild.model.release import SectionType
from swiftbuild.scenarios.disk import BOOT_SECONDS, Disk
from swiftbuild.scenarios.expect import require, require_in
from swiftbuild.scenarios.session import Answer, Person
from swiftbuild.wire import release
from swiftbuild.wire.event import Lines

MEDIUM_BYTES = 160 * MIB
"""More than a slot holds."""
SPEED = "medium-speed"
ACTIVITY_WORDS = 4
MEDIUM = "/dev/vda"
"""Where the guest finds the medium: virtio-mmio has the last device first, and the other board's disk is `sda`."""
COUNTED = "update status --json | grep -q '\"good\":true,\"unfinished_boots\":0'"
INSTALL_SECONDS = 180.0


class Updating(Disk):
    """A machine and a medium that holds a release."""

    def __init__(
        self, spec: Spec, image: Path, folder: Path, *, password: str, tell: Callable[[str], None] = print
    ) -> None:
        self.medium = folder / "medium.img"
        self.insert(b"")
        file = {"driver": "raw", "file": {"driver": "file", "filename": str(self.medium)}}
        node = {"driver": "throttle", "node-name": "medium", "throttle-group": SPEED, "file": file}
        device = "virtio-blk-pci" if spec.disk == "virtio-scsi" else "virtio-blk-device"
        words = ("-object", f"throttle-group,id={SPEED}",
                 "-blockdev", json.dumps(node), "-device", f"{device},drive=medium")
        super().__init__(replace(spec, extra=(*spec.extra, *words)), image, folder, password=password, tell=tell)
        self.path = MEDIUM

    def insert(self, contents: bytes) -> None:
        """Another release on the medium, while the machine is off."""
        self.medium.write_bytes(contents)
        os.truncate(self.medium, MEDIUM_BYTES)
        self._used = len(contents)

    def swap(self, person: Person, contents: bytes) -> None:
        """Another release on the medium, while the machine runs and has nothing of the old one in memory."""
        with self.medium.open("r+b") as file:
            file.write(contents.ljust(self._used, b"\0"))
        self._used = len(contents)
        person.output(f"blockdev --flushbufs {self.path}")

    def set_clock(self, shown: str) -> None:
        """While the machine is off: what its clock shows when it starts, as YYYY-MM-DDTHH:MM:SS."""
        self.spec = replace(self.spec, extra=(*self.spec.extra, "-rtc", f"base={shown}"))

    def slow(self, bytes_per_second: int) -> None:
        """How fast the medium is read; 0: as fast as it goes."""
        self.running.monitor().execute("qom-set", path=f"/objects/{SPEED}", property="limits",
                                       value={"bps-total": bytes_per_second})

    def copied(self, person: Person) -> tuple[int, int]:
        """Waits until an install has copied something: KiB so far, and of how many."""
        end = time.monotonic() + INSTALL_SECONDS
        while True:
            activity = str(self.status(person)["activity"] or "")
            words = activity.split()
            if len(words) == ACTIVITY_WORDS and words[1] == "copy" and int(words[2]) > 0:
                return int(words[2]), int(words[3])
            if time.monotonic() > end:
                raise ProofError(f"the install has copied nothing in {INSTALL_SECONDS:g} s: {activity!r}")

    def told(self, person: Person, name: str) -> list[dict[str, str]]:
        """The events of that name, of the kernel's own list: behind a login they are not on the console."""
        found = Lines().feed(person.output(f"events {name}") + "\n")
        return [dict(event.fields) for event in found if isinstance(event, Event)]

    def flip(self, partition: str, kind: SectionType | None) -> None:
        """A bit of a slot, in the middle of a section or in the header, changes while the machine is off."""

        def flipped(slot: memoryview) -> dict[int, bytes]:
            section = release.decode_header(slot[: release.HEADER_SIZE]).section(kind) if kind else None
            at = section.offset + section.length // 2 if section else 200
            return {at: bytes([slot[at] ^ 4])}

        self.alter(partition, flipped)

    @contextmanager
    def running_from(self, slot: str, version: str) -> Iterator[Person]:
        """A boot that must be from this slot, with this release; root at the prompt."""
        with self.boot() as person:
            self.require_slot(slot, version)
            yield person

    def require_slot(self, slot: str, version: str) -> None:
        """What the loader of this boot chose."""
        found = [(event["slot"], event["version"]) for event in self.events("loader.slot")]
        require("slot and version that the loader chose", found, [(slot, version)])

    def status(self, person: Person) -> dict[str, Any]:
        """`update status`, for scripts."""
        text = person.output("update status --json")
        # events may stand before it and behind it
        found: dict[str, Any] = json.JSONDecoder().raw_decode(text, text.rfind('{"running"'))[0]
        return found

    def counted(self, person: Person) -> None:
        """Waits until the service has written down that this boot is ready: its own write to the boot-control block."""
        person.output(f"until {COUNTED}; do sleep 1; done")

    def slot(self, person: Person, name: str) -> dict[str, Any]:
        """One slot of `update status`."""
        found: dict[str, Any] = self.status(person)["slots"][name]
        return found

    def install(self, person: Person) -> str:
        """`update install` from the medium, which must succeed."""
        return person.output(f"update install {self.path}", seconds=INSTALL_SECONDS)

    def refused(self, person: Person, why: str) -> Answer:
        """`update install` from the medium, which must be refused, with this class."""
        answer = person.run(f"update install {self.path} 2>&1", seconds=INSTALL_SECONDS)
        require("status of an install that must be refused", answer.status, 1)
        require_in("what it says", f"({why})", answer.text)
        return answer

    def restarts(self, person: Person, command: str) -> None:
        """A command, behind which the machine starts anew."""
        person.console.send(f"{command}\n")
        require(f"how the machine ended after {command!r}", self.running.ended(seconds=BOOT_SECONDS), "guest-reset")

    @contextmanager
    def fails(self, slot: str, version: str, *, seconds: float = BOOT_SECONDS) -> Iterator[Machine]:
        """A boot of this release that must end in a restart; what it told is looked at behind that."""
        with self.started() as running:
            require("how the machine ended", running.ended(seconds=seconds), "guest-reset")
            self.require_slot(slot, version)
            yield running

    def event(self, name: str) -> Event:
        """The first event of that name in this boot; there must be one."""
        found = [event for event in self.running.console.events if event.name == name]
        require_in("events of this boot", name, [event.name for event in self.running.console.events])
        return found[0]
