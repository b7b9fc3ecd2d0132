"""Power cuts of a real run: a machine's disk is recorded while its guest works on /data; every state in which a cut may
leave it is opened, checked and held to what the guest was promised by then. Some are booted.

The recording is one boot on a disk that has grown, with all workloads of `tests/powercuts.py` one after the other.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from swiftbuild.scenarios.session import Person
from swiftbuild.wire.writelog import WriteLog

from tests import powercuts, recordings
from tests.powercuts import WORKLOADS
from tests.system.conftest import BOOT_SECONDS
from tests.system.recorded import (
    Cuts,
    Recording,
    RefusedError,
    State,
    booted,
    cuts_of,
    record,
    states,
    violations,
)

pytestmark = [pytest.mark.system, pytest.mark.powercut_test, pytest.mark.xdist_group("powercut")]
SEED = 1
BOOTED = 2
"""States that a machine is started from, for each way in."""
PROMISES = {"grown": powercuts.GROWN, **{workload.name: workload.promise for workload in WORKLOADS}}


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """What the guest did to its disk."""
    return record(tmp_path_factory.mktemp("recording"))


@pytest.fixture(scope="module")
def swept(recording: Recording, tmp_path_factory: pytest.TempPathFactory) -> tuple[Cuts, dict[str, int], list[State]]:
    """Every state."""
    folder = tmp_path_factory.mktemp("swept")
    cuts = cuts_of(recording.before, recording.log, folder / "log", f"--seed={SEED}")
    counts = cuts.sweep(folder / "states")
    print(f"{counts}")
    return cuts, counts, list(states(folder / "states", recordings.marks(recording.log)))


Swept = tuple[Cuts, dict[str, int], list[State]]


def test_every_state_is_undamaged_and_has_what_was_promised(recording: Recording, swept: Swept) -> None:
    _, counts, found = swept
    print(f"{len(found)} of {counts['states']} states hold something else than others")
    assert counts["marks"] == len(recordings.marks(recording.log)) == powercuts.MARKS
    assert counts["states"] > 10_000
    assert counts["second_cuts"] > 100
    assert list(violations(recording.judges, found))[:10] == []


Lie = Callable[[WriteLog, str], WriteLog]


@pytest.mark.parametrize("lie", [recordings.without_flush, recordings.without_write])
@pytest.mark.parametrize("name", PROMISES)
def test_a_disk_that_lies_is_found_out(recording: Recording, tmp_path: Path, name: str, lie: Lie) -> None:
    """Without one flush, or without a write that a flush had covered, some state breaks a promise or is damaged."""
    log = lie(recording.log, PROMISES[name])
    cuts = cuts_of(recording.before, log, tmp_path / "log", f"--seed={SEED}", f"--first={first(log)}")
    try:
        cuts.sweep(tmp_path / "states")
    except RefusedError as refused:
        print(f"refused: {refused}")
        return
    judges = {name: recording.judges[name]}
    wrong = list(violations(judges, states(tmp_path / "states", recordings.marks(log))))
    print(wrong[:3])
    assert wrong


@pytest.mark.parametrize("kept", [(0, 2), (1, 2)], ids=["without the flush between", "without the backup"])
def test_a_partition_table_that_a_lie_breaks_is_found_out(
    recording: Recording, tmp_path: Path, kept: tuple[int, ...]
) -> None:
    """Its backup, a flush, its primary: the first requests of a disk that has grown."""
    requests = recording.log.requests
    assert [request.is_flush for request in requests[:4]] == [False, True, False, True]
    log = replace(recording.log, requests=tuple(requests[at] for at in kept))
    cuts = cuts_of(recording.before, log, tmp_path / "log", f"--seed={SEED}")
    with pytest.raises(RefusedError, match="no partition table"):
        cuts.sweep(tmp_path / "states")


def first(log: WriteLog) -> int:
    """Events up to the last flush but one: what comes before was tried without the lie."""
    flushes = [at for at, request in enumerate(log.requests) if request.is_flush]
    return recordings.events_before(log, flushes[-2] if len(flushes) > 1 else 0)


@pytest.mark.parametrize("number", range(BOOTED))
def test_a_state_boots_and_the_guest_finds_all_of_it(
    recording: Recording, swept: Swept, tmp_path: Path, number: int
) -> None:
    """One from the time when the databases were written: by then there is something of every workload."""
    cuts, _, found = swept
    late = [state for state in found if state.seen.last("delete done") >= (powercuts.COMMITS if number else 1)
            and state.seen.last("wal done") >= number]  # fmt: skip
    state = random.Random(SEED + number).choice(late)  # noqa: S311 - no secret
    disk = cuts.leave(state.number, tmp_path / "state.img")
    with booted(disk, tmp_path / "boot") as (running, person):
        same_files(person, state)
        databases(person, state)
        person.output("echo new >/data/new && sync && rm /data/new")
        person.console.send("poweroff\n")
        assert running.ended(seconds=BOOT_SECONDS) == "guest-shutdown"
        assert [event.line() for event in running.console.events if event.name == "data.error"] == []


def same_files(person: Person, state: State) -> None:
    """What the guest finds is what the host found, but for databases, which recover themselves."""
    paths = [path for path, contents in state.seen.files.items() if contents is not None and "/sql/" not in path]
    sums = person.output("cd /data && find . -type f ! -path './sql/*' -exec md5sum {} +").splitlines()
    assert {line.split()[1]: line.split()[0] for line in sums} == {f".{path}": md5(state, path) for path in paths}


def md5(state: State, path: str) -> str:
    """As md5sum prints it."""
    return hashlib.md5(state.seen.files[path] or b"", usedforsecurity=False).hexdigest()


def databases(person: Person, state: State) -> None:
    """SQLite in the guest finds its databases whole, with what was promised."""
    for mode in powercuts.PRAGMAS:
        begun, done = state.seen.last(f"{mode} begin"), state.seen.last(f"{mode} done")
        if not done:
            continue
        words = "pragma integrity_check; select count(*) from t; select n from c"
        whole, rows, counted = person.output(f"sqlite3 /data/sql/{mode}.db '{words}'").split("\n")
        assert (whole, rows) == ("ok", counted)
        assert done <= int(counted) <= begun


def test_a_state_of_the_growth_boots_by_firmware(recording: Recording, swept: Swept, tmp_path: Path) -> None:
    """The firmware, too, finds its way by the partition table that was being written; the boot does the rest."""
    cuts, _, found = swept
    before = found[0].seen.blocks
    growing = [state for state in found if state.seen.device_blocks > before and state.seen.blocks == before]
    state = random.Random(SEED).choice(growing)  # noqa: S311 - no secret
    disk = cuts.leave(state.number, tmp_path / "state.img")
    with booted(disk, tmp_path / "boot", way="uefi-fdt") as (running, person):
        assert [event.name for event in running.console.events if event.name == "data.grown"] == ["data.grown"]
        same_files(person, state)
        assert int(person.output("df -k /data | tail -n 1 | awk '{ print $2 }'")) > before * 4
        person.console.send("poweroff\n")
        assert running.ended(seconds=BOOT_SECONDS) == "guest-shutdown"
