"""A machine's life with updates, recorded: every request that reached its disk, what was being done, and every state
that a power cut may leave of it.

The guest's page cache writes in its own order between the flushes that the device sees, and the loader writes under
real firmware: what the model of kernel/bootctl and userland/update cannot show.
"""

from __future__ import annotations

import functools
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from swiftbuild.core.slots import NAMES, choose
from swiftbuild.errors import DamageError
from swiftbuild.limits import MIB, SECTOR
from swiftbuild.machine.media import mapped
from swiftbuild.machine.spec import recorder
from swiftbuild.model.disk import Partition
from swiftbuild.scenarios.good import SLOW
from swiftbuild.scenarios.updating import INSTALL_SECONDS
from swiftbuild.wire import bootctl, gpt, release, writelog
from swiftbuild.wire.writelog import Request

from tests.system.conftest import image_of
from tests.system.updates import Updating
from tests.variants import with_files

SLOT_BYTES = 16 * MIB
"""Of a slot, as far as these releases go."""
FILLER_BYTES = 7 * MIB
"""So much more has each base: an install is many requests."""
PARTS = ("bootctl", "base_a", "base_b")
EXHAUSTIVE, SAMPLED, SEED = 8, 24, 6
"""So many requests since a flush are lost in every combination; of more, so many combinations, by this seed."""
NEITHER = "neither"
Parts = dict[str, bytearray]


@dataclass(frozen=True, repr=False)
class Recording:
    """A life, from its first boot to its last. `requests`: what reached the disk; None is the end of a boot, before
    which all of it did. `steps`: what was done, each with the number of requests before it."""

    places: Mapping[str, Partition]
    start: Parts
    releases: Mapping[str, bytes]
    """By version."""
    requests: list[Request | None] = field(default_factory=list)
    steps: list[tuple[str, int]] = field(default_factory=list)

    def put(self, parts: Parts, request: Request, sectors: int | None = None) -> None:
        """A request, or the first sectors of it, reaches the medium."""
        data = bytes(request.data)[: None if sectors is None else sectors * SECTOR]
        for name, place in self.places.items():
            at = (request.sector - place.first) * SECTOR
            if 0 <= at < len(parts[name]):
                parts[name][at : at + len(data)] = data
                return

    def ours(self, request: Request, name: str | None = None) -> bool:
        """It writes a part, or this one."""
        return request.is_write and any(
            place.first <= request.sector <= place.last
            for part, place in self.places.items() if name in {None, part})

    def step(self, number: int) -> str:
        """What was being done when so many requests had come."""
        return [name for name, first in self.steps if first <= number][-1]


class Recorder:
    """Boots a machine and writes down its requests."""

    def __init__(self, recording: Recording, machine: Updating) -> None:
        self.recording = recording
        self.machine = machine

    def begin(self, name: str) -> None:
        """A boot, whose first step this is."""
        self.log = self.machine.folder / f"writes-{len(self.recording.steps)}.log"
        self.log.write_bytes(b"")
        self.machine.media = replace(self.machine.media, filters=(recorder(self.log),))
        self.before = len(self.recording.requests)
        self.recording.steps.append((name, self.before))

    def step(self, name: str) -> None:
        """What comes now is another step."""
        self.recording.steps.append((name, self.before + len(writelog.read(self.log.read_bytes()).requests)))

    def end(self) -> None:
        """The boot is over."""
        self.recording.requests.extend(writelog.read(self.log.read_bytes()).requests)
        self.recording.requests.append(None)


