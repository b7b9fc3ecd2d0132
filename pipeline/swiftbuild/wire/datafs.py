"""What the host itself reads and changes of a data volume: the features in its superblock (docs/formats/datafs.md).
All else of a volume is the business of the kernel's own crate (`swiftbuild data`)."""

from __future__ import annotations

import struct
from enum import IntEnum

from swiftbuild.errors import DamageError
from swiftbuild.limits import PAGE
from swiftbuild.wire.erofs import crc32c
from swiftbuild.wire.view import Buffer, take

MAGIC = b"SWDATAFS"
CHECKSUM, CHECKED = 8, 12
COPIES = 2


class Feature(IntEnum):
    """Offset of a word of feature bits."""

    COMPAT = 24
    RO_COMPAT = 32
    INCOMPAT = 40


def _checksum(block: bytes | bytearray) -> int:
    """CRC-32C of what a superblock's checksum covers."""
    return crc32c(block[CHECKED:]) ^ 0xFFFF_FFFF


def with_feature(volume: Buffer, feature: Feature, bits: int) -> dict[int, bytes]:
    """Offset → bytes of the superblocks that say so.

    Raises DamageError: a copy is none.
    """
    pieces = {}
    for at in range(0, COPIES * PAGE, PAGE):
        block = bytearray(take(volume, at, PAGE, "superblock"))
        if not block.startswith(MAGIC) or struct.unpack_from("<I", block, CHECKSUM)[0] != _checksum(block):
            raise DamageError(f"superblock at {at}: no magic 'SWDATAFS', or another checksum")
        struct.pack_into("<Q", block, feature, bits)
        struct.pack_into("<I", block, CHECKSUM, _checksum(block))
        pieces[at] = bytes(block)
    return pieces
