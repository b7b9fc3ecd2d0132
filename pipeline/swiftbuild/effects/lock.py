"""Lock files that name their holder. The kernel frees them when the holder dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from swiftbuild.core.events import Events


class HeldError(Exception):
    """Another process holds the lock; `pid` is 0 when it has not said who it is."""

    def __init__(self, pid: int) -> None:
        super().__init__(f"held by process {pid or '?'}")
        self.pid = pid


@contextlib.contextmanager
def exclusive(path: Path, events: Events) -> Iterator[None]:
    """One build at a time in one tree: the second waits and names the first."""
    with _opened(path) as file:
        try:
            _lock(file)
        except HeldError as error:
            events.waiting(error.pid)
            fcntl.flock(file, fcntl.LOCK_EX)
        _sign(file)
        yield


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Holds the lock, or raises `HeldError` at once."""
    with _opened(path) as file:
        _lock(file)
        _sign(file)
        yield


def _opened(path: Path) -> TextIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("a+")


def _lock(file: TextIO) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read().strip()
        raise HeldError(int(holder) if holder.isdigit() else 0) from None


def _sign(file: TextIO) -> None:
    file.seek(0)
    file.truncate()
    file.write(str(os.getpid()))
    file.flush()
