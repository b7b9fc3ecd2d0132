"""A FAT32 volume built in one go (Microsoft FAT specification, 1.03): contiguous files, sorted names, fixed times.

It only ever makes a fresh volume; the same input gives the same bytes. Sections in brackets are the specification's.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from swiftbuild.errors import SpaceError
from swiftbuild.limits import SECTOR

RESERVED_SECTORS = 32
CLUSTERS_MIN = 65525
"""Fewer clusters than this make a volume FAT16, whatever its header says. [3.5]"""
FAT_COPIES = 2
ROOT_CLUSTER = 2
END_OF_CHAIN = 0x0FFF_FFFF
ENTRY = struct.Struct("<11sBBBHHHHHHHI")
LONG_ENTRY = struct.Struct("<B10sBBB12sH4s")
SERIAL_PLACES = (67, 6 * SECTOR + 67)
"""Bytes of a volume at which its serial number stands: in the boot sector and in its copy."""
DIRECTORY, ARCHIVE, LONG_NAME, VOLUME_ID = 0x10, 0x20, 0x0F, 0x08
SHORT_ALLOWED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789$%'-_@~`!(){}^#&")
LONG_FORBIDDEN = frozenset('"*/:<>?\\|') | {chr(code) for code in range(32)}

BOOT = struct.Struct("<3s8sHBHBHHBHHHIIIHHIHH12sBBBI11s8s")
assert BOOT.size == 90 and ENTRY.size == LONG_ENTRY.size == 32  # noqa: S101


@dataclass
class Folder:
    """A directory being laid out; the root has no parent."""

    parent: Folder | None = None
    children: dict[str, Folder | bytes] = field(default_factory=dict)
    cluster: int = 0


@dataclass(frozen=True)
class Geometry:
    """Where things lie, in sectors; `clusters` is the count of data clusters."""

    sectors: int
    per_cluster: int
    fat_sectors: int
    clusters: int

    @property
    def cluster_bytes(self) -> int:
        """Bytes of one cluster."""
        return self.per_cluster * SECTOR

    @property
    def data_start(self) -> int:
        """Byte at which cluster 2 begins."""
        return (RESERVED_SECTORS + FAT_COPIES * self.fat_sectors) * SECTOR


def geometry(size: int) -> Geometry:
    """The largest clusters (up to 4 KiB) that still make the volume FAT32."""
    sectors = size // SECTOR
    for per_cluster in (8, 4, 2, 1):
        fat_sectors = 1
        while True:  # the table's size and the count of clusters depend on each other; this only ever grows
            clusters = (sectors - RESERVED_SECTORS - FAT_COPIES * fat_sectors) // per_cluster
            wanted = -(-(clusters + 2) * 4 // SECTOR)
            if wanted <= fat_sectors:
                break
            fat_sectors = wanted
        if clusters >= CLUSTERS_MIN:
            return Geometry(sectors, per_cluster, fat_sectors, clusters)
    raise SpaceError(f"a FAT32 volume of {size} bytes is too small", hint="it needs 34 MiB at least")


def build(
    files: Mapping[str, bytes], *, size: int, serial: int, label: str = "ESP", date: tuple[int, int, int] = (2026, 1, 1)
) -> bytes:
    """The volume's bytes up to the last that is not zero. `files` maps a path with `/` to its contents."""
    geo = geometry(size)
    writer = _Writer(geo, date)
    root = _tree(files)
    writer.place(root)
    data = writer.data(root, label)
    if writer.next_cluster - 2 > geo.clusters:
        needed = (writer.next_cluster - 2) * geo.cluster_bytes
        raise SpaceError(
            f"the files need {needed} bytes of the volume, which has {geo.clusters * geo.cluster_bytes}",
            hint="make the esp partition larger in the profile",
        )
    free = geo.clusters - (writer.next_cluster - 2)
    reserved = _reserved(geo, serial, label, free, writer.next_cluster)
    fat = writer.fat.ljust(geo.fat_sectors * SECTOR, b"\0")
    return reserved + fat * FAT_COPIES + data


def _tree(files: Mapping[str, bytes]) -> Folder:
    root = Folder()
    for path, contents in sorted(files.items()):
        *folders, name = path.split("/")
        here = root
        for part in (*folders, name):
            if not part or part in {".", ".."} or part[-1] in ". " or len(part) > 255 or LONG_FORBIDDEN & set(part):
                raise ValueError(f"{path!r} is not a path that FAT can hold")
        for part in folders:
            if part not in here.children:
                _add(here, part, Folder(here))
            child = here.children[part]
            if not isinstance(child, Folder):
                raise ValueError(f"{path!r}: {part!r} is a file")
            here = child
        _add(here, name, contents)
    return root


def _add(folder: Folder, name: str, child: Folder | bytes) -> None:
    clash = [other for other in folder.children if other.upper() == name.upper()]
    if clash:
        raise ValueError(f"{name!r} and {clash[0]!r} are one name on FAT")
    folder.children[name] = child


def _reserved(geo: Geometry, serial: int, label: str, free: int, next_free: int) -> bytes:
    """Boot sector, FSInfo, and their copies in sectors 6 and 7. [3.1, 5]"""
    boot = BOOT.pack(
        b"\xeb\x58\x90", b"SWIFTOS ", SECTOR, geo.per_cluster, RESERVED_SECTORS, FAT_COPIES, 0, 0, 0xF8, 0, 63, 255, 0,
        geo.sectors, geo.fat_sectors, 0, 0, ROOT_CLUSTER, 1, 6, bytes(12), 0x80, 0, 0x29, serial, _label(label),
        b"FAT32   ",
    ).ljust(510, b"\0") + b"\x55\xaa"  # fmt: skip
    info = struct.pack("<I480sIII12sI", 0x41615252, bytes(480), 0x61417272, free, next_free, bytes(12), 0xAA550000)
    pair = boot + info + bytes(510) + b"\x55\xaa"
    return (pair.ljust(6 * SECTOR, b"\0") + pair).ljust(RESERVED_SECTORS * SECTOR, b"\0")


