"""Recordings of a disk as a power cut may find them: who told what between which requests, and recordings of disks
that lie.

A guest tells by a write to a partition that nobody uses, which it does not flush: so what it tells stands in the disk's
own order, and changes nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from swiftbuild.limits import SECTOR
from swiftbuild.model.disk import Partition
from swiftbuild.wire import writelog
from swiftbuild.wire.writelog import Request, WriteLog

WORD = b"mark "
"""What the guest tells begins with it."""


def marked(log: WriteLog, place: Partition) -> WriteLog:
    """The log with marks where something was told in this partition, of which nothing else is left."""
    assert log.sector_size == SECTOR
    return replace(log, requests=tuple(_marked(log.requests, place)))


def _marked(requests: Iterable[Request], place: Partition) -> Iterable[Request]:
    for request in requests:
        if not request.is_write or not place.first <= request.sector <= place.last:
            yield request
            continue
        text = bytes(request.data).split(b"\n", 1)[0]
        assert text.startswith(WORD), f"a write to {place.name} that tells nothing: {text[:80]!r}"
        yield Request(0, 0, writelog.MARK, text.removeprefix(WORD))


def marks(log: WriteLog) -> list[str]:
    """What was told, in order."""
    return [request.mark for request in log.requests if request.mark is not None]


def place_of(log: WriteLog, mark: str) -> int:
    """The request that is this mark."""
    return next(at for at, request in enumerate(log.requests) if request.mark == mark)


def last_before(log: WriteLog, at: int, flags: int) -> int:
    """The last flush (`FLUSH`), or write (0), before a request."""
    wanted = [number for number, request in enumerate(log.requests[:at])
              if (request.is_flush if flags else request.is_write)]
    return wanted[-1]


def without_flush(log: WriteLog, mark: str) -> WriteLog:
    """The log up to a mark, as if the flush before that had not been: whoever told it was promised too much."""
    at = place_of(log, mark)
    flush = last_before(log, at, writelog.FLUSH)
    return replace(log, requests=(*log.requests[:flush], *log.requests[flush + 1 : at + 1]))


def without_write(log: WriteLog, mark: str) -> WriteLog:
    """The log up to a mark, with a disk that lost the last write before the flush that came last before it."""
    at = place_of(log, mark)
    write = last_before(log, last_before(log, at, writelog.FLUSH), 0)
    return replace(log, requests=(*log.requests[:write], *log.requests[write + 1 : at + 1]))


def events_before(log: WriteLog, at: int) -> int:
    """Events, as `datatool cuts` counts them, before a request: flushes, and blocks of writes."""
    return sum(_events(request) for request in log.requests[:at])


def _events(request: Request) -> int:
    if not request.is_write:
        return int(request.is_flush)
    end = request.sector + request.sectors
    return -(-end // 8) - request.sector // 8 + int(request.is_flush)
