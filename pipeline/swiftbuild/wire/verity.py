"""dm-verity v1 superblock and hash tree, as `veritysetup format` lays them out: SHA-256, blocks of 4096 bytes.

Superblock in the first block, then the levels of the tree, the top one first. A digest is SHA-256(salt ‖ block); 128 of
them fill a block, and the rest of a level's last block is zero. (cryptsetup, docs/on-disk-format; the kernel's
Documentation/admin-guide/device-mapper/verity.rst)
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from uuid import UUID

from swiftbuild.errors import DamageError
from swiftbuild.limits import PAGE
from swiftbuild.wire.view import Buffer, padded, take

SUPERBLOCK = struct.Struct("<8sII16s32sIIQH6s256s168s")
DIGESTS_PER_BLOCK = PAGE // 32
SALT_MAX = 256
assert SUPERBLOCK.size == 512  # noqa: S101


@dataclass(frozen=True)
class Tree:
    """The verity section of a slot, and the root hash that the release header signs."""

    section: bytes
    root: bytes


@dataclass(frozen=True)
class Superblock:
    """What stands in a tree's first block. The root hash does not cover it, so a reader checks each field."""

    uuid: UUID
    data_blocks: int
    salt: bytes


def build(data: Buffer, *, uuid: UUID, salt: bytes) -> Tree:
    """Superblock and tree over `data`, whole blocks of it."""
    if not data or len(data) % PAGE:
        raise ValueError(f"verity covers whole blocks of {PAGE} bytes, not {len(data)}")
    levels, root = _levels(data, salt)
    superblock = SUPERBLOCK.pack(
        b"verity\0\0", 1, 1, uuid.bytes, padded(b"sha256", 32), PAGE, PAGE, len(data) // PAGE, len(salt), bytes(6),
        padded(salt, SALT_MAX), bytes(168),
    )  # fmt: skip
    return Tree(superblock.ljust(PAGE, b"\0") + b"".join(levels), root)


def _levels(data: Buffer, salt: bytes) -> tuple[list[bytes], bytes]:
    """The levels, the top one first, and the root hash. A single block has no level: its digest is the root."""
    salted = hashlib.sha256(salt)

    def digests(blocks: Buffer) -> bytes:
        view, out = memoryview(blocks), []
        for at in range(0, len(view), PAGE):
            state = salted.copy()
            state.update(view[at : at + PAGE])
            out.append(state.digest())
        return b"".join(out)

    levels: list[bytes] = []
    below = digests(data)
    while len(below) > 32:
        level = below.ljust(-(-len(below) // PAGE) * PAGE, b"\0")
        levels.insert(0, level)
        below = digests(level)
    return levels, below


def read_superblock(section: Buffer) -> Superblock:
    """The superblock of a verity section, every field checked."""
    (signature, version, hash_type, uuid, algorithm, data_block, hash_block, data_blocks, salt_size, pad, salt,
     pad2) = SUPERBLOCK.unpack(take(section, 0, SUPERBLOCK.size, "verity superblock"))  # fmt: skip
    if signature != b"verity\0\0" or version != 1 or hash_type != 1:
        raise DamageError("verity superblock: not a dm-verity superblock of version 1, hash type 1")
    if algorithm != padded(b"sha256", 32) or data_block != PAGE or hash_block != PAGE:
        raise DamageError(f"verity superblock: not sha256 over blocks of {PAGE} bytes")
    if salt_size > SALT_MAX or any(pad) or any(pad2) or any(salt[salt_size:]):
        raise DamageError("verity superblock: bytes that must be zero are not")
    return Superblock(UUID(bytes=uuid), data_blocks, salt[:salt_size])


def check(data: Buffer, section: Buffer, root: bytes) -> None:
    """Raises unless the section is the tree of `data` with that root."""
    superblock = read_superblock(section)
    if superblock.data_blocks * PAGE != len(data):
        raise DamageError(f"verity: the tree covers {superblock.data_blocks} blocks, the data has {len(data) / PAGE:g}")
    tree = build(data, uuid=superblock.uuid, salt=superblock.salt)
    if tree.root != root:
        raise DamageError(f"verity: root hash is {tree.root.hex()}, the release header names {root.hex()}")
    if tree.section != bytes(section):
        raise DamageError("verity: the stored tree is not the one that its data gives")
