"""EROFS images, read only: uncompressed files (Linux fs/erofs/erofs_fs.h). The image is not trusted.

Flat, flat with inline tail and chunk-based files; what mkfs.erofs without compression writes.
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

from swiftbuild.errors import DamageError
from swiftbuild.wire.view import Buffer, take

BLOCK = 4096
SUPERBLOCK_AT = 1024
SUPERBLOCK = struct.Struct("<IIIBBHQQIIII16s16sIHHHBBIQB23s")
COMPACT = struct.Struct("<HHHHIIIIHHI")
EXTENDED = struct.Struct("<HHHHQIIIIQII16s")
DIRECTORY_ENTRY = struct.Struct("<QHBB")
MAGIC = 0xE0F5E1E2
FEATURE_CHECKSUM = 1
FEATURE_CHUNKED = 4
FLAT, INLINE, CHUNKED = 0, 2, 4
HOLE = 0xFFFF_FFFF
DEPTH_MAX = 64
ENTRIES_MAX = 100_000
assert SUPERBLOCK.size == 128 and COMPACT.size == 32 and EXTENDED.size == 64  # noqa: S101


@dataclass(frozen=True)
class Node:
    """An inode."""

    nid: int
    mode: int
    uid: int
    gid: int
    size: int
    links: int
    mtime: int
    layout: int
    raw: int
    """Block address, device number or chunk format, by what the inode is."""
    tail: int
    """Byte behind the inode and its extended attributes."""

    @property
    def rdev(self) -> tuple[int, int]:
        """Major and minor of a device (Linux new_encode_dev)."""
        return self.raw >> 8 & 0xFFF, self.raw & 0xFF | self.raw >> 12 & 0xFFF00

    @property
    def rights(self) -> str:
        """As `ls -l` shows them."""
        return stat.filemode(self.mode)


class Erofs:
    """An image."""

    def __init__(self, image: Buffer) -> None:
        self.image = memoryview(image)
        fields = SUPERBLOCK.unpack(take(image, SUPERBLOCK_AT, SUPERBLOCK.size, "EROFS superblock"))
        (magic, checksum, compat, block_bits, _, self.root, self.inodes, self.build_time, _, self.blocks, self._meta, _,
         uuid, _, incompat, *_) = fields  # fmt: skip
        if magic != MAGIC:
            raise DamageError(f"EROFS superblock: magic {magic:#010x}, expected {MAGIC:#010x}")
        if block_bits != 12:
            raise DamageError(f"EROFS superblock: blocks of 2^{block_bits} bytes, supported: {BLOCK}")
        if compat & FEATURE_CHECKSUM and (computed := self._checksum()) != checksum:
            raise DamageError(f"EROFS superblock: checksum {checksum:#010x}, computed {computed:#010x}")
        if unknown := incompat & ~FEATURE_CHUNKED:
            raise DamageError(f"EROFS superblock: features {unknown:#x} are not supported (compression?)")
        if self.blocks * BLOCK > len(self.image):
            raise DamageError(f"EROFS superblock: {self.blocks} blocks, the image has {len(self.image) // BLOCK}")
        self.uuid = UUID(bytes=uuid)

    def _checksum(self) -> int:
        block = bytearray(take(self.image, SUPERBLOCK_AT, BLOCK - SUPERBLOCK_AT, "EROFS superblock"))
        block[4:8] = bytes(4)
        return crc32c(block)

    def node(self, nid: int) -> Node:
        """An inode by its number."""
        what = f"EROFS inode {nid}"
        at = self._meta * BLOCK + nid * COMPACT.size
        form = struct.unpack("<H", take(self.image, at, 2, what))[0]
        if form & 1:
            _, xattrs, mode, _, size, raw, _, uid, gid, mtime, _, links, _ = EXTENDED.unpack(
                take(self.image, at, EXTENDED.size, what)
            )
            end = at + EXTENDED.size
        else:
            _, xattrs, mode, links, size, _, raw, _, uid, gid, _ = COMPACT.unpack(
                take(self.image, at, COMPACT.size, what)
            )
            end, mtime = at + COMPACT.size, self.build_time
        end += 12 + 4 * (xattrs - 1) if xattrs else 0
        layout = form >> 1 & 7
        if layout not in {FLAT, INLINE, CHUNKED}:
            raise DamageError(f"{what}: data layout {layout} is not supported (compressed?)")
        return Node(nid, mode, uid, gid, size, links, mtime, layout, raw, end)

    def contents(self, node: Node) -> bytes:
        """A file's bytes, a link's target, a directory's blocks."""
        what = f"EROFS inode {node.nid}: data"
        if node.size > len(self.image):
            raise DamageError(f"{what}: {node.size} bytes in an image of {len(self.image)}")
        if node.layout == CHUNKED:
            return self._chunks(node, what)
        if node.layout == FLAT:
            return bytes(take(self.image, node.raw * BLOCK, node.size, what))
        inline = node.size % BLOCK
        if node.tail % BLOCK + inline > BLOCK:
            raise DamageError(f"{what}: its inline tail crosses a block")
        head = bytes(take(self.image, node.raw * BLOCK, node.size - inline, what)) if node.size > inline else b""
        return head + bytes(take(self.image, node.tail, inline, what))

    def _chunks(self, node: Node, what: str) -> bytes:
        bits, indexed = node.raw & 31, bool(node.raw & 32)
        size = BLOCK << bits
        width = 8 if indexed else 4
        at = -(-node.tail // width) * width
        parts = []
        for done in range(0, node.size, size):
            entry = take(self.image, at + done // size * width, width, what)
            block = struct.unpack_from("<I", entry, width - 4)[0]
            length = min(size, node.size - done)
            parts.append(bytes(length) if block == HOLE else bytes(take(self.image, block * BLOCK, length, what)))
        return b"".join(parts)

    def entries(self, node: Node) -> list[tuple[str, int]]:
        """(name, inode number) of a directory, without `.` and `..`."""
        what = f"EROFS directory {node.nid}"
        data = self.contents(node)
        found = []
        for start in range(0, len(data), BLOCK):
            block = data[start : start + BLOCK]
            first = DIRECTORY_ENTRY.unpack(take(block, 0, DIRECTORY_ENTRY.size, what))[1]
            count, rest = divmod(first, DIRECTORY_ENTRY.size)
            if rest or not 1 <= count <= len(block) // DIRECTORY_ENTRY.size:
                raise DamageError(f"{what}: first name at {first}")
            rows = [DIRECTORY_ENTRY.unpack_from(block, i * DIRECTORY_ENTRY.size) for i in range(count)]
            ends = [row[1] for row in rows[1:]] + [len(block)]
            for (nid, name_at, _, _), end in zip(rows, ends, strict=True):
                name = bytes(take(block, name_at, end - name_at, what)).split(b"\0", 1)[0]
                if not name or b"/" in name:
                    raise DamageError(f"{what}: name {name!r}")
                if name not in {b".", b".."}:
                    found.append((name.decode("utf-8", "surrogateescape"), nid))
        return found

    def walk(self) -> Iterator[tuple[str, Node]]:
        """Every path from `/` on with its inode, folders before what they hold, names in order."""
        left = ENTRIES_MAX
        stack = [("/", self.root, 0)]
        while stack:
            path, nid, depth = stack.pop()
            node = self.node(nid)
            yield path, node
            left -= 1
            if depth > DEPTH_MAX or not left:
                raise DamageError(f"EROFS: a tree deeper than {DEPTH_MAX} or larger than {ENTRIES_MAX}: {path}")
            if stat.S_ISDIR(node.mode):
                below = [(f"{path.rstrip('/')}/{name}", n, depth + 1) for name, n in sorted(self.entries(node))]
                stack += reversed(below)


def crc32c(data: Buffer) -> int:
    """CRC-32C with seed ~0 and no final inversion, as EROFS uses it."""
    crc = 0xFFFF_FFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc


def _row(value: int) -> int:
    for _ in range(8):
        value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value


_TABLE = [_row(i) for i in range(256)]