def beginning(folder: Path) -> Recording:
    """What the image holds, and the releases that follow: with other bases, so that there is much to write."""
    with mapped(image_of("qemu")) as disk:
        places = {partition.name: partition for partition in gpt.read(disk).partitions if partition.name in PARTS}
        sizes = {name: min(places[name].sectors * SECTOR, SLOT_BYTES) for name in PARTS}
        start = {name: bytearray(disk[places[name].first * SECTOR :][: sizes[name]]) for name in PARTS}
        old = bytes(release.read_slot(disk[places["base_a"].first * SECTOR :]).body)
    old = old[: release.decode_header(old[: release.HEADER_SIZE]).min_slot_size]
    releases = {"0.1.0": old}
    for index, version in enumerate(("0.1.1", "0.1.2"), 2):
        (folder / version).mkdir()
        files = {"/etc/motd": random.Random(index).randbytes(FILLER_BYTES // 2).hex()}  # noqa: S311 - no secret
        releases[version] = with_files(old, folder / version, files, version=version, rollback_index=index)
    return Recording(places, start, releases)


def lived(folder: Path) -> Recording:
    """Installed, cancelled and resumed; tried, good, committed; another one installed, tried, and rolled back."""
    made = beginning(folder)
    machine = Updating("qemu", folder, made.releases["0.1.1"])
    life = Recorder(made, machine)
    life.begin("boot")
    with machine.running_from("a", "0.1.0") as person:
        life.step("install that is cancelled")
        machine.slow(SLOW)
        person.output(f"update install {machine.path} >/run/said 2>&1 &")
        machine.copied(person)
        person.output("update cancel")
        machine.slow(0)
        life.step("install that goes on")
        machine.install(person)
        machine.restarts(person, "reboot")
    life.end()
    life.begin("boot on trial")
    with machine.running_from("b", "0.1.1") as person:
        life.step("mark-good")
        person.output("update mark-good", seconds=INSTALL_SECONDS)
        life.step("commit")
        person.output("update commit", seconds=INSTALL_SECONDS)
        machine.swap(person, made.releases["0.1.2"])
        life.step("another install")
        machine.install(person)
        machine.restarts(person, "reboot")
    life.end()
    life.begin("another boot on trial")
    with machine.running_from("a", "0.1.2") as person:
        life.step("rollback")
        machine.restarts(person, "update rollback it is only a test")
    life.end()
    life.begin("boot behind the rollback")
    with machine.running_from("b", "0.1.1"):
        machine.cut()
    life.end()
    return made


def boots(recording: Recording, parts: Parts) -> str:
    """The version that the loader takes; `neither` also when it would have to refuse what the block offers it first."""
    try:
        _, block = bootctl.current(parts["bootctl"])
    except DamageError:
        return NEITHER
    for name in choose(block).order:
        entry = block.slots[NAMES.index(name)]
        wanted = covered(recording.releases.get(entry.version, b""))
        raw = parts[f"base_{name}"]
        return entry.version if wanted and raw[: len(wanted)] == wanted else NEITHER
    return NEITHER


@functools.cache
def covered(raw: bytes) -> bytes:
    """A release as far as its last section: what is behind it is covered by no digest, and a slot keeps what it had."""
    sections = release.decode_header(raw[: release.HEADER_SIZE]).sections if raw else ()
    return raw[: max((section.offset + section.length for section in sections), default=0)]


def cuts(recording: Recording, *, seed: int = SEED, samples: int = SAMPLED) -> Iterator[tuple[int, Parts]]:
    """States, each with the number of requests before it. What is given changes when the next one is asked for."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    stable, pending = copied(recording.start), list[Request]()
    yield 0, stable
    for number, request in enumerate(recording.requests, 1):
        if request is None or request.is_flush:
            for each in pending:
                recording.put(stable, each)
            pending.clear()
            yield number, stable
        if request is not None and recording.ours(request):
            pending.append(request)
            for kept in chosen(len(pending), chance, samples):
                state = copied(stable)
                for index, each in enumerate(pending):
                    if kept >> index & 1:
                        torn = chance.randrange(1, each.sectors) if each.sectors > 1 and kept & 1 else None
                        recording.put(state, each, torn)
                yield number, state


def copied(parts: Parts) -> Parts:
    """Another state of the same bytes."""
    return {name: bytearray(raw) for name, raw in parts.items()}


def chosen(count: int, chance: random.Random, samples: int) -> list[int]:
    """Which of the last requests reached the medium, as bits."""
    if count <= EXHAUSTIVE:
        return list(range(1 << count))
    return [0, (1 << count) - 1, *(chance.getrandbits(count) for _ in range(samples))]


MAY = {
    "boot": {"0.1.0"}, "install that is cancelled": {"0.1.0"}, "install that goes on": {"0.1.0", "0.1.1"},
    "boot on trial": {"0.1.0", "0.1.1"}, "mark-good": {"0.1.1"}, "commit": {"0.1.1"},
    "another install": {"0.1.1", "0.1.2"}, "another boot on trial": {"0.1.1", "0.1.2"}, "rollback": {"0.1.1", "0.1.2"},
    "boot behind the rollback": {"0.1.1"},
}  # fmt: skip
"""What a cut in each step may leave to be booted."""


def outcomes(recording: Recording, *, seed: int = SEED, samples: int = SAMPLED) -> dict[str, Counter[str]]:
    """Step → what the states of cuts in it boot, and how many of them."""
    found: dict[str, Counter[str]] = {name: Counter() for name, _ in recording.steps}
    for number, state in cuts(recording, seed=seed, samples=samples):
        found[recording.step(number)][boots(recording, state)] += 1
    return found


def wrong(found: Mapping[str, Counter[str]]) -> dict[str, set[str]]:
    """Step → what a cut in it may not leave, and did."""
    return {name: set(count) - MAY[name] for name, count in found.items() if set(count) - MAY[name]}


def table(recording: Recording, found: Mapping[str, Counter[str]]) -> str:
    """For people: states tried, and what they boot."""
    writes = sum(request is not None and recording.ours(request) for request in recording.requests)
    flushes = sum(request is not None and request.is_flush for request in recording.requests)
    rows = [f"  {name:26} {dict(sorted(count.items()))}" for name, count in found.items()]
    states, neither = (sum(each) for each in zip(*((count.total(), count[NEITHER]) for count in found.values()),
                                                 strict=True))
    return "\n".join([f"{states} states of {writes} writes and {flushes} flushes; neither: {neither}", *rows])