def _label(label: str) -> bytes:
    raw = label.upper().encode("ascii")
    if len(raw) > 11:
        raise ValueError(f"volume label {label!r} is longer than 11")
    return raw.ljust(11)


class _Writer:
    """Gives out clusters in order and lays the directories out."""

    def __init__(self, geo: Geometry, date: tuple[int, int, int]) -> None:
        year, month, day = date
        self.geo = geo
        self.date = (year - 1980) << 9 | month << 5 | day
        self.fat = bytearray(struct.pack("<II", 0x0FFF_FFF8, END_OF_CHAIN))
        self.next_cluster = ROOT_CLUSTER
        self.files: dict[int, bytes] = {}

    def take(self, length: int) -> int:
        """A chain of clusters in a row; an empty file has none (cluster 0)."""
        count = -(-length // self.geo.cluster_bytes)
        if count == 0:
            return 0
        first = self.next_cluster
        chain = [*range(first + 1, first + count), END_OF_CHAIN]
        self.fat += struct.pack(f"<{count}I", *chain)
        self.next_cluster += count
        return first

    def place(self, folder: Folder) -> None:
        """Clusters of the folder itself, then of what it holds; each folder before its children."""
        folder.cluster = self.take(max(len(self._table(folder, "")), 1))
        for _, child in sorted(folder.children.items()):
            if isinstance(child, Folder):
                self.place(child)

    def data(self, root: Folder, label: str) -> bytes:
        """The data area: directories as placed, then the files."""
        tables: dict[int, bytes] = {}

        def lay(folder: Folder) -> None:
            for _, child in sorted(folder.children.items()):
                if isinstance(child, Folder):
                    lay(child)
            tables[folder.cluster] = self._table(folder, label, write=True)

        lay(root)
        out = bytearray((self.next_cluster - ROOT_CLUSTER) * self.geo.cluster_bytes)
        for cluster, contents in (tables | self.files).items():
            at = (cluster - ROOT_CLUSTER) * self.geo.cluster_bytes
            out[at : at + len(contents)] = contents
        return bytes(out)

    def _table(self, folder: Folder, label: str, *, write: bool = False) -> bytes:
        """A directory's entries. Without `write` no file gets clusters: only the length counts."""
        rows = []
        if folder.parent is None:
            rows.append(self._entry(_label(label), VOLUME_ID, 0, 0))
        else:
            above = folder.parent.cluster if folder.parent.parent else 0  # the root is written as 0 [6.5]
            rows += [self._entry(b".".ljust(11), DIRECTORY, folder.cluster, 0)]
            rows += [self._entry(b"..".ljust(11), DIRECTORY, above, 0)]
        taken: set[bytes] = set()
        for name, child in sorted(folder.children.items()):
            short = _short_name(name, taken)
            taken.add(short)
            rows += _long_entries(name, short)
            if isinstance(child, Folder):
                rows.append(self._entry(short, DIRECTORY, child.cluster, 0))
                continue
            cluster = self.take(len(child)) if write else 0
            if cluster:
                self.files[cluster] = child
            rows.append(self._entry(short, ARCHIVE, cluster, len(child)))
        return b"".join(rows)

    def _entry(self, short: bytes, attributes: int, cluster: int, size: int) -> bytes:
        return ENTRY.pack(
            short, attributes, 0, 0, 0, self.date, self.date, cluster >> 16, 0, self.date, cluster & 0xFFFF, size
        )


def _short_name(name: str, taken: set[bytes]) -> bytes:
    """The 8.3 name: the name itself in capitals when it fits, else a stem with ~N. [7.2]"""
    stem, dot, extension = name.upper().rpartition(".")
    if not dot:
        stem, extension = extension, ""
    exact = stem.encode("ascii", "replace").ljust(8) + extension.encode("ascii", "replace").ljust(3)
    if 1 <= len(stem) <= 8 and len(extension) <= 3 and set(stem + extension) <= SHORT_ALLOWED and exact not in taken:
        return exact
    clean = "".join(c if c in SHORT_ALLOWED else "_" for c in stem if c not in " .") or "_"
    tail = "".join(c if c in SHORT_ALLOWED else "_" for c in extension)[:3].encode().ljust(3)
    for number in range(1, 1_000_000):
        mark = f"~{number}"
        candidate = (clean[: 8 - len(mark)] + mark).encode().ljust(8) + tail
        if candidate not in taken:
            return candidate
    raise ValueError(f"no short name left for {name!r}")


def _long_entries(name: str, short: bytes) -> list[bytes]:
    """The entries that carry the name as written, the last piece first; none when the short name says it all. [7.3]"""
    stem, extension = short[:8].decode().rstrip(), short[8:].decode().rstrip()
    if name == (f"{stem}.{extension}" if extension else stem):
        return []
    checksum = 0
    for byte in short:
        checksum = (((checksum & 1) << 7) + (checksum >> 1) + byte) & 0xFF
    units = name.encode("utf-16-le")
    count = -(-len(units) // 26)
    if len(units) < count * 26:
        units = (units + b"\0\0").ljust(count * 26, b"\xff")
    rows = []
    for index in reversed(range(count)):
        piece = units[index * 26 : index * 26 + 26]
        order = index + 1 | (0x40 if index == count - 1 else 0)
        rows.append(LONG_ENTRY.pack(order, piece[:10], LONG_NAME, 0, checksum, piece[10:22], 0, piece[22:]))
    return rows
