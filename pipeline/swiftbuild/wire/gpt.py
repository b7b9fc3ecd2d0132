"""GUID partition tables (UEFI 2.10, section 5.3): 512-byte sectors, 128 entries of 128 bytes, primary and backup.

`encode` writes what sfdisk writes from the same script, byte for byte. `read_header` and `read_entries` say what one
copy holds and what is wrong with it; `read` takes the first copy that is right, the backup when the primary is not.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple
from uuid import UUID

from swiftbuild.errors import DamageError
from swiftbuild.limits import SECTOR
from swiftbuild.model.disk import DiskTable, Partition
from swiftbuild.wire.view import Buffer, take, zero

ENTRY = struct.Struct("<16s16sQQQ72s")
HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
MBR_RECORD = struct.Struct("<B3sB3sII")
ENTRY_COUNT = 128
ARRAY_SECTORS = ENTRY_COUNT * ENTRY.size // SECTOR
FIRST_USABLE = 2 + ARRAY_SECTORS
SECTORS_MIN = FIRST_USABLE + ARRAY_SECTORS + 1
"""Of a disk that has both copies of a table."""
ENTRY_SIZES = (128, 256, 512, 1024, 2048, 4096)
NAME_UNITS = 36
"""UTF-16 code units of a partition's name."""


class Fault(NamedTuple):
    """What is wrong, as a name that stays and as a sentence."""

    code: str
    text: str


@dataclass(frozen=True)
class Header:
    """One header as it stands on the disk."""

    signature: bytes
    revision: int
    size: int
    crc: int
    reserved: int
    my_sector: int
    other_sector: int
    first_usable: int
    last_usable: int
    disk_guid: bytes
    array_sector: int
    entry_count: int
    entry_size: int
    array_crc: int


def encode(table: DiskTable) -> dict[int, bytes]:
    """What to write where (byte offset → bytes): protective MBR and primary at 0, backup at the end of the disk."""
    check_placement(table)
    entries = b"".join(_entry(p) for p in table.partitions).ljust(ENTRY_COUNT * ENTRY.size, b"\0")
    last = table.sectors - 1
    backup_array = last - ARRAY_SECTORS
    start = _protective_mbr(table.sectors) + _header(table, 1, last, 2, entries) + entries
    end = entries + _header(table, last, 1, backup_array, entries)
    return {0: start, backup_array * SECTOR: end}


def check_placement(table: DiskTable) -> None:
    """A table that we write has no overlap, nothing outside, no name cut short."""
    last_usable = table.sectors - ARRAY_SECTORS - 2
    if len(table.partitions) > ENTRY_COUNT:
        raise ValueError(f"{len(table.partitions)} partitions, at most {ENTRY_COUNT}")
    free_from = FIRST_USABLE
    for p in sorted(table.partitions, key=lambda p: p.first):
        if p.first < free_from or p.last < p.first or p.last > last_usable:
            raise ValueError(
                f"partition {p.name}: sectors {p.first}..{p.last} do not lie in the free {free_from}..{last_usable}"
            )
        if len(p.name.encode("utf-16-le")) > 2 * NAME_UNITS:
            raise ValueError(f"partition name {p.name!r} is longer than {NAME_UNITS} UTF-16 units")
        free_from = p.last + 1


def _entry(p: Partition) -> bytes:
    name = p.name.encode("utf-16-le").ljust(2 * NAME_UNITS, b"\0")
    return ENTRY.pack(p.type.bytes_le, p.guid.bytes_le, p.first, p.last, p.attributes, name)


def _header(table: DiskTable, mine: int, other: int, array: int, entries: bytes) -> bytes:
    def pack(crc: int) -> bytes:
        return HEADER.pack(
            b"EFI PART", 0x10000, HEADER.size, crc, 0, mine, other, FIRST_USABLE, table.sectors - ARRAY_SECTORS - 2,
            table.guid.bytes_le, array, ENTRY_COUNT, ENTRY.size, zlib.crc32(entries),
        )  # fmt: skip

    return pack(zlib.crc32(pack(0))).ljust(SECTOR, b"\0")


def _protective_mbr(sectors: int) -> bytes:
    """UEFI 2.10, table 5.4: one record of type 0xEE over the whole disk, CHS 0/0/2 to the largest."""
    mbr = bytearray(SECTOR)
    mbr[446:462] = MBR_RECORD.pack(0, b"\0\2\0", 0xEE, b"\xff\xff\xff", 1, min(sectors - 1, 0xFFFF_FFFF))
    mbr[510:512] = b"\x55\xaa"
    return bytes(mbr)


