"""One machine-wide limit on the number of virtual machines: tests, commands and parallel make share it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from swiftbuild.errors import BootError

SLOTS = 2
WAIT_SECONDS_MAX = 3600.0
POLL_SECONDS = 0.1


@contextlib.contextmanager
def slot(on_wait: Callable[[], None] | None = None, folder: Path | None = None) -> Iterator[int]:
    """Holds a slot. Gives the lock's descriptor: a machine that inherits it holds the slot for as long as it lives."""
    folder = folder or Path(tempfile.gettempdir()) / "swiftbuild-machines"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o777)
        folder.chmod(0o777)  # every user of the machine shares the slots
    end = time.monotonic() + WAIT_SECONDS_MAX
    told = False
    while True:
        for index in range(SLOTS):
            descriptor = _try(folder / f"slot{index + 1}")
            if descriptor is not None:
                try:
                    yield descriptor
                finally:
                    os.close(descriptor)
                return
        if time.monotonic() > end:
            raise BootError(f"no machine slot became free in {WAIT_SECONDS_MAX:g} s", hint=f"who holds {folder}/*?")
        if not told and on_wait:
            on_wait()
        told = True
        time.sleep(POLL_SECONDS)


def _try(path: Path) -> int | None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
