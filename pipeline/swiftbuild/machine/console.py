"""The serial line of a machine: text, events, and waits that always have a success, a failure and a deadline."""

from __future__ import annotations

import codecs
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from swiftbuild.errors import BootError, DamageError
from swiftbuild.model.event import Event
from swiftbuild.wire.event import Cleaner, Lines

T = TypeVar("T")

FAILURE_EVENTS = ("kernel.panic", "base.failed", "init.failed", "boot.failed")
LOADER_ENDS = ("boot", "handoff", "loader")
"""What the loader cannot go on from; any other `loader.error` leaves it another slot."""
FAILURE_TEXT = (
    (re.compile(r"Synchronous Exception at 0x[0-9A-Fa-f]+"), "the firmware took an exception"),
    (re.compile(r"ASSERT(_EFI_ERROR)? .*"), "the firmware failed an assertion"),
    (re.compile(r"BdsDxe: No bootable option or device was found"), "the firmware found nothing to boot"),
    (re.compile(r">>Start (PXE|HTTP) "), "the firmware found nothing to boot on the disk and tries the network"),
    (re.compile(r'starting Boot[0-9A-F]{4} "EFI Internal Shell"'), "the firmware found nothing to boot but its shell"),
)
TAIL_LINES = 25
TEXT_BYTES_MAX = 16 << 20
"""Console text that is kept; a guest that prints more has run away."""
POLL_SECONDS = 0.25


def fatal(event: Event) -> bool:
    """After this event there will be no `boot.ready`."""
    return event.name in FAILURE_EVENTS or (event.name == "loader.error" and event.get("what") in LOADER_ENDS)


class Console:
    """Reads a machine's serial line. `text` is all of it without control sequences, `events` what it reported."""

    def __init__(self, line: socket.socket, log: Path | None = None) -> None:
        self._line = line
        self._log = log.open("wb") if log else None
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._cleaner = Cleaner()
        self._lines = Lines()
        self._cursor = 0
        self.started = time.monotonic()
        self.text = ""
        self.events: list[Event] = []
        self.malformed: list[str] = []
        self.closed = False

    def pump(self, seconds: float) -> None:
        """Takes in what arrives within that time, at most one chunk."""
        self._line.settimeout(max(seconds, 0.001))
        try:
            chunk = self._line.recv(65536)
        except TimeoutError:
            return
        except ConnectionError:
            chunk = b""
        if not chunk:
            self.closed = True
            if self._log:
                self._log.flush()
            return
        if self._log:
            self._log.write(chunk)
            self._log.flush()
        self._take(self._decoder.decode(chunk))

    def _take(self, raw: str) -> None:
        clean = self._cleaner.feed(raw)
        self.text += clean
        if len(self.text) > TEXT_BYTES_MAX:
            raise BootError(f"the guest printed more than {TEXT_BYTES_MAX} bytes")
        for found in self._lines.feed(clean):
            if isinstance(found, DamageError):
                self.malformed.append(found.message)
            else:
                self.events.append(found.model_copy(update={"wall": time.monotonic() - self.started}))

    def send(self, text: str) -> None:
        """Types."""
        self._line.settimeout(10)
        try:
            self._line.sendall(text.encode())
        except OSError as error:
            # what was typed may be a password, and this is shown, kept and signed
            raise BootError(f"cannot type {len(text)} characters: {error}") from error

    def wait(self, check: Callable[[], T | None], *, seconds: float, what: str) -> T:
        """Pumps until `check` gives something. A failure, the end of the machine or the deadline is an error."""
        end = time.monotonic() + seconds
        seen = 0
        while True:
            found = check()
            if found is not None:
                return found
            seen = self._raise_failure(seen, what)
            if self.closed:
                raise self.error(f"the machine ended while waiting for {what}")
            left = end - time.monotonic()
            if left <= 0:
                raise self.error(f"waited {seconds:g} s for {what}, in vain")
            self.pump(min(left, POLL_SECONDS))

    def _raise_failure(self, seen: int, what: str) -> int:
        for event in self.events[seen:]:
            if fatal(event):
                self._drain()
                raise self.error(f"{event.line()} while waiting for {what}")
        tail = self.text[self._cursor :][-8192:]
        for pattern, meaning in FAILURE_TEXT:
            if match := pattern.search(tail):
                self._drain()
                raise self.error(f"{meaning} while waiting for {what}: {match[0].strip()}")
        return len(self.events)

    def _drain(self) -> None:
        """A failing guest may still be printing why."""
        for _ in range(8):
            if not self.closed:
                self.pump(POLL_SECONDS)

    def event(self, name: str, *, seconds: float, since: int = 0, **fields: str) -> Event:
        """The first event of that name, with these fields, from number `since` on."""
        wanted = " ".join([name, *(f"{k}={v}" for k, v in fields.items())])

        def check() -> Event | None:
            return next((e for e in self.events[since:] if e.name == name and e.has(fields)), None)

        return self.wait(check, seconds=seconds, what=f"event {wanted}")

    def expect(self, pattern: str, *, seconds: float) -> re.Match[str]:
        """The pattern in what was printed since the last match."""
        compiled = re.compile(pattern)

        def check() -> re.Match[str] | None:
            return compiled.search(self.text, self._cursor)

        match = self.wait(check, seconds=seconds, what=f"text {pattern!r}")
        self._cursor = match.end()
        return match

    def rewind(self, text: str) -> None:
        """The next `expect` sees this text, the last that was matched, once more."""
        if not self.text[: self._cursor].endswith(text):
            raise ValueError(f"the last match does not end with {text!r}")
        self._cursor -= len(text)

    def error(self, message: str) -> BootError:
        """The message, with the last lines of the console."""
        lines = [line for line in self.text.splitlines() if line.strip()][-TAIL_LINES:]
        tail = "\n".join(f"  | {line}" for line in lines) or "  | (nothing)"
        return BootError(f"{message}\nlast lines of the console:\n{tail}",
                         hint="docs/troubleshooting.md goes through boots that fail")

    def close(self) -> None:
        """Lets go of line and log."""
        self._line.close()
        if self._log:
            self._log.close()
