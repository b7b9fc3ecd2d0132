"""What little is read of a PE file (Microsoft PE format, "Optional Header" and "Section Table")."""

from __future__ import annotations

import struct

from swiftbuild.errors import DamageError
from swiftbuild.wire.view import Buffer, take

SECTION = struct.Struct("<8sIIII16s")
HEADER_BYTES = 24
"""From the signature to the optional header."""


def entry_offset(raw: Buffer) -> int:
    """Where in the file the first instruction stands.

    Raises DamageError: it is no PE file, or its entry point lies in no section.
    """
    (start,) = struct.unpack("<I", take(raw, 0x3C, 4, "PE file"))
    head = take(raw, start, HEADER_BYTES, "PE file")
    if bytes(head[:4]) != b"PE\0\0":
        raise DamageError("PE file: it has no signature 'PE'")
    (sections,) = struct.unpack_from("<H", head, 6)
    (optional,) = struct.unpack_from("<H", head, 20)
    (entry,) = struct.unpack("<I", take(raw, start + HEADER_BYTES + 16, 4, "PE file"))
    table = take(raw, start + HEADER_BYTES + optional, sections * SECTION.size, "PE file's sections")
    for _, _, address, size, place, _ in SECTION.iter_unpack(table):
        if address <= entry < address + size:
            return int(place + entry - address)
    raise DamageError(f"PE file: its entry point {entry:#x} lies in no section")
