"""SHA-256, the one digest of the project, and names derived from it."""

from __future__ import annotations

import hashlib
import uuid
from pathlib import Path


def sha256(data: bytes) -> str:
    """The digest of `data` in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """The digest of a file's bytes in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def derive(*parts: bytes | str) -> bytes:
    """SHA-256 over the parts one after another, as docs/formats/disk.md derives identities."""
    joined = b"".join(part.encode() if isinstance(part, str) else part for part in parts)
    return hashlib.sha256(joined).digest()


def derive_uuid(*parts: bytes | str) -> uuid.UUID:
    """The digest cut to a version 8 UUID (RFC 9562, section 5.8)."""
    raw = bytearray(derive(*parts)[:16])
    raw[6] = (raw[6] & 0x0F) | 0x80
    raw[8] = (raw[8] & 0x3F) | 0x80
    return uuid.UUID(bytes=bytes(raw))
