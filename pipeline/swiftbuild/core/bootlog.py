"""What a console's bytes say of one boot, in short: derived when a scenario ran, and again by who judges the record."""

from __future__ import annotations

from dataclasses import dataclass

from swiftbuild.model.event import Event
from swiftbuild.wire.event import Cleaner, Lines

GAVE_UP = ("base.failed", "init.failed", "boot.failed")


@dataclass(frozen=True)
class Boot:
    """`slot`: a, b or -, when the loader took none. `panic`: why the kernel panicked, as it said."""

    slot: str
    ready: bool
    gave_up: bool
    panic: str

    @property
    def word(self) -> str:
        """The slot, and how it went: p: panic; f: given up by kernel or init; r: ready; -: none of these."""
        return self.slot + ("p" if self.panic else "f" if self.gave_up else "r" if self.ready else "-")


def boot(log: bytes) -> Boot:
    """Of a console log."""
    found = Lines().feed(Cleaner().feed(log.decode(errors="replace")))
    events = [event for event in found if isinstance(event, Event)]
    names = {event.name for event in events}
    chosen = next((event for event in events if event.name == "loader.slot"), None)
    panic = next((event.get("why") or "?" for event in events if event.name == "kernel.panic"), "")
    return Boot(slot=chosen.get("slot") if chosen else "-", ready="boot.ready" in names,
                gave_up=not names.isdisjoint(GAVE_UP), panic=panic)
