"""What lower layers report while they work. Only the command line draws it."""

from __future__ import annotations

from typing import Protocol


class Events(Protocol):
    """The face that a run of a plan talks to; called from several threads."""

    def started(self, action: str, summary: str, why: str) -> None:
        """An action begins, because of `why`."""

    def finished(self, action: str, seconds: float) -> None:
        """An action has made its outputs."""

    def cached(self, action: str) -> None:
        """An action's outputs were there already."""

    def output(self, line: str) -> None:
        """A line that a child printed."""

    def command(self, line: str) -> None:
        """A child is started by this command."""

    def warning(self, text: str) -> None:
        """Something the person should know and can act upon."""

    def waiting(self, pid: int) -> None:
        """Another build holds the lock."""


class Silent:
    """Reports nothing."""

    def started(self, action: str, summary: str, why: str) -> None: ...
    def finished(self, action: str, seconds: float) -> None: ...
    def cached(self, action: str) -> None: ...
    def output(self, line: str) -> None: ...
    def command(self, line: str) -> None: ...
    def warning(self, text: str) -> None: ...
    def waiting(self, pid: int) -> None: ...
