"""A machine that updates itself, from boot to boot: its own disk, and releases on a medium beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from swiftbuild.limits import MIB
from swiftbuild.scenarios.session import Person

from tests.system.conftest import BOOT_SECONDS, as_root, image_of, spec
from tests.system.datadisk import Disk
from tests.variants import rebuilt, slot_image

MACHINES = {"qemu": spec("qemu", way="uefi-fdt", cpus=2), "hetzner": spec("hetzner", cpus=2)}
DEVICE = {"qemu": "virtio-blk-device", "hetzner": "virtio-blk-pci"}
MEDIUM = "/dev/vda"
"""Where the guest finds the medium: virtio-mmio has the last device first, and the other board's disk is `sda`."""


def following(profile: str, **told: object) -> bytes:
    """The release behind the one that the images hold: the same contents, another version."""
    return rebuilt(slot_image(image_of(profile)), {}, **{"version": "0.1.1", "rollback_index": 2, **told})


class Updating(Disk):
    """A machine and a medium that holds a release."""

    def __init__(self, profile: str, folder: Path, release: bytes, *, image: Path | None = None) -> None:
        self.medium = folder / "medium.img"
        self.insert(release)
        node = {"driver": "raw", "node-name": "medium", "file": {"driver": "file", "filename": str(self.medium)}}
        words = ("-blockdev", json.dumps(node), "-device", f"{DEVICE[profile]},drive=medium")
        super().__init__(profile, folder, image=image, spec=replace(MACHINES[profile], extra=words))
        self.path = MEDIUM

    def insert(self, release: bytes) -> None:
        """Another release on the medium, while the machine is off."""
        self.medium.write_bytes(release.ljust(-(-len(release) // MIB) * MIB, b"\0"))

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


__all__ = ["BOOT_SECONDS", "Updating", "as_root", "following"]
