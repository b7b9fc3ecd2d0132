"""A machine that updates itself, from boot to boot: its own disk, and releases on a medium beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from swiftbuild.limits import MIB, SECTOR
from swiftbuild.machine.media import mapped, overlay
from swiftbuild.model.release import SectionType
from swiftbuild.scenarios.session import Person
from swiftbuild.wire import gpt, release

from tests.system.conftest import BOOT_SECONDS, image_of, spec
from tests.system.datadisk import Disk
from tests.variants import rebuilt, slot_image

MACHINES = {"qemu": spec("qemu", way="uefi-fdt", cpus=2), "hetzner": spec("hetzner", cpus=2)}
MEDIUM_BYTES = 16 * MIB
DEVICE = {"qemu": "virtio-blk-device", "hetzner": "virtio-blk-pci"}
MEDIUM = "/dev/vda"
"""Where the guest finds the medium: virtio-mmio has the last device first, and the other board's disk is `sda`."""


def following(images: str, /, **told: object) -> bytes:
    """The release behind the one that the images hold: the same contents, another version."""
    return rebuilt(slot_image(image_of(images)), {}, **{"version": "0.1.1", "rollback_index": 2, **told})


class Updating(Disk):
    """A machine and a medium that holds a release."""

    def __init__(self, profile: str, folder: Path, contents: bytes, *, image: Path | None = None) -> None:
        self.medium = folder / "medium.img"
        self.insert(contents)
        node = {"driver": "raw", "node-name": "medium", "file": {"driver": "file", "filename": str(self.medium)}}
        words = ("-blockdev", json.dumps(node), "-device", f"{DEVICE[profile]},drive=medium")
        super().__init__(profile, folder, image=image, spec=replace(MACHINES[profile], extra=words))
        self.path = MEDIUM

    def insert(self, contents: bytes) -> None:
        """Another release on the medium, while the machine is off."""
        self.medium.write_bytes(contents.ljust(MEDIUM_BYTES, b"\0"))

    def swap(self, person: Person, contents: bytes) -> None:
        """Another release on the medium, while the machine runs and has nothing of the old one in memory."""
        with self.medium.open("r+b") as file:
            file.write(contents.ljust(MEDIUM_BYTES, b"\0"))
        person.output(f"blockdev --flushbufs {self.path}")

    def flip(self, partition: str, kind: SectionType | None) -> None:
        """A bit of a slot, in the middle of a section or in the header, changes while the machine is off."""
        assert self.media.disk
        raw = self.folder / f"flipped-{self.boots}.img"
        self.raw(raw)
        with mapped(raw) as disk:
            place = gpt.read(disk).named(partition)
            assert place
            start = place.first * SECTOR
            section = release.decode_header(disk[start : start + release.HEADER_SIZE]).section(kind) if kind else None
            at = start + (section.offset + section.length // 2 if section else 200)
            byte = disk[at]
        with raw.open("r+b") as file:
            file.seek(at)
            file.write(bytes([byte ^ 4]))
        self.media.disk.unlink()
        overlay(raw, self.media.disk)

    @contextmanager
    def running_from(self, slot: str, version: str) -> Iterator[Person]:
        """A boot that must be from this slot, with this release; root at the prompt."""
        with self.boot() as person:
            (loaded,) = self.events("loader.slot")
            assert (loaded["slot"], loaded["version"]) == (slot, version), loaded
            yield person

    def status(self, person: Person) -> dict[str, Any]:
        """`update status`, for scripts."""
        found: dict[str, Any] = json.loads(person.output("update status --json"))
        return found

    def restarts(self, person: Person, command: str) -> None:
        """A command, behind which the machine starts anew."""
        person.console.send(f"{command}\n")
        assert self.running.ended(seconds=BOOT_SECONDS) == "guest-reset"
