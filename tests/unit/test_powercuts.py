"""What is asked of a power cut's states: recordings with marks, disks that lie, and judges that say no."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from uuid import UUID

import pytest
from swiftbuild.model.disk import Partition
from swiftbuild.wire.writelog import FLUSH, MARK, Request, WriteLog

from tests import powercuts, recordings
from tests.powercuts import Seen

PLACE = Partition(type=UUID(int=1), guid=UUID(int=2), first=1000, last=1999, name="pkgs")


def write(sector: int, data: bytes) -> Request:
    return Request(sector, len(data) // 512, 0, data)


FLUSHED = Request(0, 0, FLUSH, b"")
LOG = WriteLog(512, (
    write(8, b"a" * 4096), FLUSHED, write(1008, b"mark one 1\n".ljust(4096, b"\0")), write(14, b"b" * 2048),
    write(24, b"c" * 4096), FLUSHED, write(1016, b"mark two 2\n".ljust(4096, b"\0")), write(32, b"d" * 512),
))  # fmt: skip


def test_what_the_guest_told_becomes_marks() -> None:
    log = recordings.marked(LOG, PLACE)
    assert recordings.marks(log) == ["one 1", "two 2"]
    assert [request.flags for request in log.requests] == [0, FLUSH, MARK, 0, 0, FLUSH, MARK, 0]
    with pytest.raises(AssertionError, match="tells nothing"):
        recordings.marked(WriteLog(512, (write(1000, b"x" * 512),)), PLACE)


def test_events_are_counted_as_blocks_of_writes() -> None:
    log = recordings.marked(LOG, PLACE)
    # the write of 4 sectors from 14 on lies in two blocks
    assert [recordings.events_before(log, at) for at in range(9)] == [0, 1, 2, 2, 4, 5, 6, 6, 7]


def test_a_lie_leaves_out_one_thing_and_ends_at_its_mark() -> None:
    log = recordings.marked(LOG, PLACE)
    assert recordings.without_flush(log, "two 2").requests == (*log.requests[:5], log.requests[6])
    assert recordings.without_write(log, "two 2").requests == (*log.requests[:4], *log.requests[5:7])


def seen(files: Mapping[str, bytes | None], marks: Sequence[str], blocks: tuple[int, int] = (9, 9)) -> Seen:
    return Seen(marks, files, *blocks)


def test_growth_is_old_or_new_and_touches_nothing() -> None:
    judge = powercuts.grown(5, 9)
    assert judge(seen(powercuts.KEPT, [], (5, 5))) is None
    assert judge(seen(powercuts.KEPT, [], (9, 5))) is None
    assert judge(seen(powercuts.KEPT, [powercuts.GROWN])) is None
    assert judge(seen(powercuts.KEPT, [powercuts.GROWN], (9, 5))) == "it had grown"
    assert judge(seen(powercuts.KEPT, [], (9, 7))) == "a volume of 7 blocks in 9"
    assert judge(seen({**powercuts.KEPT, "/kept/small": b"kep"}, [])) == "/kept/small is not as it was"


def test_a_replaced_file_is_a_version_that_was_not_promised_away() -> None:
    def wrong(config: bytes | None, new: bytes | None, *marks: str) -> str | None:
        files = {"/replace/config": config, "/replace/config.new": new}
        found = {path: contents for path, contents in files.items() if contents is not None}
        return powercuts.judge_replace(seen(found, [f"replace {mark}" for mark in marks]))

    one, two = powercuts.config(1), powercuts.config(2)
    assert wrong(None, None) is wrong(None, one[:5], "begin 1") is wrong(one, None, "begin 1", "written 1") is None
    assert wrong(one, None, "begin 1", "written 1", "done 1", "begin 2") is None
    assert wrong(two, None, "begin 1", "written 1", "done 1", "begin 2") is None
    assert wrong(None, None, "begin 1", "written 1") == "what was written is lost: 1"
    assert wrong(one, two, "begin 2", "written 2", "done 2") == "config is not one of 2 to 2"
    assert wrong(one[:-1], None, "begin 1", "written 1", "done 1") == "config is not one of 1 to 1"
    assert wrong(None, None, "begin 1", "written 1", "done 1") == "config is not one of 1 to 1"


def test_files_of_a_storm_are_there_while_they_are_promised() -> None:
    def wrong(files: Mapping[str, bytes | None], *marks: str) -> str | None:
        return powercuts.judge_storm(seen({f"/storm/{name}": found for name, found in files.items()},
                                          [f"storm {mark}" for mark in marks]))  # fmt: skip

    one, two = powercuts.storm(1), powercuts.storm(2)
    assert wrong({}) is wrong({"1": None, "1/3": one["1/3"][:100]}, "make 1") is wrong(one, "make 1", "made 1") is None
    assert wrong({**dict(list(one.items())[4:]), **two}, "make 2", "made 2", "remove 1") is None
    assert wrong({**one, "1/3": one["1/3"][:100]}, "make 1", "made 1") == "1/3 has other bytes"
    assert wrong(dict(list(one.items())[1:]), "make 1", "made 1") == "1/1 is missing"
    assert wrong({**two, "1": None}, "make 2", "made 2", "remove 1", "removed 1") == "1 should not be there"
    assert wrong(two) is not None


@pytest.mark.parametrize("mode", powercuts.PRAGMAS)
def test_a_database_has_its_commits_and_no_fault(mode: str, tmp_path: Path) -> None:
    judge = powercuts.judge_sql(mode)
    path = tmp_path / f"{mode}.db"
    with sqlite3.connect(path) as database:
        lines = powercuts.sql(mode).splitlines()
        database.executescript("\n".join(line for line in lines if not line.startswith(".")))
    database.close()
    good = path.read_bytes()

    def wrong(contents: bytes, begun: int, done: int) -> str | None:
        return judge(seen({f"/sql/{mode}.db": contents}, [f"{mode} begin {begun}", f"{mode} done {done}"]))

    with sqlite3.connect(path) as database:
        [[count]] = database.execute("SELECT n FROM c")
    database.close()
    assert count == powercuts.COMMITS
    assert wrong(good, count, count) is wrong(good, count + 1, count) is None
    assert wrong(good, count + 2, count + 1) == f"{count} transactions, promised {count + 1}, begun {count + 2}"
    assert wrong(good, count - 1, count - 1) is not None
    flipped = bytearray(good)
    place = good.rindex(powercuts.row(1).encode())
    flipped[place + 50] ^= 1
    assert wrong(bytes(flipped), count, count) is not None
    assert wrong(good[:-4096], count, count) is not None
    assert judge(seen({}, [f"{mode} begin 1"])) == "there is no database"
    assert wrong(b"", 1, 1) == "there are no tables"


def test_every_workload_makes_the_mark_that_its_promise_is() -> None:
    names = [workload.name for workload in powercuts.WORKLOADS]
    assert len(set(names)) == len(names) == 4
    for workload in powercuts.WORKLOADS:
        words, _, number = workload.promise.rpartition(" ")
        assert words.partition(" ")[0] == workload.name and int(number) > 0
