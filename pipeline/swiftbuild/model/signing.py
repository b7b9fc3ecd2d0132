"""Keys, signatures and key sets (docs/formats/key-set.md)."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum, IntFlag
from typing import Annotated

from pydantic import Field, model_validator

from swiftbuild.model.binary import U16, U32, U64, Bytes32, Record

KEY_BYTES_MAX = 80
ROOT_KEYS_MAX = 8
"""Of the present root and the one before, together."""


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


class Quorum(Record):
    """Keys of root that sign together, and how many of them must."""

    threshold: Annotated[U32, Field(ge=1)]
    keys: Annotated[tuple[PublicKey, ...], Field(min_length=1, max_length=ROOT_KEYS_MAX)]

    @model_validator(mode="after")
    def _can_be_met(self) -> Quorum:
        if self.threshold > len({key.key_id for key in self.keys}):
            raise ValueError(f"{self.threshold} of {len(self.keys)} keys must sign")
        return self


class Roots(Record):
    """Who root is: a key set needs one of the quorums whole. The first is the present root; a second stands here while
    root is rotated, and is the one before. Signatures of one and of the other are never added up."""

    quorums: Annotated[tuple[Quorum, ...], Field(min_length=1, max_length=2)]

    @staticmethod
    def of(keys: Sequence[PublicKey], threshold: int = 1) -> Roots:
        """A root that is not being rotated."""
        return Roots(quorums=(Quorum(threshold=threshold, keys=tuple(keys)),))

    @property
    def keys(self) -> tuple[PublicKey, ...]:
        """Each key once."""
        return tuple({key.key_id: key for quorum in self.quorums for key in quorum.keys}.values())

    @model_validator(mode="after")
    def _has_room(self) -> Roots:
        if len(self.keys) > ROOT_KEYS_MAX:
            raise ValueError(f"{len(self.keys)} keys, a loader holds {ROOT_KEYS_MAX}")
        return self


class SignedKeySet(Record):
    """A key set and root's signatures; `digest` is what they sign. Without any it is a draft."""

    key_set: KeySet
    digest: Bytes32
    signatures: Annotated[tuple[Signature, ...], Field(max_length=8)]
