"""Which runs prove a release: all of them, or each scenario once, drawn by a seed; what each must look like from
outside; and under which key a result is kept.

Pure: what there is comes in, and what is to be run goes out, the same for the same seed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Literal, Protocol

BOOT_SECONDS_USUAL = 25
"""Of a machine that boots, is spoken to and ends; for an estimate."""
Kind = Literal["own", "between", "next"]
"""`own`: the release alone. `between`: from an older release to it. `next`: from it to the same contents as the next
version, which throw-away keys sign."""
Needs = Literal["release", "update", "keys"]
"""`release`: nothing but that. `update`: another release, which the machine takes. `keys`: those that sign releases
which are made to fail."""
KINDS: Mapping[Needs, tuple[Kind, ...]] = {"release": ("own",), "update": ("between", "next"), "keys": ("next",)}


class Entry(Protocol):
    """What of a scenario decides how often it is run, and what must be seen of a run."""

    @property
    def name(self) -> str: ...
    @property
    def cpus(self) -> tuple[int, ...]: ...
    @property
    def needs(self) -> Needs: ...
    @property
    def story(self) -> str: ...


@dataclass(frozen=True)
class Chain:
    """A machine of a profile that starts with one release and is given another, by their digests. `twin`: under
    throw-away keys, with every byte of the release's kernel, base and tree."""

    profile: str
    old: str
    new: str
    kind: Kind
    twin: bool = False


@dataclass(frozen=True)
class Run:
    """One scenario on one machine."""

    scenario: str
    chain: Chain
    cpus: int

    @property
    def profile(self) -> str:
        """The machine's."""
        return self.chain.profile

    @property
    def artifact(self) -> Literal["release", "twin"]:
        """What its machine runs."""
        return "twin" if self.chain.twin else "release"

    def key(self, *inputs: str) -> str:
        """Under which its result is kept: everything that it depends on. `inputs`: digests of what it is run by and
        on."""
        return hashlib.sha256(json.dumps([asdict(self), inputs], sort_keys=True).encode()).hexdigest()


def candidates(entry: Entry, chains: Sequence[Chain]) -> list[Chain]:
    """Where a scenario can run."""
    return [chain for chain in chains if chain.kind in KINDS[entry.needs]]


def full(entries: Iterable[Entry], chains: Sequence[Chain]) -> list[Run]:
    """Every scenario, on every chain that it can run on, with each of its numbers of processors."""
    return [Run(entry.name, chain, cpus)
            for entry in entries for chain, cpus in product(candidates(entry, chains), entry.cpus)]


def bounded(entries: Iterable[Entry], chains: Sequence[Chain], seed: int) -> list[Run]:
    """Every scenario once; where and with how many processors is drawn. What one scenario draws does not depend on
    which others there are."""
    runs = []
    for entry in entries:
        found = candidates(entry, chains)
        if found:
            chain, cpus = (_draw(seed, entry.name, what, many)
                           for what, many in (("chain", len(found)), ("cpus", len(entry.cpus))))
            runs.append(Run(entry.name, found[chain], entry.cpus[cpus]))
    return runs


def _draw(seed: int, name: str, what: str, many: int) -> int:
    """One of so many, evenly, and the same for the same seed."""
    return int.from_bytes(hashlib.sha256(f"{seed} {name} {what}".encode()).digest()) % many


def tells(story: str, boots: Sequence[str]) -> bool:
    """Whether boots are those of a story: words, one for each boot, in which a dot stands for anything; several stories
    stand with a bar between them. A boot's word is `core.bootlog`'s."""
    return any(re.fullmatch(told.strip(), " ".join(boots)) for told in story.split("|"))


def boots(entry: Entry) -> int:
    """How many machines a scenario starts, at most."""
    return max(len(told.split()) for told in entry.story.split("|"))


def estimate(runs: Iterable[Run], counts: Mapping[str, int], jobs: int) -> tuple[int, int]:
    """Boots, and minutes with so many machines at a time."""
    count = sum(counts[run.scenario] for run in runs)
    return count, max(1, round(count * BOOT_SECONDS_USUAL / jobs / 60))
