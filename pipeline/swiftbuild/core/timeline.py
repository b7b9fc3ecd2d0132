"""A boot as phases with times, from its events."""

from __future__ import annotations

from collections.abc import Sequence

from swiftbuild.model.binary import Record
from swiftbuild.model.event import Event

MILESTONES = (
    ("firmware", "loader.start"),
    ("loader", "loader.exit"),
    ("kernel entry", "kernel.entry"),
    ("memory", "memory.ready"),
    ("interrupts", "irq.ready"),
    ("processors", "cpu.online"),
    ("entropy", "entropy.ready"),
    ("base", "base.mounted"),
    ("init", "init.start"),
    ("services", "boot.ready"),
)
"""(phase, the event that ends it); of an event that comes several times the last before `boot.ready` counts."""


class Phase(Record):
    """One phase: guest and wall seconds at its end, and what it took of the guest's."""

    name: str
    event: str
    time: float
    wall: float
    took: float


def phases(events: Sequence[Event]) -> tuple[Phase, ...]:
    """The phases that this boot went through, in the order in which they ended."""
    ready = next((e.wall for e in events if e.name == "boot.ready"), None)
    ends: list[tuple[str, Event]] = []
    for name, wanted in MILESTONES:
        found = [e for e in events if e.name == wanted and (ready is None or e.wall <= ready)]
        if found:
            ends.append((name, found[-1]))
    ends.sort(key=lambda pair: pair[1].time)
    out, before = [], 0.0
    for name, event in ends:
        out.append(Phase(name=name, event=event.name, time=event.time, wall=event.wall, took=event.time - before))
        before = event.time
    return tuple(out)
