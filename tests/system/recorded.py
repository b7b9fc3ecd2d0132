"""A machine whose disk is recorded while its guest works on /data, and the states in which a power cut may leave it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from swiftbuild.cli.session import Session
from swiftbuild.cli.workshop import workshop
from swiftbuild.digest import derive_uuid
from swiftbuild.limits import MIB, SECTOR
from swiftbuild.machine.media import mapped, overlay, prepare
from swiftbuild.machine.qemu import Machine, machine
from swiftbuild.machine.spec import Media, recorder
from swiftbuild.model.disk import Partition
from swiftbuild.scenarios.session import Person
from swiftbuild.wire import gpt, writelog
from swiftbuild.wire.writelog import WriteLog

from tests import powercuts, recordings
from tests.powercuts import Judge, Seen
from tests.system.conftest import BOOT_SECONDS, ROOT, as_root, image_of, spec

BOARD = spec("qemu", way="direct", cpus=2)
PACKAGES = ("sqlite3",)
LARGER = 128 * MIB
"""So much the disk has grown since the image was written on it: more than one group of blocks."""
WORK_SECONDS = 300.0
VOLUME_BLOCK = 8
"""Sectors."""


@dataclass(frozen=True, repr=False)
class Recording:
    """What was done to a disk."""

    before: Path
    log: WriteLog
    """With marks."""
    judges: Mapping[str, Judge]


@dataclass(frozen=True, repr=False)
class State:
    """A state, and others that hold the same."""

    number: int
    time: int
    """Events before the cut."""
    seen: Seen


class RefusedError(Exception):
    """`datatool cuts` found something wrong."""


def program() -> Path:
    """`datatool`, built when it is not there."""
    with workshop(Session(ROOT, verbosity=-1, environment=dict(os.environ))) as shop:
        return shop.path(shop.run(shop.datatool_plan(), force=False), "datatool", "datatool")[0]


def partition(disk: Path, name: str) -> Partition:
    """A partition by its name."""
    with mapped(disk) as data:
        found = gpt.read(data).named(name)
    assert found
    return found


def larger_disk(folder: Path) -> Path:
    """A disk onto which the image was written, and some files; it is larger than the image."""
    disk, kept = folder / "before.img", folder / "kept"
    subprocess.run(["/usr/bin/cp", "--sparse=always", str(image_of("qemu", *PACKAGES)), str(disk)], check=True)
    kept.mkdir()
    for path, contents in powercuts.KEPT.items():
        (kept / Path(path).name).write_bytes(contents)
    words = [sys.executable, "-m", "swiftbuild", "-q", "data", "cp", str(kept), f"{disk}:/"]
    subprocess.run(words, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT / "pipeline")}, check=True)
    with_marks(disk)
    with disk.open("r+b") as file:
        file.truncate(disk.stat().st_size + LARGER)
    return disk


def with_marks(disk: Path) -> None:
    """Gives the disk a partition of nobody's for what the guest tells: the last MiB of the package store."""
    with mapped(disk) as data:
        table = gpt.read(data)
    store = next(entry for entry in table.partitions if entry.name == "pkgs")
    shorter = store.model_copy(update={"last": store.last - MIB // SECTOR})
    marks = Partition(type=derive_uuid("marks"), guid=derive_uuid("marks of this disk"), first=shorter.last + 1,
                      last=store.last, name="marks")
    kept = tuple(shorter if entry is store else entry for entry in table.partitions)
    changed = table.model_copy(update={"partitions": (*kept, marks)})
    with disk.open("r+b") as file:
        for offset, raw in gpt.encode(changed).items():
            file.seek(offset)
            file.write(raw)


def record(folder: Path, workloads: Sequence[powercuts.Workload] = powercuts.WORKLOADS) -> Recording:
    """Boots on a disk that has grown, and lets the guest do all the work; then QEMU ends at once."""
    disk = larger_disk(folder)
    log = folder / "writes.log"
    log.write_bytes(b"")
    old = partition(disk, "data")
    with booted(disk, folder / "work", log=log) as (running, person):
        person.unpack("/tmp/w", scripts(workloads))
        person.output("echo 0 >/tmp/marks; mark='sh /tmp/w/mark'")
        person.output(f"$mark {powercuts.GROWN}")
        for workload in workloads:
            person.output(f". /tmp/w/{workload.name}.sh", seconds=WORK_SECONDS)
        running.monitor().execute("quit")
        running.process.wait(BOOT_SECONDS)
    told = recordings.marked(writelog.read(log.read_bytes()), partition(disk, "marks"))
    # the last whole MiB before the backup table
    end = (disk.stat().st_size - 33 * SECTOR) // MIB * MIB // SECTOR
    sizes = (old.sectors // VOLUME_BLOCK, (end - old.first) // VOLUME_BLOCK)
    judges = {"grown": powercuts.grown(*sizes), **{workload.name: workload.judge for workload in workloads}}
    return Recording(disk, told, judges)


def scripts(workloads: Iterable[powercuts.Workload]) -> dict[str, bytes]:
    """What the guest runs."""
    files = {"mark": powercuts.MARK, **{f"{mode}.sql": powercuts.sql(mode) for mode in powercuts.PRAGMAS},
             **{f"{workload.name}.sh": workload.script for workload in workloads}}  # fmt: skip
    return {name: text.encode() for name, text in files.items()}


@contextmanager
def booted(
    disk: Path, folder: Path, *, way: str = "direct", log: Path | None = None
) -> Iterator[tuple[Machine, Person]]:
    """root at the prompt of a machine on an overlay over a disk."""
    folder.mkdir()
    print(f"console log: {folder / 'console.log'}")
    board = spec("qemu", way=way, cpus=BOARD.cpus)
    media: Media = prepare(board, image_of("qemu", *PACKAGES), folder)
    media = replace(media, disk=overlay(disk, folder / "over.qcow2"), filters=(recorder(log),) if log else ())
    with machine(board, lambda _: media, folder=folder) as running:
        yield running, as_root(running)


@dataclass(frozen=True)
class Cuts:
    """Calls of `datatool` for one log. `options` are the same in each, so that numbers of states are."""

    program: Path
    before: Path
    log: Path
    options: tuple[str, ...]

    def sweep(self, folder: Path) -> dict[str, int]:
        """Tries every cut; what was tried. What the states hold comes into the folder."""
        folder.mkdir()
        counts: dict[str, int] = json.loads(self._run("cuts", self.before, f"--to={folder}"))
        return counts

    def leave(self, number: int, disk: Path) -> Path:
        """The disk in one of the states."""
        subprocess.run(["/usr/bin/cp", "--sparse=always", str(self.before), str(disk)], check=True)
        self._run("leave", disk, f"--state={number}")
        return disk

    def _run(self, command: str, disk: Path, *words: str) -> str:
        whole = [str(self.program), command, str(disk), str(self.log), "--disk", *self.options, *words]
        done = subprocess.run(whole, capture_output=True, text=True, check=False)
        if done.returncode == 1:
            raise RefusedError(done.stderr.strip())
        assert done.returncode == 0, f"$ {' '.join(whole)}\n{done.stdout}{done.stderr}"
        return done.stdout


def cuts_of(before: Path, log: WriteLog, folder: Path, *options: str) -> Cuts:
    """For a log, which is written into a folder."""
    folder.mkdir()
    (folder / "writes.log").write_bytes(writelog.encode(log))
    return Cuts(program(), before, folder / "writes.log", options)


def states(folder: Path, marks: Sequence[str]) -> Iterator[State]:
    """What a sweep left in a folder."""
    blocks = (folder / "blocks").read_bytes()
    known: dict[tuple[int, tuple[int, ...]], bytes] = {}

    def contents(size: int, numbers: tuple[int, ...]) -> bytes:
        key = (size, numbers)
        if key not in known:
            known[key] = b"".join(blocks[number * 4096 : (number + 1) * 4096] for number in numbers)[:size]
        return known[key]

    with (folder / "states").open() as lines:
        for line in lines:
            found: dict[str, Any] = json.loads(line)
            files = {path: contents(file["size"], tuple(file["blocks"])) if file else None
                     for path, file in found["files"].items()}  # fmt: skip
            seen = Seen(marks[: found["marks"]], files, found["device_blocks"], found["blocks"])
            yield State(found["number"], found["time"], seen)


def violations(judges: Mapping[str, Judge], found: Iterable[State]) -> Iterator[str]:
    """All that the judges say."""
    for state in found:
        for name, judge in judges.items():
            if wrong := judge(state.seen):
                yield f"state {state.number}, after {state.time} events, {name}: {wrong}"
