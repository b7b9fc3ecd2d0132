"""What programs in a guest do to /data while its disk is recorded, and what a power cut may leave of it.

A program says by `mark` what it was promised, or what it is about to change. `judge` is given the marks before a cut
and the files after it, and says what is wrong. What a program wrote follows from its numbers alone.
"""

from __future__ import annotations

import functools
import sqlite3
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

Files = Mapping[str, bytes | None]
"""Path → bytes; none of a directory."""


@dataclass(frozen=True)
class Seen:
    """A state of the disk."""

    marks: Sequence[str]
    files: Files
    device_blocks: int
    """Of the partition."""
    blocks: int
    """Of the volume."""

    def last(self, words: str) -> int:
        """The highest number that was told with these words."""
        found = [int(mark.rpartition(" ")[2]) for mark in self.marks if mark.rpartition(" ")[0] == words]
        return max(found, default=0)

    def below(self, folder: str) -> dict[str, bytes | None]:
        """What is in a directory, by names."""
        return {path.removeprefix(folder): found for path, found in self.files.items() if path.startswith(folder)}


Judge = Callable[[Seen], str | None]


@dataclass(frozen=True)
class Workload:
    """Something that a guest does. `promise` is one of its marks: what it says hangs on the flush before it."""

    name: str
    script: str
    judge: Judge
    promise: str


MARK = """\
#!/bin/sh
# Tells by a page of a partition that nobody uses. The page is written when another node is opened; nothing flushes.
read -r number </tmp/marks
echo $((number + 1)) >/tmp/marks
echo "mark $*" | dd of=/dev/vda7 bs=4096 seek="$number" conv=notrunc,sync 2>/dev/null
: </dev/disk/by-partlabel/base_b
"""
"""Run by `sh /tmp/w/mark WORDS NUMBER`."""

# --- the disk has become larger

GROWN = "grown 1"
KEPT = {"/kept/empty": b"", "/kept/small": b"kept\n", "/kept/large": bytes(range(256)) * 300}
"""What is on the volume before."""


def grown(before: int, after: int) -> Judge:
    """The volume and its partition grow from so many blocks; nothing that was on it is touched."""

    def judge(seen: Seen) -> str | None:
        wrong = [path for path, contents in KEPT.items() if seen.files.get(path) != contents]
        if wrong:
            return f"{wrong[0]} is not as it was"
        if (seen.device_blocks, seen.blocks) not in {(before, before), (after, before), (after, after)}:
            return f"a volume of {seen.blocks} blocks in {seen.device_blocks}"
        if seen.last("grown") and seen.blocks != after:
            return "it had grown"
        return None

    return judge


# --- a file is replaced

REPLACED = 12


@functools.cache
def config(number: int) -> bytes:
    """Its versions, more than one block each."""
    return b"".join(b"%d\n" % line for line in range(number * 1000, number * 1000 + 1000 + number))


REPLACE = f"""\
mkdir -p /data/replace && cd /data/replace && sync /data
k=1; while [ $k -le {REPLACED} ]; do
    $mark replace begin $k
    seq ${{k}}000 $((k * 1000 + 999 + k)) >config.new && sync config.new
    $mark replace written $k
    mv config.new config && sync .
    $mark replace done $k
    k=$((k + 1))
done
"""


def judge_replace(seen: Seen) -> str | None:
    """The file is one of its versions, whole: none before the last that was promised."""
    begun, written, done = (seen.last(f"replace {what}") for what in ("begin", "written", "done"))
    files = seen.below("/replace/")
    found = files.get("config")
    allowed = [config(number) for number in range(max(done, 1), begun + 1)]
    if found not in (allowed if done else [None, *allowed]):
        return f"config is not one of {done} to {begun}"
    if written == begun > done and config(begun) not in {found, files.get("config.new")}:
        return f"what was written is lost: {begun}"
    return None


# --- files come and go

ROUNDS, STORM_FILES = 8, 10


@functools.cache
def storm(number: int) -> dict[str, bytes]:
    """The files of a round by their names."""
    return {f"{number}/{file}": b"".join(b"%d\n" % line for line in range(1, file * number * 40 + 1))
            for file in range(1, STORM_FILES + 1)}


STORM = f"""\
mkdir -p /data/storm && cd /data/storm
k=1; while [ $k -le {ROUNDS} ]; do
    $mark storm make $k
    mkdir $k; i=1; while [ $i -le {STORM_FILES} ]; do seq $((i * k * 40)) >$k/$i; i=$((i + 1)); done
    sync; $mark storm made $k
    if [ $k -gt 1 ]; then
        $mark storm remove $((k - 1))
        rm -r $((k - 1)) && sync && $mark storm removed $((k - 1))
    fi
    k=$((k + 1))
done
"""


