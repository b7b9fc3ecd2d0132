"""The boot-control block: which copy counts, what a writer keeps, what is refused."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from swiftbuild.errors import DamageError
from swiftbuild.model.bootctl import BootControl, SlotEntry
from swiftbuild.wire import bootctl

BLOCK = BootControl(
    sequence=9,
    rollback_floor=2,
    last_booted=0,
    slots=(
        SlotEntry(priority=15, successful=1, rollback_index=3, release_digest=b"d" * 32, version="0.1.0"),
        SlotEntry(tries=3, bad=1, reason_code=2, reason="verität", reason_time=77),
    ),
    failed_releases=(b"f" * 32, bytes(32), bytes(32), bytes(32)),
)


def partition(first: BootControl, second: BootControl) -> bytearray:
    """A partition with those copies."""
    out = bytearray(1 << 20)
    out[:4096] = bootctl.encode(first)
    out[65536 : 65536 + 4096] = bootctl.encode(second)
    return out


def sealed(raw: bytearray) -> bytes:
    """The copy with its digest made right again."""
    raw[4064:] = hashlib.sha256(raw[:4064]).digest()
    return bytes(raw)


def test_round_trip() -> None:
    assert bootctl.decode(bootctl.encode(BLOCK)) == BLOCK


def test_a_writer_keeps_what_it_does_not_know() -> None:
    newer = bytearray(bootctl.encode(BLOCK))
    for at in (68, 90, 96 + 6, 96 + 82, 96 + 200, 740, 4000):
        newer[at] = 0x5A
    newer[12:16] = (800).to_bytes(4, "little")
    written = bootctl.encode(BLOCK.model_copy(update={"sequence": 10}), keep=sealed(newer))
    assert bootctl.decode(written).sequence == 10
    assert [written[at] for at in (68, 90, 102, 178, 296, 740, 4000)] == [0x5A] * 7
    assert int.from_bytes(written[12:16], "little") == 800


@pytest.mark.parametrize(("one", "two", "wanted"), [(1, 2, 1), (2, 1, 0), (4, 4, 0)])
def test_the_larger_sequence_counts(one: int, two: int, wanted: int) -> None:
    copies = partition(BLOCK.model_copy(update={"sequence": one}), BLOCK.model_copy(update={"sequence": two}))
    assert bootctl.current(copies)[0] == wanted


def test_the_other_copy_counts_when_one_is_damaged() -> None:
    copies = partition(BLOCK, BLOCK.model_copy(update={"sequence": 10}))
    copies[65536 + 2000] ^= 1
    assert bootctl.current(copies) == (0, BLOCK)
    copies[3] ^= 1
    with pytest.raises(DamageError, match="neither"):
        bootctl.current(copies)


@given(st.integers(0, 4095), st.integers(1, 255))
def test_every_changed_byte_makes_a_copy_invalid(at: int, change: int) -> None:
    raw = bytearray(bootctl.encode(BLOCK))
    raw[at] ^= change
    with pytest.raises(DamageError):
        bootctl.decode(raw)


@pytest.mark.parametrize(("at", "value"), [(8, b"\2\0"), (12, (4065).to_bytes(4, "little"))])
def test_refused_though_its_digest_is_right(at: int, value: bytes) -> None:
    raw = bytearray(bootctl.encode(BLOCK))
    raw[at : at + len(value)] = value
    with pytest.raises(DamageError):
        bootctl.decode(sealed(raw))


def test_a_write_goes_to_the_other_place_and_keeps_what_it_does_not_know() -> None:
    newer = bytearray(bootctl.encode(BLOCK))
    newer[780] = 0x5A
    raw = partition(BLOCK, BLOCK.model_copy(update={"sequence": 8}))
    raw[:4096] = sealed(newer)
    changed = BLOCK.model_copy(update={"rollback_floor": 3})
    at, copy = bootctl.following(raw, changed)
    assert (at, copy[780]) == (65536, 0x5A)
    raw[at : at + len(copy)] = copy
    assert bootctl.current(raw) == (1, changed.model_copy(update={"sequence": 10}))
    raw[at] ^= 1  # damaged: it is the one that is written over
    assert bootctl.following(raw, changed)[0] == 65536


def test_no_write_when_nothing_counts_or_no_sequence_is_left() -> None:
    last = BLOCK.model_copy(update={"sequence": bootctl.SEQUENCE_MAX})
    with pytest.raises(DamageError, match="at its end"):
        bootctl.following(partition(last, BLOCK), BLOCK)
    with pytest.raises(DamageError, match="neither"):
        bootctl.following(bytearray(1 << 20), BLOCK)
