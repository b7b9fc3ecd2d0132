"""Which runs prove a release: all of them, or each scenario once, drawn by a seed; and under which key a result keeps.

Pure: what there is comes in, and what is to be run goes out, the same for the same seed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Literal, Protocol

SEED_MAX = 2**32
BOOT_SECONDS_USUAL = 25
"""Of a machine that boots, is spoken to and ends; for an estimate."""


class Entry(Protocol):
    """What of a scenario decides how often it is run."""

    @property
    def name(self) -> str: ...
    @property
    def cpus(self) -> tuple[int, ...]: ...
    @property
    def signs(self) -> bool: ...
    @property
    def boots(self) -> int: ...


@dataclass(frozen=True)
class Chain:
    """An update that is proved: on a machine of a profile, from one release to another, by their digests."""

    profile: str
    old: str
    new: str
    twin: bool
    """It runs under throw-away keys, with every byte of the release's kernel, base and tree."""
    signs: bool
    """Its machine takes releases of throw-away keys."""
    between: bool
    """From an older release to this one; else from this one to the same contents as the next version."""


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

    def key(self, harness: str) -> str:
        """Under which its result is kept: everything that it depends on."""
        return hashlib.sha256(json.dumps([asdict(self), harness], sort_keys=True).encode()).hexdigest()


def candidates(entry: Entry, chains: Sequence[Chain]) -> list[Chain]:
    """Where a scenario can run. One that signs runs on throw-away keys. One that does not runs on the release as it is
    where there is one that updates to it or follows it, and on the twin where there is none."""
    if entry.signs:
        return [chain for chain in chains if chain.signs and not chain.between]
    return [chain for chain in chains if not chain.twin] or list(chains)


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


def estimate(runs: Iterable[Run], boots: Mapping[str, int], jobs: int) -> tuple[int, int]:
    """Boots, and minutes with so many machines at a time."""
    count = sum(boots[run.scenario] for run in runs)
    return count, max(1, round(count * BOOT_SECONDS_USUAL / jobs / 60))
