"""Which image a command means, and which profile an image is of."""

from __future__ import annotations

from pathlib import Path

from swiftbuild.errors import UsageError
from swiftbuild.limits import SECTOR
from swiftbuild.machine.media import mapped
from swiftbuild.wire import gpt, release
from swiftbuild.wire.view import take


def locate(root: Path, image: Path | None, profile: str | None) -> Path:
    """The image named, or the last one built for a profile."""
    if image is None:
        if profile is None:
            raise UsageError("name an image, or a profile with --profile", hint="built images lie in build/images")
        image = root / "build" / "images" / f"{profile}.img"
    if not image.is_file():
        name = profile or image.stem
        raise UsageError(f"no image {image}", hint=f"build one: swiftbuild image --profile {name}")
    return image


def profile_of(image: Path) -> str:
    """The profile that the first slot's release header names."""
    with mapped(image) as disk:
        partition = gpt.read(disk).named("base_a")
        if partition is None:
            raise UsageError(f"{image} has no partition base_a", hint="was it made by swiftbuild image?")
        header = take(disk, partition.first * SECTOR, release.HEADER_SIZE, "release header")
        return release.decode_header(header).profile
