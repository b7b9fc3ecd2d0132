"""The log of a disk's writes: every kind of request, and damage."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from swiftbuild.errors import DamageError
from swiftbuild.wire import writelog

SIZE = 512


def log_of(*requests: tuple[int, int, bytes], count: int | None = None) -> bytes:
    """A log of requests (sector, flags, data)."""
    out = struct.pack("<QQQI", writelog.MAGIC, 1, len(requests) if count is None else count, SIZE).ljust(SIZE, b"\0")
    for sector, flags, data in requests:
        out += struct.pack("<QQQQ", sector, len(data) // SIZE, flags, 0).ljust(SIZE, b"\0")
        out += data if not flags & writelog.DISCARD else b""
    return out


SAMPLE = log_of(
    (8, 0, b"a" * 1024), (0, writelog.FLUSH, b""), (40, writelog.DISCARD, b"x" * 512), (9, writelog.FUA, b"b" * 512)
)


def test_requests_in_their_order() -> None:
    log = writelog.read(SAMPLE)
    assert [(r.sector, r.sectors, bytes(r.data[:1])) for r in log.requests] == [
        (8, 2, b"a"),
        (0, 0, b""),
        (40, 1, b""),
        (9, 1, b"b"),
    ]
    assert (log.writes, log.flushes, log.written) == (2, 1, 1536)
    assert log.requests[2].flags == writelog.DISCARD and not log.requests[2].is_write


def test_a_log_that_is_written_is_read() -> None:
    log = writelog.read(SAMPLE)
    told = writelog.Request(0, 0, writelog.MARK, b"told")
    both = writelog.WriteLog(SIZE, (*log.requests[:2], told, *log.requests[2:]))
    found = writelog.read(writelog.encode(both))
    assert [request.mark for request in found.requests] == [None, None, "told", None, None]
    assert writelog.encode(log) == SAMPLE
    assert (found.writes, found.flushes, found.written) == (log.writes, log.flushes, log.written)


def test_a_mark_lies_within_its_sector() -> None:
    log = writelog.WriteLog(SIZE, (writelog.Request(0, 0, writelog.MARK, b"x" * (SIZE - 32)),))
    raw = bytearray(writelog.encode(log))
    assert writelog.read(raw).requests[0].mark == "x" * 480
    raw[SIZE + 24 : SIZE + 26] = b"\xe1\x01"
    with pytest.raises(DamageError, match="longer than its sector"):
        writelog.read(raw)


def test_what_the_superblock_does_not_count_does_not_count() -> None:
    assert len(writelog.read(log_of((8, 0, b"a" * 512), (9, 0, b"b" * 512), count=1)).requests) == 1


@pytest.mark.parametrize("damaged", [b"", SAMPLE[:20], b"\0" * 512, SAMPLE[:-1], log_of(count=1),
                                     SAMPLE[:24] + struct.pack("<I", 1000) + SAMPLE[28:]])  # fmt: skip
def test_damage_is_named(damaged: bytes) -> None:
    with pytest.raises(DamageError):
        writelog.read(damaged)


@given(st.binary(max_size=2000), st.integers(0, 5))
def test_noise_is_damage_or_a_log(noise: bytes, count: int) -> None:
    try:
        log = writelog.read(log_of(count=count) + noise)
    except DamageError:
        return
    assert len(log.requests) == count
