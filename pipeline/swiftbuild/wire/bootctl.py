"""The boot-control block: two copies, written alternately (docs/formats/bootctl.md)."""

from __future__ import annotations

import hashlib
import struct

from swiftbuild.errors import DamageError
from swiftbuild.model.bootctl import NO_DIGEST, BootControl, LoaderTrial, SlotEntry
from swiftbuild.wire.view import Buffer, padded, record, take

COPY_SIZE = 4096
COPY_OFFSETS = (0, 65536)
LENGTH = 776
DIGEST_AT = 4064
SEQUENCE_MAX = (1 << 64) - 1
HEAD = struct.Struct("<8sHHIQQQ8IQB15s")
SLOT = struct.Struct("<5B3sQ32s32sH2sIQ96s64s")
LOADER = struct.Struct("<32sII")
TRIES_AT, LOADER_AT = 52, 736
"""A shorter block, of before there were loaders on trial, has something else there."""
assert HEAD.size == 96 and SLOT.size == 256  # noqa: S101


def encode(block: BootControl, keep: Buffer | None = None) -> bytes:
    """One copy. `keep` is the copy that it follows: what this version does not know is taken over from it."""
    out = bytearray(take(keep, 0, COPY_SIZE, "previous copy")) if keep is not None else bytearray(COPY_SIZE)
    before, tries = struct.unpack_from("<I", out, 12)[0], struct.unpack_from("<I", out, TRIES_AT)[0]
    # Without a loader on trial, before and now, what stands there is left alone: the block may be shorter.
    leave = keep is not None and block.loader_trial is None and _loader_trial(out) is None
    length = before if leave else max(LENGTH, before)
    trial = block.loader_trial or LoaderTrial(digest=NO_DIGEST, length=0, security=0, tries=0)
    HEAD.pack_into(
        out, 0, b"SWIFTBCT", 1, block.minor, length, block.sequence, block.rollback_floor, block.newest_signed_at,
        block.key_set_floor, block.key_set_seen, block.loader_floor,
        tries if leave else trial.tries,
        block.tuf_root, block.tuf_timestamp, block.tuf_snapshot, struct.unpack_from("<I", out, 68)[0],
        block.flags, block.last_booted, bytes(out[81:96]),
    )  # fmt: skip
    for index, slot in enumerate(block.slots):
        at = HEAD.size + index * SLOT.size
        old = SLOT.unpack_from(out, at)
        SLOT.pack_into(
            out, at, slot.priority, slot.tries, slot.successful, slot.bad, slot.unfinished_boots, old[5],
            slot.rollback_index, slot.release_digest, padded(slot.version.encode(), 32), slot.reason_code, old[10],
            slot.key_set, slot.reason_time, padded(slot.reason.encode(), 96), old[14],
        )  # fmt: skip
    out[608:LOADER_AT] = b"".join(block.failed_releases)
    if not leave:
        LOADER.pack_into(out, LOADER_AT, trial.digest, trial.length, trial.security)
    out[DIGEST_AT:] = hashlib.sha256(out[:DIGEST_AT]).digest()
    return bytes(out)