def read_header(disk: Buffer, sector: int, sectors: int) -> tuple[Header, list[Fault]]:
    """The header in that sector of a disk of `sectors`, and what is wrong with it on its own."""
    raw = take(disk, sector * SECTOR, SECTOR, f"GPT header in sector {sector}")
    header = Header(*HEADER.unpack_from(raw))
    if header.signature != b"EFI PART":
        return header, [Fault("signature", "it does not start with 'EFI PART'")]
    if not HEADER.size <= header.size <= SECTOR:
        return header, [Fault("header-size", f"its size is {header.size}, not {HEADER.size}..{SECTOR}")]
    body = bytearray(raw[: header.size])
    body[16:20] = bytes(4)
    faults = []
    if (computed := zlib.crc32(body)) != header.crc:
        faults.append(Fault("header-crc", f"header CRC is {header.crc:#010x}, computed {computed:#010x}"))
    if header.revision != 0x10000:
        faults.append(Fault("revision", f"revision is {header.revision:#x}, not 0x10000"))
    if header.my_sector != sector:
        faults.append(Fault("header-place", f"it says that it lies in sector {header.my_sector}, not {sector}"))
    if not header.first_usable <= header.last_usable < sectors:
        faults.append(Fault("usable-range", f"usable sectors {header.first_usable}..{header.last_usable} of {sectors}"))
    if header.entry_size not in ENTRY_SIZES or not 1 <= header.entry_count <= ENTRY_COUNT:
        shape = f"{header.entry_count} entries of {header.entry_size} bytes"
        faults.append(Fault("array-shape", f"{shape} are not supported"))
        return header, faults
    array_sectors = -(-header.entry_count * header.entry_size // SECTOR)
    if not 2 <= header.array_sector <= sectors - array_sectors:
        where = f"{header.array_sector}..+{array_sectors}"
        faults.append(Fault("array-place", f"its entries in sectors {where} do not lie on the disk"))
    return header, faults


def read_entries(disk: Buffer, header: Header) -> tuple[tuple[Partition, ...], list[Fault]]:
    """The used entries that a header without faults names, and what is wrong with them."""
    raw = take(disk, header.array_sector * SECTOR, header.entry_count * header.entry_size, "partition entries")
    faults = []
    if (computed := zlib.crc32(raw)) != header.array_crc:
        faults.append(Fault("array-crc", f"table CRC is {header.array_crc:#010x}, computed {computed:#010x}"))
    partitions = []
    for index in range(header.entry_count):
        entry = raw[index * header.entry_size :][: ENTRY.size]
        if not zero(entry[:16]):
            partitions.append(_partition(entry))
    return tuple(partitions), faults + _placement_faults(header, partitions)


def _placement_faults(header: Header, partitions: list[Partition]) -> list[Fault]:
    """Partitions outside the usable sectors, and pairs that overlap."""
    faults = []
    for p in partitions:
        if not header.first_usable <= p.first <= p.last <= header.last_usable:
            usable = f"{header.first_usable}..{header.last_usable}"
            text = f"partition {p.name}: sectors {p.first}..{p.last} are out of range {usable}"
            faults.append(Fault("partition-range", text))
    ordered = sorted(partitions, key=lambda p: p.first)
    for before, after in pairwise(ordered):
        if after.first <= before.last:
            text = f"partitions {before.name} and {after.name} overlap in sector {after.first}"
            faults.append(Fault("overlap", text))
    return faults


def _partition(entry: Buffer) -> Partition:
    type_, guid, first, last, attributes, name = ENTRY.unpack(entry)
    return Partition(
        type=UUID(bytes_le=type_),
        guid=UUID(bytes_le=guid),
        first=first,
        last=last,
        attributes=attributes,
        name=name.decode("utf-16-le", "replace").split("\0", 1)[0],
    )


def read(disk: Buffer) -> DiskTable:
    """The table of a disk: the primary's, or the backup's in the last sector when the primary is damaged."""
    sectors = len(disk) // SECTOR
    if sectors < SECTORS_MIN:
        raise DamageError(f"no disk image: {len(disk)} bytes hold no partition table", hint="is this a disk image?")
    faults = []
    for what, sector in (("primary", 1), ("backup", sectors - 1)):
        header, wrong = read_header(disk, sector, sectors)
        partitions: tuple[Partition, ...] = ()
        if not wrong:
            partitions, wrong = read_entries(disk, header)
        if not wrong:
            return DiskTable(guid=UUID(bytes_le=header.disk_guid), sectors=sectors, partitions=partitions)
        faults.append(f"{what}: {wrong[0].text}")
    raise DamageError(f"no partition table that can be used ({'; '.join(faults)})", hint="is this a disk image?")
