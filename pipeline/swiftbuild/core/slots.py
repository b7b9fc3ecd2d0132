"""Which slot boots next (docs/formats/bootctl.md): the same choice that the loader makes."""

from __future__ import annotations

from dataclasses import dataclass

from swiftbuild.model.bootctl import BootControl, SlotEntry

NAMES = ("a", "b")
UNFINISHED_MAX = 5
"""So many boots in a row that did not reach `boot.ready` put a good slot behind the other."""


@dataclass(frozen=True)
class Choice:
    """Slots in the order in which they are tried, and why each other one is not."""

    order: tuple[str, ...]
    refused: dict[str, str]


def choose(block: BootControl) -> Choice:
    """The candidates, the first to be tried first."""
    refused = {name: why for name, slot in zip(NAMES, block.slots, strict=True) if (why := _refusal(block, slot))}
    candidates = [(name, slot) for name, slot in zip(NAMES, block.slots, strict=True) if name not in refused]
    candidates.sort(key=lambda pair: (_stuck(pair[1]), -pair[1].priority, pair[1].successful != 1, pair[0]))
    return Choice(tuple(name for name, _ in candidates), refused)


def _stuck(slot: SlotEntry) -> bool:
    return slot.successful == 1 and slot.unfinished_boots >= UNFINISHED_MAX


def _refusal(block: BootControl, slot: SlotEntry) -> str:
    if slot.bad:
        return "bad"
    if slot.priority == 0:
        return "unbootable"
    if slot.rollback_index < block.rollback_floor:
        return "below-floor"
    if slot.successful != 1 and slot.tries == 0:
        return "tries-used-up"
    return ""
