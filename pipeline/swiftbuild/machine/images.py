"""Which image a command means, and which profile an image is of."""

from __future__ import annotations

from pathlib import Path

from swiftbuild.effects.project import load_profile
from swiftbuild.errors import DamageError, UsageError
from swiftbuild.limits import SECTOR
from swiftbuild.machine.media import mapped
from swiftbuild.model.disk import BASE_TYPE, Partition
from swiftbuild.wire import gpt, release
from swiftbuild.wire.view import Buffer, take

QCOW2 = b"QFI\xfb"


def locate(root: Path, image: Path | None, profile: str | None) -> Path:
    """The image named, or the last one built for a profile. It has our partitions; nothing else would boot."""
    if image is None:
        if profile is None:
            raise UsageError("name an image, or a profile with --profile", hint="built images lie in build/images")
        load_profile(root, profile)
        image = root / "build" / "images" / f"{profile}.img"
        if not image.exists():
            raise UsageError(f"no image {image}", hint=f"build one: swiftbuild image --profile {profile}")
    with mapped(image) as disk:
        if bytes(disk[:4]) != QCOW2:
            base_of(disk)
        elif profile is None:
            raise UsageError(f"{image} is no raw image, so it does not tell its profile", hint="name it with --profile")
    return image


def base_of(disk: Buffer) -> Partition:
    """The first base slot of a disk image; a disk without one is not ours."""
    partition = gpt.read(disk).named("base_a")
    if partition is None:
        raise DamageError("no image of ours: it has no partition base_a", hint="was it made by swiftbuild image?")
    return partition


def profile_of(image: Path) -> str:
    """The profile that the first slot's release header names."""
    with mapped(image) as disk:
        header = take(disk, base_of(disk).first * SECTOR, release.HEADER_SIZE, "release header")
        return release.decode_header(header).profile


def is_ours(file: Path) -> bool:
    """Whether it is a disk image that swiftbuild made, or empty: what may be replaced by another image."""
    if not file.stat().st_size:
        return True
    try:
        with mapped(file) as disk:
            return base_of(disk).type == BASE_TYPE
    except DamageError:
        return False
