"""The block of root public keys that a loader carries (docs/formats/release-header.md, "Root keys in the loader")."""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterator

from swiftbuild.errors import DamageError
from swiftbuild.model.signing import ROOT_KEYS_MAX, Algorithm, PublicKey, Quorum, Roots
from swiftbuild.wire.keyset import key_id
from swiftbuild.wire.view import Buffer, record, take, zero

MAGIC = b"SWROOTKY"
VERSION = 2
KEY_BYTES = 32
FIXED = struct.Struct("<8sIIIIII")
SIZE = FIXED.size + KEY_BYTES * ROOT_KEYS_MAX
assert SIZE == 288  # noqa: S101


def text(roots: Roots) -> str:
    """What a loader's build is told: `THRESHOLD:KEY,KEY`, and behind a `;` the same of the root before."""
    return ";".join(f"{quorum.threshold}:{','.join(key.key.hex() for key in quorum.keys)}" for quorum in roots.quorums)


def encode(roots: Roots) -> bytes:
    """The block's bytes."""
    keys = roots.keys
    place = {key.key_id: 1 << at for at, key in enumerate(keys)}
    pairs = [number for quorum in roots.quorums
             for number in (quorum.threshold, sum({place[key.key_id] for key in quorum.keys}))]
    head = FIXED.pack(MAGIC, VERSION, len(keys), *(*pairs, 0, 0)[:4])
    return (head + b"".join(key.key for key in keys)).ljust(SIZE, b"\0")


def places(loader: Buffer) -> Iterator[int]:
    """Where a block may stand: the magic on a multiple of 8, with room behind it."""
    raw = bytes(loader)
    at = raw.find(MAGIC)
    while at >= 0:
        if at % 8 == 0 and at + SIZE <= len(raw):
            yield at
        at = raw.find(MAGIC, at + 1)


def find(loader: Buffer) -> Roots:
    """The root keys of a loader's file."""
    found = list(places(loader))
    if len(found) != 1:
        raise DamageError(f"loader: {len(found)} blocks of root keys, expected 1", hint="was it made by swiftbuild?")
    return decode(take(loader, found[0], SIZE, "root keys"))


def decode(raw: Buffer) -> Roots:
    """The keys of one block."""
    magic, version, count, *pairs = FIXED.unpack(take(raw, 0, FIXED.size, "root keys"))
    if magic != MAGIC or version != VERSION:
        raise DamageError(f"root keys: not 'SWROOTKY' version {VERSION}")
    if not 1 <= count <= ROOT_KEYS_MAX:
        raise DamageError(f"root keys: {count} keys, 1 to {ROOT_KEYS_MAX} are allowed")
    rows = take(raw, FIXED.size, KEY_BYTES * ROOT_KEYS_MAX, "root keys")
    if not zero(rows[KEY_BYTES * count :]):
        raise DamageError(f"root keys: bytes behind {count} keys")
    keys = [_key(bytes(rows[at : at + KEY_BYTES])) for at in range(0, KEY_BYTES * count, KEY_BYTES)]
    if len({key.key_id for key in keys}) != count:
        raise DamageError("root keys: a key stands twice")
    quorums = []
    for threshold, members in zip(pairs[::2], pairs[1::2], strict=True):
        if members >> count:
            raise DamageError(f"root keys: members {members:#x} of {count} keys")
        if threshold or members:
            chosen = tuple(key for place, key in enumerate(keys) if members >> place & 1)
            quorums.append(record("root keys", functools.partial(Quorum, threshold=threshold, keys=chosen)))
    return record("root keys", lambda: Roots(quorums=tuple(quorums)))


def _key(raw: bytes) -> PublicKey:
    return PublicKey(algorithm=Algorithm.ED25519, key_id=key_id(Algorithm.ED25519, raw), key=raw)
