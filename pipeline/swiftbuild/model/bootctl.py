"""The boot-control block (docs/formats/bootctl.md)."""

from __future__ import annotations

from enum import IntEnum

from swiftbuild.model.binary import U8, U16, U32, U64, Bytes32, Record

NO_DIGEST = bytes(32)


class Reason(IntEnum):
    """Why a slot last failed."""

    NONE = 0
    TRIES_USED_UP = 1
    VERIFICATION = 2
    PANIC = 3
    HEALTH = 4
    HANG = 5
    OPERATOR = 6
    CANNOT_READ = 7
    LOADER = 8


class SlotEntry(Record):
    """What is known of one slot."""

    priority: U8 = 0
    tries: U8 = 0
    successful: U8 = 0
    bad: U8 = 0
    unfinished_boots: U8 = 0
    rollback_index: U64 = 0
    release_digest: Bytes32 = NO_DIGEST
    version: str = ""
    reason_code: U16 = 0
    key_set: U32 = 0
    """Version of the key set that the release carries; 0: not recorded."""
    reason_time: U64 = 0
    reason: str = ""


class LoaderTrial(Record):
    """The loader of the release on trial, in the second loader file."""

    digest: Bytes32
    length: U32
    security: U32
    tries: U32
    """How often it may still be started."""


class BootControl(Record):
    """One block. What this version does not know is kept by the codec, not here."""

    minor: U16 = 0
    sequence: U64 = 1
    rollback_floor: U64 = 0
    newest_signed_at: U64 = 0
    key_set_floor: U32 = 0
    key_set_seen: U32 = 0
    loader_floor: U32 = 0
    loader_trial: LoaderTrial | None = None
    tuf_root: U32 = 0
    tuf_timestamp: U32 = 0
    tuf_snapshot: U32 = 0
    flags: U64 = 0
    last_booted: U8 = 255
    slots: tuple[SlotEntry, SlotEntry]
    failed_releases: tuple[Bytes32, Bytes32, Bytes32, Bytes32] = (NO_DIGEST, NO_DIGEST, NO_DIGEST, NO_DIGEST)
