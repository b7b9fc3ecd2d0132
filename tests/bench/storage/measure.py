"""Measures work for a disk on both systems.

Each piece of work has a boot of its own, on an overlay of a disk that an earlier boot prepared: nothing that it reads
is in memory. One boot counts: under `-icount` a plugin of QEMU adds up the instructions that are executed (an idle CPU
executes none), a filter on the disk records writes and flushes, and QEMU counts the device's reads. Others, without any
of that and the systems in turn, take the time.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from swiftbuild.machine.media import overlay
from swiftbuild.machine.qemu import Machine
from swiftbuild.wire import writelog

from tests.bench.counter import Counter, build
from tests.bench.storage.figures import Compared, Cost, above, section
from tests.bench.storage.guests import DATA_MIB, SECONDS, Guest, linux, ours
from tests.bench.storage.works import WORKS, Work

TOTAL = r"workload: done total_ns=(\d+) "
RUNS = 5
NOTE = """\
A unit of work on /data, and beside it on ext4 of mkfs.ext4's defaults, mounted with defaults, of {peer}: the same
programs, board (1 CPU, direct) and QEMU disk, with {room} MiB for either; "ours / ext4's = ratio". Instructions are
those executed, without idle; writes and flushes are requests at the disk between the work's start and its end. SQLite's
commits are single rows with `synchronous=FULL`. Wall time is the ratio of {runs} pairs of runs in turn: median, least
and greatest. What either writes back by itself comes by the clock: figures within half a percent count as the same.

Below 512 MiB mkfs.ext4 takes blocks of 1 KiB, and records of its journal shrink with them: on 256 MiB it wrote 10,318
bytes a commit in WAL mode (here 12,407) and 28,773 with a rollback journal (here 29,004), and read 69.6 bytes a commit
(here 73.7) and 0.31 a row of the load (here 0.61). Its other figures were not below those here."""


def _work(running: Machine, guest: Guest, work: Work, look: Callable[[], None]) -> int:
    """Does it; looks right before and right after. Gives the nanoseconds that it took."""
    console = guest.shell(running).console
    console.send(f"workload {work.words}\n")
    console.expect("workload: ready\n", seconds=SECONDS)
    look()
    console.send("\n")
    match = console.expect(TOTAL, seconds=SECONDS)
    look()
    return int(match[1])


def _writes(raw: bytes) -> tuple[int, int, int]:
    """Writes, flushes and bytes of a log, which is empty until the first of them."""
    log = writelog.read(raw) if raw else writelog.WriteLog(512, ())
    return log.writes, log.flushes, log.written


def _reads(running: Machine) -> tuple[int, int]:
    """How often the disk was read, and bytes."""
    answer: Any = running.monitor().execute("query-blockstats")
    stats = answer[0]["stats"]
    return stats["rd_operations"], stats["rd_bytes"]


def count(guest: Guest, work: Work, prepared: Path, folder: Path, plugin: Path) -> Cost:
    """What it costs on a disk like the prepared one, which is not changed."""
    folder.mkdir(parents=True)
    log, counter = folder / "writes.log", Counter(plugin, folder)
    log.write_bytes(b"")
    seen: list[tuple[int, ...]] = []
    with guest.boot(folder, overlay(prepared, folder / "disk.qcow2"), log, counter.options) as running:

        def look() -> None:
            now = counter.read()
            seen.append((now.user + now.kernel, now.kernel, *_writes(log.read_bytes()), *_reads(running)))

        _work(running, guest, work, look)
    before, after = seen
    log.unlink()
    return Cost(*(b - a for a, b in zip(before, after, strict=True))).per(work.count)


def timed(guest: Guest, work: Work, prepared: Path, folder: Path) -> float:
    """Seconds that it takes."""
    folder.mkdir(parents=True)
    with guest.boot(folder, overlay(prepared, folder / "disk.qcow2")) as running:
        return _work(running, guest, work, lambda: None) / 1e9


def compare(works: tuple[Work, ...], systems: tuple[Guest, Guest], folder: Path, runs: int) -> list[Compared]:
    """Every piece of work on both."""
    plugin = build(folder)
    disks: dict[tuple[int, tuple[str, ...]], Path] = {}
    results = []
    for number, work in enumerate(works):
        costs: list[Cost] = []
        seconds: tuple[list[float], list[float]] = ([], [])
        for index, guest in enumerate(systems):
            here = folder / f"{number}-{index}"
            if (index, work.prepare) not in disks:
                disks[index, work.prepare] = guest.prepare(here / "prepare", work.prepare)
            costs.append(count(guest, work, disks[index, work.prepare], here / "count", plugin))
        for run in range(runs):
            for index, guest in enumerate(systems):
                here = folder / f"{number}-{index}" / f"run-{run}"
                seconds[index].append(timed(guest, work, disks[index, work.prepare], here))
        results.append(Compared(work, costs[0], costs[1], tuple(seconds[0]), tuple(seconds[1])))
        print(results[-1], flush=True)
    return results


def storage(works: tuple[Work, ...] = WORKS, runs: int = RUNS) -> str:
    """The section of the page."""
    with tempfile.TemporaryDirectory(prefix="swift-os-bench-") as name:
        systems = ours(Path(name) / "ours"), linux(Path(name) / "peer")
        results = compare(works, systems, Path(name), runs)
    note = NOTE.format(peer=systems[1].name, room=DATA_MIB, runs=runs)
    over = above(results)
    note += "\n\n" + ("More than ext4's: " + "; ".join(over) + "." if over else "Nothing is more than ext4's.")
    return section(results, note)
