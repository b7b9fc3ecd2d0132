"""Keys, signatures and key sets (docs/formats/key-set.md)."""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Annotated

from pydantic import Field

from swiftbuild.model.binary import U16, U32, U64, Bytes32, Record

KEY_BYTES_MAX = 80


class Algorithm(IntEnum):
    """How a key signs."""

    ED25519 = 1
    ECDSA_P256 = 2


class Role(IntEnum):
    """What the keys of a set sign. Root's keys are in no set: they sign it."""

    RELEASE = 1
    PACKAGES = 2
    EVIDENCE = 3


class KeySetFlag(IntFlag):
    """A reader refuses one that it does not know."""

    DEV = 1


class Signature(Record):
    """One signature; an algorithm that a reader does not know is skipped by it."""

    algorithm: U16
    key_id: Bytes32
    signature: bytes


class PublicKey(Record):
    """A public key, and for which roles of a set it may sign; numbers may be such that this version does not know."""

    algorithm: U16
    key_id: Bytes32
    key: Annotated[bytes, Field(min_length=1, max_length=KEY_BYTES_MAX)]
    roles: U32 = 0

    def may(self, role: int) -> bool:
        """It may sign for a role."""
        return bool(self.roles >> role & 1)


class Threshold(Record):
    """How many different keys of a role must sign."""

    role: U32
    keys: U32


class KeySet(Record):
    """The signed bytes of a key set."""

    minor: U16 = 0
    version: Annotated[U64, Field(ge=1)]
    signed_at: U64
    expires: U64 = 0
    flags: U32 = 0
    thresholds: Annotated[tuple[Threshold, ...], Field(min_length=1, max_length=8)]
    keys: Annotated[tuple[PublicKey, ...], Field(min_length=1, max_length=32)]

    def threshold(self, role: Role) -> int:
        """How many keys must sign; 0: the set says nothing of that role."""
        return next((row.keys for row in self.thresholds if row.role == role), 0)

    def of_role(self, role: int) -> tuple[PublicKey, ...]:
        """The keys that may sign for a role."""
        return tuple(key for key in self.keys if key.may(role))


class SignedKeySet(Record):
    """A key set and root's signatures; `digest` is what they sign."""

    key_set: KeySet
    digest: Bytes32
    signatures: Annotated[tuple[Signature, ...], Field(min_length=1, max_length=8)]
