"""Machines with more disks than the one that they boot from, and root at their console."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from swiftbuild.limits import MIB
from swiftbuild.machine.media import prepare
from swiftbuild.machine.qemu import Machine, machine
from swiftbuild.scenarios.session import Person

from tests.system import disks
from tests.system.conftest import as_root, image_of, spec


@dataclass(frozen=True)
class Bus:
    """How disks are reached."""

    profile: str
    device: str
    """What drives a disk, for `-device`."""
    driver: str
    """What the kernel calls that."""
    interrupts: range
    """Empty: it has none."""
    first: tuple[str, ...] = ()
    """Options before the disks'."""
    way: str = "direct"


SPIS, LPIS = range(32, 1020), range(8192, 16384)
HOST = ("-device", "virtio-scsi-pci,id=more")
BUSES = {
    "mmio": Bus("qemu", "virtio-blk-device", "virtio-blk-mmio", SPIS),
    "pci": Bus("qemu", "virtio-blk-pci", "virtio-blk-pci", SPIS),
    # without messages: a line, which functions share
    "pci-line": Bus("qemu", "virtio-blk-pci,vectors=0", "virtio-blk-pci", range(35, 39)),
    # and where only AML would tell of the line: looked at by timer
    "pci-timer": Bus("qemu", "virtio-blk-pci,vectors=0", "virtio-blk-pci", range(0), way="uefi-acpi"),
    "scsi": Bus("hetzner", "scsi-hd,bus=more.0", "virtio-scsi-pci", LPIS, HOST),
}


@dataclass(frozen=True)
class Guest:
    """A machine with more disks, and root at its console."""

    bus: Bus
    running: Machine
    person: Person
    files: dict[str, Path]

    def node(self, disk: disks.Kind) -> str:
        """The guest's name of a disk, by its size."""
        table = self.person.output("cat /proc/partitions")
        found = re.findall(rf"^ *\d+ +\d+ +{disk.mib * MIB // 1024} (\w+)$", table, re.MULTILINE)
        assert len(found) == 1, table
        return str(found[0])

    def events(self, name: str, node: str) -> list[str]:
        """Every event of that name about a disk so far, also those that the console no longer shows."""
        lines = self.person.output("cat /proc/events").splitlines()
        about = rf"\[evt\] {re.escape(name)} .*\b(name|what)={node}\b"
        return [line for line in lines if re.match(about, line)]

    def fails(self, command: str, why: str = "Input/output error") -> None:
        """The command fails, for this reason."""
        answer = self.person.run(f"({command}) 2>&1")
        assert answer.status != 0 and why in answer.text, answer


@contextmanager
def started(
    bus: Bus, options: Sequence[str], folder: Path, command_line: str = ""
) -> Iterator[tuple[Machine, Person]]:
    """A machine with more options, and root at its console."""
    wanted = spec(bus.profile, way=bus.way, cpus=2, extra=tuple(options))
    media = prepare(wanted, image_of(bus.profile), folder, command_line=command_line)
    with machine(wanted, lambda _: media, folder=folder) as running:
        yield running, as_root(running)