def judge_storm(seen: Seen) -> str | None:
    """A round's files are there from the sync on, until they are about to be removed; then each is or is not."""
    files = seen.below("/storm/")
    making, made, removing, removed = (seen.last(f"storm {what}") for what in ("make", "made", "remove", "removed"))
    known = {str(number) for number in range(removed + 1, making + 1)}
    for name, found in files.items():
        if name.partition("/")[0] not in known:
            return f"{name} should not be there"
        number = int(name.partition("/")[0])
        whole = storm(number).get(name, b"")
        if found is not None and not (found == whole if number <= made else whole.startswith(found)):
            return f"{name} has other bytes"
    for number in range(removing + 1, made + 1):
        if missing := [name for name in storm(number) if name not in files]:
            return f"{missing[0]} is missing"
    return None


# --- databases

COMMITS = 8
BIG = 3000
"""Characters in a row: with its index several pages change in a transaction."""
PRAGMAS = {"delete": "PRAGMA synchronous=EXTRA;", "wal": "PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=8;"}
"""With which a commit that has returned is promised. With FULL a rollback journal may come back after its removal."""


def row(number: int) -> str:
    """The text of a row."""
    return f"{number:06}" * (BIG // 6)


def sql(mode: str) -> str:
    """The script of sqlite3: each transaction adds a row and counts it in another table."""
    lines = [f"PRAGMA journal_mode={mode}; {PRAGMAS[mode]}",
             "BEGIN; CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT UNIQUE); CREATE TABLE c(n INT);",
             "INSERT INTO c VALUES(0); COMMIT;"]  # fmt: skip
    for number in range(1, COMMITS + 1):
        text = f"replace(printf('%{BIG // 6}s', ''), ' ', '{number:06}')"
        lines += [f".system sh /tmp/w/mark {mode} begin {number}",
                  f"BEGIN; INSERT INTO t VALUES({number}, {text}); UPDATE c SET n = {number}; COMMIT;",  # noqa: S608
                  f".system sh /tmp/w/mark {mode} done {number}"]  # fmt: skip
    return "\n".join([*lines, ""])


def judge_sql(mode: str) -> Judge:
    """Each committed row, none that is not whole, and a database without a fault."""
    look = functools.lru_cache(maxsize=None)(_look)

    def judge(seen: Seen) -> str | None:
        begun, done = seen.last(f"{mode} begin"), seen.last(f"{mode} done")
        files = [item for item in seen.below("/sql/").items() if item[0].startswith(f"{mode}.db")]
        if f"{mode}.db" not in dict(files):
            return "there is no database" if begun else None
        return look(tuple(files), mode, begun, done)

    return judge


def _look(files: tuple[tuple[str, bytes | None], ...], mode: str, begun: int, done: int) -> str | None:
    with tempfile.TemporaryDirectory(prefix="powercut-") as folder:
        for name, contents in files:
            Path(folder, name).write_bytes(contents or b"")
        try:
            database = sqlite3.connect(Path(folder, f"{mode}.db"))
            try:
                return _rows(database, begun, done)
            finally:
                database.close()
        except sqlite3.DatabaseError as error:
            return f"{mode}.db: {error}"


def _rows(database: sqlite3.Connection, begun: int, done: int) -> str | None:
    [[found]] = database.execute("PRAGMA integrity_check").fetchall()
    if found != "ok":
        return f"integrity_check: {found}"
    if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'c'").fetchall():
        return "there are no tables" if begun else None
    [[count]] = database.execute("SELECT n FROM c").fetchall()
    rows = database.execute("SELECT id, a FROM t ORDER BY id").fetchall()
    if rows != [(number, row(number)) for number in range(1, count + 1)]:
        return f"{len(rows)} rows, of which {count} were counted"
    return None if done <= count <= begun else f"{count} transactions, promised {done}, begun {begun}"


SQL = "mkdir -p /data/sql && sync /data && cd /data/sql && sqlite3 -batch {mode}.db <{mode}.sql >/dev/null\n".replace(
    "<{mode}", "</tmp/w/{mode}"
)

WORKLOADS = (
    Workload("replace", REPLACE, judge_replace, f"replace done {REPLACED // 2}"),
    Workload("storm", STORM, judge_storm, f"storm removed {ROUNDS // 2}"),
    *(Workload(mode, SQL.format(mode=mode), judge_sql(mode), f"{mode} done {COMMITS // 2}") for mode in PRAGMAS),
)
"""What is done on the volume after it has grown, one after the other."""
MARKS = 1 + 3 * REPLACED + 4 * ROUNDS - 2 + len(PRAGMAS) * 2 * COMMITS
"""That all of it makes."""