def decode(raw: Buffer) -> BootControl:
    """One copy, when it is valid."""
    raw = take(raw, 0, COPY_SIZE, "boot-control copy")
    (magic, major, minor, length, sequence, floor, signed_at, key_floor, key_seen, loader_floor, _,
     tuf_root, tuf_timestamp, tuf_snapshot, _, flags, last_booted, _) = HEAD.unpack_from(raw)  # fmt: skip
    if magic != b"SWIFTBCT":
        raise DamageError("boot-control copy: it does not start with 'SWIFTBCT'")
    if major != 1:
        raise DamageError(f"boot-control copy: major version {major}, supported: 1")
    if length > DIGEST_AT:
        raise DamageError(f"boot-control copy: length {length}, at most {DIGEST_AT}")
    if hashlib.sha256(raw[:DIGEST_AT]).digest() != raw[DIGEST_AT:]:
        raise DamageError("boot-control copy: its digest is wrong")
    failed = [bytes(raw[at : at + 32]) for at in range(608, LOADER_AT, 32)]
    return record(
        "boot-control copy",
        lambda: BootControl(
            minor=minor,
            sequence=sequence,
            rollback_floor=floor,
            newest_signed_at=signed_at,
            key_set_floor=key_floor,
            key_set_seen=key_seen,
            loader_floor=loader_floor,
            loader_trial=_loader_trial(raw),
            tuf_root=tuf_root,
            tuf_timestamp=tuf_timestamp,
            tuf_snapshot=tuf_snapshot,
            flags=flags,
            last_booted=last_booted,
            slots=(_slot(raw, 0), _slot(raw, 1)),
            failed_releases=(failed[0], failed[1], failed[2], failed[3]),
        ),
    )


def _loader_trial(raw: Buffer) -> LoaderTrial | None:
    (in_use,), (tries,) = struct.unpack_from("<I", raw, 12), struct.unpack_from("<I", raw, TRIES_AT)
    digest, length, security = LOADER.unpack_from(raw, LOADER_AT)
    if in_use < LENGTH or not length:
        return None
    return LoaderTrial(digest=digest, length=length, security=security, tries=tries)


def _slot(raw: Buffer, index: int) -> SlotEntry:
    (priority, tries, successful, bad, unfinished, _, rollback_index, digest, version, reason_code, _, key_set,
     reason_time, reason, _) = SLOT.unpack_from(raw, HEAD.size + index * SLOT.size)  # fmt: skip
    return SlotEntry(
        priority=priority,
        tries=tries,
        successful=successful,
        bad=bad,
        unfinished_boots=unfinished,
        rollback_index=rollback_index,
        release_digest=digest,
        version=_text(version),
        reason_code=reason_code,
        key_set=key_set,
        reason_time=reason_time,
        reason=_text(reason),
    )


def _text(raw: bytes) -> str:
    """Only for people: a copy whose digest is right is valid whatever stands here."""
    return raw.split(b"\0", 1)[0].decode("utf-8", "replace")


def read_copies(partition: Buffer) -> list[BootControl | DamageError]:
    """Both copies of a partition, each as a block or as what is wrong with it."""
    found: list[BootControl | DamageError] = []
    for offset in COPY_OFFSETS:
        try:
            found.append(decode(take(partition, offset, COPY_SIZE, "boot-control copy")))
        except DamageError as error:
            found.append(error)
    return found


def current(partition: Buffer) -> tuple[int, BootControl]:
    """The copy that counts: the larger sequence, copy 0 when they are equal."""
    valid = [(index, copy) for index, copy in enumerate(read_copies(partition)) if isinstance(copy, BootControl)]
    if not valid:
        raise DamageError("boot control: neither copy is valid")
    return max(valid, key=lambda pair: (pair[1].sequence, -pair[0]))


def following(partition: Buffer, changed: BootControl) -> tuple[int, bytes]:
    """What a writer writes to make `changed` the block that counts, whatever its sequence: byte offset and copy. It
    goes to the other place, which holds the older or damaged copy, and keeps what this version does not know.

    Raises DamageError: neither copy is valid, or the sequence is at its end.
    """
    index, block = current(partition)
    if block.sequence == SEQUENCE_MAX:
        raise DamageError("boot control: its sequence number is at its end")
    kept = take(partition, COPY_OFFSETS[index], COPY_SIZE, "boot-control copy")
    copy = encode(changed.model_copy(update={"sequence": block.sequence + 1}), keep=kept)
    return COPY_OFFSETS[1 - index], copy


def encode_partition(block: BootControl) -> dict[int, bytes]:
    """A new partition: both copies the same (byte offset → bytes)."""
    copy = encode(block)
    return dict.fromkeys(COPY_OFFSETS, copy)
