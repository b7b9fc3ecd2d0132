"""The user's terminal, lent to a machine and taken back as it was."""

from __future__ import annotations

import contextlib
import fcntl
import os
import termios
from collections.abc import Iterator

from swiftbuild.wire.terminal import Changes

STDIN, STDOUT = 0, 1


@contextlib.contextmanager
def lent() -> Iterator[Changes]:
    """Whatever happens within, even to a QEMU that is killed, the terminal's modes are restored. What the machine
    prints is told to the `Changes` that this gives: its other screen and hidden cursor go, too."""
    attributes = termios.tcgetattr(STDIN) if os.isatty(STDIN) else None
    flags = fcntl.fcntl(STDIN, fcntl.F_GETFL)  # QEMU reads without waiting, and the shell shares that with us
    changes = Changes()
    try:
        yield changes
    finally:
        with contextlib.suppress(OSError, termios.error):  # a terminal that has gone needs nothing
            fcntl.fcntl(STDIN, fcntl.F_SETFL, flags)
            if attributes is not None:
                termios.tcsetattr(STDIN, termios.TCSADRAIN, attributes)
            if os.isatty(STDOUT):
                os.write(STDOUT, changes.undoing().encode())
