"""A machine of this tree's images that updates itself, and releases for it."""

from __future__ import annotations

from pathlib import Path

from swiftbuild.scenarios import updating

from tests.system.conftest import image_of, password, spec
from tests.variants import rebuilt, slot_image

MACHINES = {"qemu": spec("qemu", way="uefi-fdt", cpus=2), "hetzner": spec("hetzner", cpus=2)}


def following(images: str, /, **told: object) -> bytes:
    """The release behind the one that the images hold: the same contents, another version."""
    return rebuilt(slot_image(image_of(images)), {}, **{"version": "0.1.1", "rollback_index": 2, **told})


class Updating(updating.Updating):
    """A machine and a medium that holds a release."""

    def __init__(self, profile: str, folder: Path, contents: bytes, *, image: Path | None = None) -> None:
        super().__init__(MACHINES[profile], image or image_of(profile), folder, password=password(profile, "root"))
        self.insert(contents)
