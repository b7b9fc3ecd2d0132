"""The kernel symbols section (docs/formats/release-header.md): sorted offsets and demangled names."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from swiftbuild.errors import DamageError
from swiftbuild.wire.view import Buffer, take

HEADER = struct.Struct("<8sIIII")
ENTRY = struct.Struct("<II")
KERNEL_BASE = 0xFFFF_8000_0000_0000


def encode(symbols: Iterable[tuple[int, str]]) -> bytes:
    """The section for (address, name); what does not lie in the first 4 GiB of the kernel image is left out."""
    inside = sorted({a - KERNEL_BASE: n for a, n in symbols if 0 <= a - KERNEL_BASE < 1 << 32}.items())
    names = bytearray()
    places: dict[str, int] = {}
    entries = []
    for offset, name in inside:
        if name not in places:
            places[name] = len(names)
            names += name.encode() + b"\0"
        entries.append(ENTRY.pack(offset, places[name]))
    return HEADER.pack(b"SWSYMTAB", 1, len(entries), len(names), 0) + b"".join(entries) + names


def decode(section: Buffer) -> list[tuple[int, str]]:
    """(address, name) in ascending order."""
    magic, version, count, names_length, reserved = HEADER.unpack(take(section, 0, HEADER.size, "symbols"))
    if magic != b"SWSYMTAB" or version != 1 or reserved:
        raise DamageError("symbols section: not 'SWSYMTAB' version 1")
    entries = take(section, HEADER.size, count * ENTRY.size, "symbols: entries")
    names = bytes(take(section, HEADER.size + count * ENTRY.size, names_length, "symbols: names"))
    found: list[tuple[int, str]] = []
    for offset, name_at in ENTRY.iter_unpack(entries):
        end = names.find(b"\0", name_at)
        if end < 0:
            raise DamageError(f"symbols section: name at {name_at} has no end")
        if found and KERNEL_BASE + offset <= found[-1][0]:
            raise DamageError(f"symbols section: offset {offset:#x} is not in ascending order")
        found.append((KERNEL_BASE + offset, names[name_at:end].decode("utf-8", "replace")))
    return found
