"""What work costs, two systems' beside each other, and the section of the page that says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from statistics import median

from tests.bench.page import table
from tests.bench.storage.works import Work

HEAD = ("work, per unit", "instructions", "of them in the kernel", "writes", "flushes", "bytes written", "reads",
        "bytes read", "wall time")  # fmt: skip
SAME = 1.005
"""Figures whose ratio is no more are the same: what either system writes back by itself comes by the clock."""


@dataclass(frozen=True)
class Cost:
    """Guest instructions without idle, and what a disk was asked for."""

    instructions: float
    kernel: float
    writes: float
    flushes: float
    written: float
    reads: float
    read: float

    def per(self, count: int) -> Cost:
        """Of one of `count`."""
        return Cost(*(getattr(self, field.name) / count for field in fields(self)))


@dataclass(frozen=True)
class Compared:
    """One piece of work on both systems; seconds are those of alternating runs, pairs in their order."""

    work: Work
    ours: Cost
    peer: Cost
    our_seconds: tuple[float, ...] = ()
    peer_seconds: tuple[float, ...] = ()


def ratio(ours: float, peer: float) -> str:
    """Ours as a part of the peer's; where the peer has nothing there is no such number."""
    if peer == 0:
        return "–" if ours == 0 else "none there"
    return f"{ours / peer:.2f}"


def spread(ours: Sequence[float], peer: Sequence[float]) -> str:
    """The ratio of each pair of runs: median, least and greatest."""
    found = sorted(a / b for a, b in zip(ours, peer, strict=True))
    return f"{median(found):.2f} ({found[0]:.2f}–{found[-1]:.2f})" if found else "–"


def amount(value: float) -> str:
    """A figure to at least three digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def row(compared: Compared) -> tuple[str, ...]:
    """Ours / the peer's = ratio, for each figure."""
    pairs = ((getattr(compared.ours, field.name), getattr(compared.peer, field.name)) for field in fields(Cost))
    cells = (f"{amount(a)} / {amount(b)} = {ratio(a, b)}" if a or b else "–" for a, b in pairs)
    return (f"{compared.work.name}: {compared.work.unit}", *cells, spread(compared.our_seconds, compared.peer_seconds))


def section(results: Sequence[Compared], note: str) -> str:
    """The section of the page."""
    return table("Storage", HEAD, [row(compared) for compared in results], note)


def above(results: Sequence[Compared]) -> list[str]:
    """Figures in which ours are more than the peer's, for a line at the end."""
    found = []
    for compared in results:
        over = [field.name for field in fields(Cost)
                if getattr(compared.ours, field.name) > getattr(compared.peer, field.name) * SAME]
        found += [f"{compared.work.name}: {', '.join(over)}"] if over else []
    return found
