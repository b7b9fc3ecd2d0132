"""Entries of signatures, as a release's signature area and a key set hold them (docs/formats/release-header.md)."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from swiftbuild.errors import DamageError
from swiftbuild.model.signing import Signature
from swiftbuild.wire.view import Buffer, align, padded, take

ENTRY = struct.Struct("<HHI32s")
assert ENTRY.size == 40  # noqa: S101


def encode(signatures: Iterable[Signature]) -> bytes:
    """Entry after entry, each padded to a multiple of 8."""
    return b"".join(
        ENTRY.pack(s.algorithm, 0, len(s.signature), s.key_id) + padded(s.signature, align(len(s.signature), 8))
        for s in signatures
    )


def decode(raw: Buffer, at: int, count: int, what: str) -> tuple[Signature, ...]:
    """`count` entries from byte `at` on; the last one ends where `raw` does."""
    found = []
    for index in range(count):
        entry = f"{what}: signature {index + 1}"
        algorithm, _, size, key_id = ENTRY.unpack(take(raw, at, ENTRY.size, entry))
        value = bytes(take(raw, at + ENTRY.size, size, entry))
        found.append(Signature(algorithm=algorithm, key_id=key_id, signature=value))
        at += ENTRY.size + align(size, 8)
    if at != len(raw):
        raise DamageError(f"{what}: {len(raw)} bytes in use, its entries take {at}")
    return tuple(found)
