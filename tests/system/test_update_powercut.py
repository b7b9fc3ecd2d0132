"""Every power cut of a recorded install, by the requests that really reached the disk; some of the states are booted.

The model of kernel/bootctl and userland/update tries every order of every step; here is what only the whole system
shows: the pages that the kernel's cache writes, in its order, between the flushes that the device saw.
"""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from swiftbuild.core.slots import choose
from swiftbuild.errors import DamageError
from swiftbuild.limits import MIB, SECTOR
from swiftbuild.machine.media import mapped
from swiftbuild.machine.spec import recorder
from swiftbuild.model.disk import Partition
from swiftbuild.wire import bootctl, gpt, release, writelog
from swiftbuild.wire.writelog import Request, WriteLog

from tests.rust import MANIFEST, cargo
from tests.system.conftest import image_of
from tests.system.updates import Updating, following

pytestmark = [pytest.mark.system, pytest.mark.update_powercut_test, pytest.mark.xdist_group("update-powercut")]
SLOT_BYTES = 16 * MIB
"""Of a slot, as far as these releases go."""
EXHAUSTIVE, SAMPLED, SEED = 6, 24, 6
"""So many requests since a flush are lost in every combination; of more, so many combinations, by this seed."""


@dataclass
class Parts:
    """What of a disk an install changes."""

    control: bytearray
    slot: bytearray

    def copy(self) -> Parts:
        return Parts(bytearray(self.control), bytearray(self.slot))


@dataclass(frozen=True, repr=False)
class Recording:
    """An install, from the prompt to its last word."""

    log: WriteLog
    start: Parts
    control: Partition
    slot: Partition
    old: bytes
    new: bytes
    folder: Path

    def put(self, parts: Parts, request: Request, sectors: int | None = None) -> None:
        """A request, or the first sectors of it, reaches the medium."""
        data = bytes(request.data)[: None if sectors is None else sectors * SECTOR]
        for place, into in ((self.control, parts.control), (self.slot, parts.slot)):
            at = (request.sector - place.first) * SECTOR
            if 0 <= at < len(into):
                into[at : at + len(data)] = data
                return

    def ours(self, request: Request) -> bool:
        return request.is_write and any(
            place.first <= request.sector <= place.last for place in (self.control, self.slot))


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    folder = tmp_path_factory.mktemp("update-powercut")
    new = following("qemu")
    machine = Updating("qemu", folder, new)
    log = folder / "writes.log"
    log.write_bytes(b"")
    machine.media = replace(machine.media, filters=(recorder(log),))
    with machine.running_from("a", "0.1.0") as person:
        person.output(f"update install {machine.path}", seconds=240)
        machine.cut()
    with mapped(image_of("qemu")) as disk:
        table = gpt.read(disk)
        control, slot, running = (table.named(name) for name in ("bootctl", "base_b", "base_a"))
        assert control and slot and running
        start = Parts(bytearray(disk[control.first * SECTOR : (control.last + 1) * SECTOR]),
                      bytearray(disk[slot.first * SECTOR :][:SLOT_BYTES]))
        old = bytes(release.read_slot(disk[running.first * SECTOR : (running.last + 1) * SECTOR]).body)
        told = writelog.read(log.read_bytes())
    assert not any(running.first <= request.sector <= running.last for request in told.requests if request.is_write)
    return Recording(told, start, control, slot, old, new, folder)


def boots(recording: Recording, parts: Parts) -> str:
    """What the loader takes: `old`, `new`; `neither` also when it would have to refuse what the block offers it."""
    try:
        _, block = bootctl.current(parts.control)
    except DamageError:
        return "neither"
    for name in choose(block).order:
        raw, entry = (recording.old, block.slots[0]) if name == "a" else (bytes(parts.slot), block.slots[1])
        if release.release_digest(raw) != entry.release_digest:
            return "neither"
        try:
            release.read_slot(raw)
        except DamageError:
            return "neither"
        wanted = recording.new if name == "b" else recording.old
        return ("new" if name == "b" else "old") if raw[: len(wanted)] == wanted else "neither"
    return "neither"


