"""Signals that end us unwind as Ctrl-C does, so that machine, folder and terminal are left as they were."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


@contextlib.contextmanager
def unwinding() -> Iterator[None]:
    """The first of these signals raises `KeyboardInterrupt`; those after it do not disturb the cleaning up."""

    def unwind(_number: int, _frame: FrameType | None) -> None:
        for number in ENDING:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {}
    try:
        for number in ENDING:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup wants it
                before[number] = signal.signal(number, unwind)
    except ValueError:  # not the main thread: its own handler ends us
        yield
        return
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
