"""The two loader files on the EFI system partition, found as a running machine finds them (docs/formats/disk.md).

It shares no code with the writer of the volume (`fat32`): what this reads is what `kernel/esp` has to read. Sections in
brackets are the Microsoft FAT specification's, 1.03.
"""

from __future__ import annotations

import struct

from swiftbuild.errors import DamageError, SpaceError
from swiftbuild.limits import SECTOR
from swiftbuild.model.disk import LOADER_FILE_BYTES, LOADER_PATH, SECOND_LOADER_PATH
from swiftbuild.wire.view import Buffer, take

ENTRY = 32
CLUSTER_BITS = 0x0FFF_FFFF
CHAIN_END = 0x0FFF_FFF8
DIRECTORY, VOLUME_ID = 0x10, 0x08
CLUSTERS_MAX = 1 << 16
"""Of a chain that is followed."""


def padded(loader: bytes) -> bytes:
    """A loader as its file holds it.

    Raises SpaceError: it is larger than that.
    """
    if len(loader) > LOADER_FILE_BYTES:
        raise SpaceError(f"the loader has {len(loader)} bytes; its file on the ESP {LOADER_FILE_BYTES}")
    return loader.ljust(LOADER_FILE_BYTES, b"\0")


def loader_files(loader: bytes) -> dict[str, bytes]:
    """Path → contents on a fresh disk: the second is as good as the first."""
    return dict.fromkeys((LOADER_PATH, SECOND_LOADER_PATH), padded(loader))


def find(volume: Buffer) -> tuple[memoryview, memoryview]:
    """Contents of the file that the firmware starts, and of the second.

    Raises DamageError: they are not there, or cannot change places by one sector of their directory.
    """
    reader = _Volume(volume)
    found = [reader.file(path) for path in (LOADER_PATH, SECOND_LOADER_PATH)]
    (main, one), (second, other) = found
    if one // SECTOR != other // SECTOR or len(main) != len(second):
        raise DamageError("ESP: the two loader files cannot change places: their sizes or entries do not allow it")
    return main, second


class _Volume:
    """A FAT32 volume, of which little is read. [3.1, 3.3]"""

    def __init__(self, raw: Buffer) -> None:
        boot = take(raw, 0, SECTOR, "ESP's boot sector")
        per_sector, per_cluster, reserved, copies = struct.unpack_from("<HBHB", boot, 11)
        (fat_sectors,) = struct.unpack_from("<I", boot, 36)
        (self.root,) = struct.unpack_from("<I", boot, 44)
        if per_sector != SECTOR or not per_cluster or not fat_sectors or bytes(boot[510:]) != b"\x55\xaa":
            raise DamageError("ESP: no FAT32 volume of 512-byte sectors")
        self.raw = memoryview(raw)
        self.cluster_bytes = per_cluster * SECTOR
        self.fat, self.data = reserved * SECTOR, (reserved + copies * fat_sectors) * SECTOR

    def chain(self, first: int) -> list[int]:
        """The clusters of a file or folder. [4]"""
        clusters: list[int] = []
        at = first & CLUSTER_BITS
        while 2 <= at < CHAIN_END and len(clusters) < CLUSTERS_MAX:
            clusters.append(at)
            (following,) = struct.unpack("<I", take(self.raw, self.fat + 4 * at, 4, "ESP's table"))
            at = following & CLUSTER_BITS
        return clusters

    def entry(self, folder: int, name: bytes, path: str) -> tuple[int, int]:
        """First cluster and place of a folder's entry. [6]"""
        for cluster in self.chain(folder):
            start = self.data + (cluster - 2) * self.cluster_bytes
            for at in range(start, start + self.cluster_bytes, ENTRY):
                raw = bytes(take(self.raw, at, ENTRY, "ESP's folder"))
                if raw[0] == 0:
                    break
                if raw[:11] == name and not raw[11] & VOLUME_ID:
                    high, low = struct.unpack_from("<H", raw, 20)[0], struct.unpack_from("<H", raw, 26)[0]
                    return high << 16 | low, at
        raise DamageError(f"ESP: there is no {path}")

    def file(self, path: str) -> tuple[memoryview, int]:
        """Its contents, which lie in a row, and the place of its entry."""
        *folders, last = path.split("/")
        at = self.root
        for name in folders:
            at, _ = self.entry(at, name.encode().ljust(11), path)
        stem, _, extension = last.partition(".")
        first, place = self.entry(at, stem.encode().ljust(8) + extension.encode().ljust(3), path)
        (size,) = struct.unpack_from("<I", self.raw, place + 28)
        clusters = self.chain(first)
        if len(clusters) * self.cluster_bytes < size or clusters != list(range(first, first + len(clusters))):
            raise DamageError(f"ESP: the clusters of {path} do not lie in a row")
        return take(self.raw, self.data + (first - 2) * self.cluster_bytes, size, path), place
