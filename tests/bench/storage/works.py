"""What disks are put to: pieces of work, each with the number of units that it has."""

from __future__ import annotations

from dataclasses import dataclass

COMMITS = 1000
BULK_ROWS = 20_000
FILE_MIB = 16
BLOCKS = 1000
NAMES = 1000


@dataclass(frozen=True)
class Work:
    """`count` units of work by a `workload` command; `prepare` is typed in an earlier boot."""

    name: str
    unit: str
    count: int
    words: str
    prepare: tuple[str, ...] = ()


def _commits(mode: str) -> tuple[str, ...]:
    """A database with a table, and a script that inserts a row a transaction. The script lies on the same disk."""
    line = "INSERT INTO t(a, b) VALUES(%d, hex(randomblob(20)));\\n"
    return (
        f"sqlite3 /data/db 'PRAGMA journal_mode={mode}; CREATE TABLE t(id INTEGER PRIMARY KEY, a INT, b TEXT);'",
        f"i=0; while [ $i -lt {COMMITS} ]; do printf \"{line}\" $i; i=$((i+1)); done > /data/script",
    )


BULK = (
    "CREATE TABLE s(id INTEGER PRIMARY KEY, a INT, b TEXT); BEGIN; "  # noqa: S608 - a constant
    f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<{BULK_ROWS}) "
    "INSERT INTO s(a, b) SELECT (i*7919)%10007, hex(i*i) FROM n; COMMIT; "
    "CREATE INDEX sa ON s(a); SELECT count(*), sum(id) FROM s WHERE a BETWEEN 100 AND 5000; "
    "UPDATE s SET b = b || a WHERE id % 3 = 0; DELETE FROM s WHERE id % 5 = 0; VACUUM;"
)
FILE = (f"workload write-sequential /data/file {FILE_MIB} </dev/null",)
WORKS = (
    Work("SQLite, rollback journal", "commit", COMMITS, "run /usr/bin/sqlite3 /data/db '.read /data/script'",
         _commits("delete")),
    Work("SQLite, WAL", "commit", COMMITS, "run /usr/bin/sqlite3 /data/db '.read /data/script'", _commits("wal")),
    Work("SQLite, load, index, update, vacuum", "row", BULK_ROWS,
         "run /usr/bin/sqlite3 /data/bulk '.read /data/bulk.sql'", (f'echo "{BULK}" > /data/bulk.sql',)),
    Work("sequential write, fsync at the end", "4 KiB", FILE_MIB * 256, f"write-sequential /data/fresh {FILE_MIB}"),
    Work("sequential read", "4 KiB", FILE_MIB * 256, "read-sequential /data/file", FILE),
    Work("random overwrite, fdatasync each", "4 KiB", BLOCKS, f"write-random /data/file {BLOCKS} 1", FILE),
    Work("random read", "4 KiB", BLOCKS, f"read-random /data/file {BLOCKS}", FILE),
    Work("create, rename, remove files", "file", NAMES, f"names /data {NAMES}"),
)
