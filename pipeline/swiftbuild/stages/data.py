"""A folder → the first contents of the data partition: a datafs volume (docs/formats/datafs.md)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from swiftbuild.digest import derive, derive_uuid, sha256_file
from swiftbuild.effects.datatool import DataTool, Identity, Volume
from swiftbuild.effects.trees import pack


@dataclass(frozen=True)
class DataInput:
    """What the volume is to hold."""

    owner: str
    """What its identity is derived for: the image's profile."""
    label: str
    folder: Path | None
    """None: nothing."""
    size: int
    """Bytes."""
    file_time: int
    """Seconds since 1970."""
    shown: str
    """What the volume is called in errors."""


def build_data(given: DataInput, tool: DataTool, work: Path, image: Path) -> None:
    """The volume as a sparse file. Its identity follows from the archive of the folder (docs/formats/disk.md)."""
    archive, empty = work / "data.tar", work / "empty"
    empty.mkdir()
    pack(given.folder or empty, archive, time=given.file_time)
    digest = bytes.fromhex(sha256_file(archive))
    with image.open("wb") as file:
        file.truncate(given.size)
    identity = Identity(
        uuid=str(derive_uuid("swift-os data uuid", given.owner, digest)), label=given.label, time=given.file_time,
        hash_key=derive("swift-os data hash key", given.owner, digest)[:16].hex(),
    )
    tool.make(Volume(image, 0, given.size, given.shown), identity, archive)
    archive.unlink()
