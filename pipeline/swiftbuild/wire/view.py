"""Bounded access to bytes from outside: a slice that would fall short is damage, never a shorter slice."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pydantic import ValidationError

from swiftbuild.errors import DamageError

Buffer = bytes | bytearray | memoryview
T = TypeVar("T")


def take(buffer: Buffer, offset: int, length: int, what: str) -> memoryview:
    """`length` bytes at `offset`; `what` names them in the error."""
    if offset < 0 or length < 0 or offset + length > len(buffer):
        raise DamageError(f"{what}: bytes {offset}..{offset + length} lie outside the {len(buffer)} there are")
    return memoryview(buffer)[offset : offset + length]


def align(value: int, unit: int) -> int:
    """The next multiple of `unit`."""
    return -(-value // unit) * unit


def padded(text: bytes, length: int) -> bytes:
    """NUL-padded; `struct` alone would cut what is too long in silence."""
    if len(text) > length:
        raise ValueError(f"{text!r} is longer than {length} bytes")
    return text.ljust(length, b"\0")


def unpadded(raw: Buffer, what: str, encoding: str = "ascii") -> str:
    """The text of a NUL-padded field; bytes after the first NUL are damage."""
    text, _, rest = bytes(raw).partition(b"\0")
    if rest.strip(b"\0"):
        raise DamageError(f"{what}: bytes after the NUL")
    try:
        return text.decode(encoding)
    except UnicodeDecodeError as error:
        raise DamageError(f"{what}: not {encoding}: {text!r}") from error


def zero(raw: Buffer) -> bool:
    """Every byte is 0."""
    return bytes(raw) == bytes(len(raw))


def record(what: str, make: Callable[[], T]) -> T:
    """Makes a record from decoded fields; one that refuses its fields is damage of the bytes they came from."""
    try:
        return make()
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise DamageError(f"{what}: {field}: {first['msg']}, found {first['input']!r}") from error
