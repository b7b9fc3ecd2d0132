"""What a disk was asked to write, in order: the log of QEMU's blklogwrites, which is that of Linux's dm-log-writes.

One log sector of superblock, then for each request a log sector of header and, for a write, its data in whole log
sectors; the text of a mark stands behind the header in its sector (Documentation/admin-guide/device-mapper/
log-writes.rst). When QEMU is killed, what the superblock counts is whole.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from swiftbuild.errors import DamageError
from swiftbuild.wire.view import Buffer, take

MAGIC = 0x6A736677736872
SUPERBLOCK = struct.Struct("<QQQI")
HEADER = struct.Struct("<QQQQ")
SECTOR_SIZES = (512, 4096)
FLUSH, FUA, DISCARD, MARK = 1, 2, 4, 8


@dataclass(frozen=True)
class Request:
    """One request. `sector` and `sectors` are in the log's sector size; `data` is a write's, or a mark's text."""

    sector: int
    sectors: int
    flags: int
    data: Buffer

    @property
    def is_flush(self) -> bool:
        """Everything before it was to reach the medium."""
        return bool(self.flags & FLUSH)

    @property
    def is_write(self) -> bool:
        """It carries data."""
        return not self.flags & (DISCARD | MARK) and self.sectors > 0

    @property
    def mark(self) -> str | None:
        """What a mark says; nothing was asked of the disk."""
        return bytes(self.data).decode(errors="replace") if self.flags & MARK else None


@dataclass(frozen=True)
class WriteLog:
    """A log. `sector_size` bytes are a sector."""

    sector_size: int
    requests: tuple[Request, ...]

    @property
    def writes(self) -> int:
        """How many requests wrote."""
        return sum(request.is_write for request in self.requests)

    @property
    def flushes(self) -> int:
        """How many requests flushed."""
        return sum(request.is_flush for request in self.requests)

    @property
    def written(self) -> int:
        """Bytes that were written."""
        return sum(len(request.data) for request in self.requests if request.is_write)


def read(log: Buffer) -> WriteLog:
    """The requests that the superblock counts.

    Raises:
        DamageError: no such log, or one whose requests lie outside it.
    """
    magic, version, count, size = SUPERBLOCK.unpack(take(log, 0, SUPERBLOCK.size, "superblock of the write log"))
    if magic != MAGIC or version != 1:
        raise DamageError(f"no write log: magic {magic:#x}, version {version}; expected {MAGIC:#x}, 1")
    if size not in SECTOR_SIZES:
        raise DamageError(f"write log: sectors of {size} bytes, expected 512 or 4096")
    return WriteLog(size, tuple(_requests(log, count, size)))


def _requests(log: Buffer, count: int, size: int) -> Iterator[Request]:
    at = size
    for index in range(count):
        header = take(log, at, HEADER.size, f"request {index} of the write log")
        sector, sectors, flags, text = HEADER.unpack(header)
        if flags & MARK:
            if text > size - HEADER.size:
                raise DamageError(f"write log: the mark at request {index} is longer than its sector")
            yield Request(sector, sectors, flags, take(log, at + HEADER.size, text, f"mark {index} of the write log"))
            at += size
            continue
        at += size
        length = 0 if flags & DISCARD else sectors * size
        yield Request(sector, sectors, flags, take(log, at, length, f"data of request {index} of the write log"))
        at += length


def encode(log: WriteLog) -> bytes:
    """The bytes of a log."""
    size = log.sector_size
    out = bytearray(SUPERBLOCK.pack(MAGIC, 1, len(log.requests), size).ljust(size, b"\0"))
    for request in log.requests:
        is_mark = bool(request.flags & MARK)
        header = HEADER.pack(request.sector, request.sectors, request.flags, len(request.data) if is_mark else 0)
        out += (header + bytes(request.data) if is_mark else header).ljust(size, b"\0")
        out += b"" if is_mark else bytes(request.data)
    return bytes(out)