def cuts(recording: Recording) -> Iterator[tuple[int, Parts]]:
    """States, each with the number of requests before it."""
    chance = random.Random(SEED)  # noqa: S311 - no secret
    stable, pending = recording.start.copy(), list[Request]()
    yield 0, stable
    for number, request in enumerate(recording.log.requests, 1):
        if request.is_flush:
            for each in pending:
                recording.put(stable, each)
            pending.clear()
            yield number, stable
        if recording.ours(request):
            pending.append(request)
            for kept in chosen(len(pending), chance):
                state = stable.copy()
                for index, each in enumerate(pending):
                    if kept >> index & 1:
                        torn = chance.randrange(1, each.sectors) if each.sectors > 1 and kept & 1 else None
                        recording.put(state, each, torn)
                yield number, state
    # What the guest was told is lasting.
    yield len(recording.log.requests), stable


def chosen(count: int, chance: random.Random) -> list[int]:
    """Which of the last requests reached the medium, as bits."""
    if count <= EXHAUSTIVE:
        return list(range(1 << count))
    return [0, (1 << count) - 1, *(chance.getrandbits(count) for _ in range(SAMPLED))]


def test_every_state_boots_old_or_new(recording: Recording) -> None:
    counts = {"old": 0, "new": 0, "neither": 0}
    last = ""
    for _, state in cuts(recording):
        last = boots(recording, state)
        counts[last] += 1
    log = recording.log
    print(f"{sum(counts.values())} states of {log.writes} writes and {log.flushes} flushes: {counts}")
    assert counts["neither"] == 0
    assert counts["old"] > 150
    assert last == "new", "what was told to be installed is"


def test_without_the_flush_before_the_trial_the_sweep_says_no(recording: Recording) -> None:
    """The flush that settles the slot did not happen: the block arms a slot that is not whole."""
    requests = list(recording.log.requests)
    armed = max(at for at, request in enumerate(requests) if recording.ours(request)
                and recording.control.first <= request.sector <= recording.control.last)
    settled = max(at for at, request in enumerate(requests[:armed]) if request.is_flush)
    first = max(at for at, request in enumerate(requests[:settled]) if recording.ours(request)
                and recording.control.first <= request.sector <= recording.control.last)
    lied = [request for at, request in enumerate(requests) if not (request.is_flush and first + 1 < at <= settled)]
    broken = replace(recording, log=replace(recording.log, requests=tuple(lied)))
    assert any(boots(broken, state) == "neither" for _, state in cuts(broken))


@pytest.mark.parametrize("at", ["begun", "half"])
def test_a_state_boots_and_the_update_goes_on(recording: Recording, at: str, tmp_path: Path) -> None:
    places = [number for number, request in enumerate(recording.log.requests, 1) if recording.ours(request)]
    number = places[2 if at == "begun" else len(places) // 2]
    state = next(state for reached, state in cuts(recording) if reached == number)
    disk = tmp_path / "disk.img"
    subprocess.run(["/usr/bin/cp", "--sparse=always", str(image_of("qemu")), str(disk)], check=True)
    with disk.open("r+b") as file:
        for place, raw in ((recording.control, state.control), (recording.slot, state.slot)):
            file.seek(place.first * SECTOR)
            file.write(raw)
    machine = Updating("qemu", tmp_path, recording.new, image=disk)
    with machine.running_from("a", "0.1.0") as person:
        person.output(f"update install {machine.path}", seconds=240)
        machine.restarts(person, "reboot")
    with machine.running_from("b", "0.1.1"):
        machine.cut()


def test_the_model_tries_every_order() -> None:
    text = cargo("test", "-p", "update", "--lib", *MANIFEST, "tests::")
    assert "every_cut_of_an_install_boots_old_or_new ... ok" in text
    assert "without_any_one_flush_the_sweep_says_no ... ok" in text


