"""What a guest reports on its console (docs/formats/events.md)."""

from __future__ import annotations

from swiftbuild.model.binary import Record


class Event(Record):
    """One `[evt]` line. In seconds: `time` since power-on by the guest, `wall` since the machine was started."""

    name: str
    time: float
    fields: dict[str, str]
    wall: float = 0.0

    def get(self, key: str) -> str:
        """The value of a key; empty when the event does not carry it."""
        return self.fields.get(key, "")

    def has(self, fields: dict[str, str]) -> bool:
        """It carries each of these keys with that value."""
        return all(self.fields.get(key) == value for key, value in fields.items())

    def line(self) -> str:
        """The event as a person reads it."""
        return " ".join([self.name, f"t={self.time:.6f}", *(f"{k}={v}" for k, v in self.fields.items())])
