"""A machine's disk from boot to boot: what one boot leaves, the next one finds."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from swiftbuild.errors import CommandError
from swiftbuild.limits import SECTOR
from swiftbuild.machine.media import mapped, overlay, prepare
from swiftbuild.machine.qemu import Machine, machine
from swiftbuild.machine.spec import QEMU_IMG, Media, Spec
from swiftbuild.scenarios.boot import wait_ready
from swiftbuild.scenarios.expect import require
from swiftbuild.scenarios.session import Person
from swiftbuild.wire import gpt

BOOT_SECONDS = 180.0
"""Emulation on a busy host; a boot on an idle one takes a tenth of it."""
THROUGH: Mapping[str, object] = {"driver": "raw"}


class Disk:
    """An overlay over an image that is never written, started as often as wanted. One log per boot: `boot-N`."""

    def __init__(
        self, spec: Spec, image: Path, folder: Path, *, password: str, tell: Callable[[str], None] = print
    ) -> None:
        self.spec: Spec = spec
        self.folder = folder
        self.password = password
        self.boots = 0
        self._altered = 0
        # An innermost filter that does nothing, so that another node can take its file's place.
        self.media: Media = replace(prepare(spec, image, folder), filters=(THROUGH,))
        self._tell = tell

    @contextmanager
    def started(self) -> Iterator[Machine]:
        """A boot of which nothing is expected."""
        self.boots += 1
        folder = self.folder / f"boot-{self.boots}"
        folder.mkdir()
        self._tell(f"console log: {folder / 'console.log'}")
        with machine(self.spec, lambda _: self.media, folder=folder) as running:
            self.running: Machine = running
            yield running

    @contextmanager
    def boot(self) -> Iterator[Person]:
        """root at the prompt."""
        with self.started() as running:
            yield as_root(running, self.password)

    def events(self, name: str) -> list[dict[str, str]]:
        """Those of the boot that runs, or ran last."""
        return [dict(event.fields) for event in self.running.console.events if event.name == name]

    def stop(self, person: Person, command: str, reason: str) -> None:
        """The guest ends the machine."""
        person.console.send(f"{command}\n")
        require(f"how the machine ended after {command!r}", self.running.ended(seconds=BOOT_SECONDS), reason)
        require("errors of the data volume", self.events("data.error"), [])

    def cut(self) -> None:
        """QEMU ends at once: what the guest has not handed to its disk is gone."""
        self.running.monitor().execute("quit")
        self.running.process.wait(BOOT_SECONDS)

    def raw(self, out: Path) -> None:
        """A copy of the disk as it is."""
        argv = [QEMU_IMG, "convert", "-O", "raw", str(self.media.disk), str(out)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CommandError("cannot copy the disk", command=" ".join(argv), status=done.returncode,
                               output=done.stderr)

    def replace_disk(self, image: Path) -> None:
        """While the machine is off: another disk, of which nothing is written; the firmware keeps what it has."""
        if self.media.disk is None:
            raise ValueError("this machine has no disk")
        self.media.disk.unlink()
        overlay(image, self.media.disk)

    def alter(self, partition: str, change: Callable[[memoryview], Mapping[int, bytes]]) -> None:
        """While the machine is off: bytes of a partition become others. `change` sees the partition and says which."""
        if self.media.disk is None:
            raise ValueError("this machine has no disk")
        self._altered += 1
        raw = self.folder / f"altered-{self._altered}.img"
        self.raw(raw)
        with mapped(raw) as disk:
            place = gpt.read(disk).named(partition)
            if place is None:
                raise ValueError(f"no partition {partition}")
            start = place.first * SECTOR
            pieces = change(disk[start : (place.last + 1) * SECTOR])
        with raw.open("r+b") as file:
            for offset, piece in pieces.items():
                file.seek(start + offset)
                file.write(piece)
        self.media.disk.unlink()
        overlay(raw, self.media.disk)


def logs(folder: Path) -> list[bytes]:
    """The console's bytes of each boot in a disk's folder, the first boot first."""
    found = sorted(folder.glob("boot-*/console.log"), key=lambda path: int(path.parent.name.removeprefix("boot-")))
    return [path.read_bytes() for path in found]


def as_root(running: Machine, password: str) -> Person:
    """Waits for health and logs root in at the console."""
    wait_ready(running, seconds=BOOT_SECONDS)
    person = Person(running.console)
    person.log_in("root", password)
    return person
