"""Facts about a machine: what the kernel's `platform.*` events say, what another reader found, and the difference."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from swiftbuild.model.event import Event

Value = int | str | tuple[str, ...]
Fact = tuple[tuple[str, Value], ...]
Facts = dict[str, list[Fact]]
"""Event name → what the events of that name say, sorted: the order of devices is no fact."""

NAMES = (
    "platform.uart", "platform.gic", "platform.timer", "platform.psci", "platform.cpu", "platform.virtio_mmio",
    "platform.ecam", "platform.pci_window", "platform.msi_map", "platform.pci_lines",
)  # fmt: skip
LISTS = {"redistributors", "its", "v2m", "irqs"}


def fact(**fields: Value) -> Fact:
    """One event's fields in a fixed order; numbers are numbers, however they were written."""
    return tuple(sorted(fields.items()))


def collect(facts: Mapping[str, Iterable[Fact]]) -> Facts:
    """Facts by name, sorted, every name present."""
    return {name: sorted(facts.get(name, ()), key=repr) for name in NAMES}


def from_events(events: Iterable[Event]) -> Facts:
    """What a boot log says."""
    found: dict[str, list[Fact]] = {}
    for event in events:
        if event.name in NAMES:
            fields = {key: _value(key, text) for key, text in event.fields.items()}
            found.setdefault(event.name, []).append(fact(**fields))
    return collect(found)


def _value(key: str, text: str) -> Value:
    if key in LISTS:
        return tuple(part for part in text.split(",") if part)
    if text.startswith("0x"):
        return int(text, 16)
    return int(text) if text.isdigit() else text


def differences(kernel: Facts, tables: Facts) -> list[str]:
    """One line for each fact that only one side has; empty when they agree."""
    lines = []
    for name in NAMES:
        ours, theirs = list(kernel[name]), list(tables[name])
        for found in kernel[name]:
            if found in theirs:
                ours.remove(found)
                theirs.remove(found)
        lines += [f"{name}: only the kernel says {_text(found)}" for found in ours]
        lines += [f"{name}: only the tables say {_text(found)}" for found in theirs]
    return lines


def _text(found: Fact) -> str:
    return " ".join(f"{key}={value:#x}" if isinstance(value, int) else f"{key}={value}" for key, value in found)
