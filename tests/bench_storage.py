"""Work for a disk, measured on the peer: `python -m tests.bench_storage` prints what Linux with ext4 takes for a unit.

Each piece of work has a boot of its own on a disk that an earlier boot prepared: nothing that it reads is in memory.
Instructions are guest time under -icount less the time that all CPUs idled (/proc/stat: to 10 ms); writes, flushes and
bytes are what QEMU's log of the disk holds from the work's start to its end.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from swiftbuild.cli.progress import reporter
from swiftbuild.cli.workshop import NETWORK_VARIABLES
from swiftbuild.effects.apt import Apt
from swiftbuild.effects.process import Processes
from swiftbuild.effects.project import load_profile
from swiftbuild.machine.qemu import Machine, machine
from swiftbuild.machine.spec import Media, Spec, Way, recorder, spec
from swiftbuild.scenarios.session import Person
from swiftbuild.wire import writelog

from tests import guests, peer
from tests.fakes import ROOT

SECONDS = 1800.0
TOTALS = re.compile(r"workload: done total_ns=(\d+) idle_ns=(\d+)\n")
COMMITS = 1000
BULK_ROWS = 20_000
FILE_MIB = 16
BLOCKS = 1000
NAMES = 1000
DISK_MIB = 256


@dataclass(frozen=True)
class Work:
    """One row of the table: `count` units of work by a `workload` command; `prepare` is typed in the boot before."""

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
    Work("SQLite, bulk load, index, update, vacuum", "row", BULK_ROWS,
         "run /usr/bin/sqlite3 /data/bulk '.read /data/bulk.sql'", (f'echo "{BULK}" > /data/bulk.sql',)),
    Work("sequential write with fsync", "4 KiB", FILE_MIB * 256, f"write-sequential /data/fresh {FILE_MIB}"),
    Work("sequential read", "4 KiB", FILE_MIB * 256, "read-sequential /data/file", FILE),
    Work("random overwrite, fdatasync each", "4 KiB", BLOCKS, f"write-random /data/file {BLOCKS} 1", FILE),
    Work("random read", "4 KiB", BLOCKS, f"read-random /data/file {BLOCKS}", FILE),
    Work("create, rename, remove files", "file", NAMES, f"names /data {NAMES}"),
)


@dataclass(frozen=True)
class Figures:
    """What a unit of work cost."""

    instructions: float
    writes: float
    flushes: float
    bytes: float

    def per(self, count: int) -> Figures:
        """Of one of `count`."""
        return Figures(*(value / count for value in (self.instructions, self.writes, self.flushes, self.bytes)))


class Guest:
    """A system on a disk: how it is started, how a person comes to its shell, and what he types to stop it."""

    def __init__(self, board: Spec, media: Callable[[Path], Media], shell: Callable[[Machine], Person],
                 leave: str) -> None:  # fmt: skip
        self._spec, self._media, self._shell, self._leave = board, media, shell, leave

    @contextmanager
    def boot(self, folder: Path, log: Path | None = None) -> Iterator[Person]:
        """A boot in a folder that keeps its disk for the next one; it ends with an orderly stop."""
        media = self._media(folder)
        if log:
            log.write_bytes(b"")
            media = replace(media, filters=(recorder(log),))
        with machine(self._spec, lambda _: media, folder=folder) as running:
            person = self._shell(running)
            yield person
            running.console.send(self._leave)
            running.ended(seconds=SECONDS)


def measure(guest: Guest, work: Work, folder: Path) -> Figures:
    """One piece of work on a fresh disk."""
    folder.mkdir(parents=True)
    with guest.boot(folder) as person:
        for line in work.prepare:
            person.output(line, seconds=SECONDS)
    log = folder / "writes.log"
    with guest.boot(folder, log) as person:
        console = person.console
        console.send(f"workload {work.words}\n")
        console.expect("workload: ready\n", seconds=SECONDS)
        before = writelog.read(log.read_bytes())
        console.send("\n")
        match = console.expect(TOTALS.pattern, seconds=SECONDS)
        after = writelog.read(log.read_bytes())
        console.send("\n")
        console.expect(r"[#$] $", seconds=SECONDS)
    log.unlink()
    return Figures(int(match[1]) - int(match[2]), after.writes - before.writes, after.flushes - before.flushes,
                   after.written - before.written).per(work.count)


def linux(folder: Path) -> Guest:
    """The peer with the programs that are put to work."""
    runner = Processes(reporter(0))
    network = {name: os.environ[name] for name in NETWORK_VARIABLES if name in os.environ}
    debs = peer.Debs(Apt(ROOT / "build" / "apt", runner, network), runner, folder / "debs")
    guests.assemble("sqlite3", folder / "root")
    files = [path for path in (folder / "root" / "usr").rglob("*") if path.is_file()]
    # the archive of an initramfs has no links here, so libraries lie where the program's header looks for ld.so
    programs = {str(path.relative_to(folder / "root")).replace("usr/lib/", "lib/"): path.read_bytes() for path in files}
    guests.build("workload")
    programs["usr/bin/workload"] = guests.program("workload").read_bytes()
    made = peer.make(folder, debs, programs, disk_mib=DISK_MIB)
    board = replace(spec("qemu", load_profile(ROOT, "qemu").board, way=Way.DIRECT.value, cpus=1), counted=True)

    def shell(running: Machine) -> Person:
        running.console.expect("peer is ready", seconds=SECONDS)
        running.console.expect(r"[#$] $", seconds=SECONDS)
        return Person(running.console)

    return Guest(board, made.media, shell, "umount /data; poweroff -f\n")


def main() -> None:
    """Measures every piece of work and prints a line for each."""
    with tempfile.TemporaryDirectory(prefix="swift-os-bench-") as name:
        guest = linux(Path(name) / "peer")
        print("per unit: instructions, device writes, flushes, bytes written")
        for number, work in enumerate(WORKS):
            cost = measure(guest, work, Path(name) / str(number))
            print(f"{work.name}, a {work.unit}: {cost.instructions:,.0f}, {cost.writes:.4f}, {cost.flushes:.4f}, "
                  f"{cost.bytes:,.0f}", flush=True)


if __name__ == "__main__":
    main()
