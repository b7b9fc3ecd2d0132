"""A machine on the user's own terminal."""

from __future__ import annotations

import codecs
import contextlib
import os
import select
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from swiftbuild.errors import BootError, DamageError, ToolError
from swiftbuild.machine.qemu import ENVIRONMENT, GRACE_SECONDS, SETPRIV
from swiftbuild.machine.slots import slot
from swiftbuild.machine.spec import Media, Spec, arguments
from swiftbuild.machine.terminal import lent
from swiftbuild.model.event import Event
from swiftbuild.wire.event import Cleaner, Lines
from swiftbuild.wire.terminal import Changes

CONSOLE = "stdio,id=console,mux=on,signal=off"
"""What `-serial mon:stdio` stands for; spelled out, it can have a copy of what is printed."""
REPORT_ENDS = ("system.halt", "system.reboot")
REPORT_SECONDS_MAX = 10.0
"""For a panic's report to be printed."""


def interact(machine: Spec, media: Media, *, on_wait: Callable[[], None] | None = None) -> None:
    """Runs QEMU with the serial line on stdin and stdout until it ends; Ctrl-A X ends it.

    When the guest resets the machine, it starts again. But a kernel that panicked would only panic again: that ends it.
    """
    with slot(on_wait) as lock, lent() as changes, contextlib.ExitStack() as stack:
        copy, end = os.pipe()
        stack.callback(os.close, copy)
        process = stack.enter_context(_started(machine, media, lock, end))
        panic = _watch(copy, changes)
        if panic is None:
            status = process.wait()
    if panic:
        raise BootError(f"the guest's kernel panicked: {' '.join(panic.line().split())}",
                        hint="its report stands above; docs/troubleshooting.md goes through boots that fail")
    if status:
        raise BootError(f"QEMU ended with status {status}")


@contextlib.contextmanager
def _started(machine: Spec, media: Media, lock: int, copy: int) -> Iterator[subprocess.Popen[bytes]]:
    """QEMU, which does not outlive the `with`; a copy of what the machine prints goes to the descriptor `copy`."""
    argv = [*SETPRIV, *arguments(machine, media, console="chardev:console", resets=True),
            "-chardev", f"{CONSOLE},logfile=/proc/self/fd/{copy}", "-mon", "chardev=console,mode=readline"]
    try:
        # it stays in our process group: it must be the terminal's foreground job
        process = subprocess.Popen(argv, env=ENVIRONMENT, pass_fds=(lock, copy))
    except OSError as error:
        hint = "swiftbuild doctor names what is missing"
        raise ToolError(f"cannot start {Path(argv[0]).name}: {error}", hint=hint) from error
    finally:
        os.close(copy)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _watch(copy: int, changes: Changes) -> Event | None:
    """Reads until the machine has ended, or until its kernel has reported a panic: then that event."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    cleaner, lines = Cleaner(), Lines()
    panic, end = None, 0.0
    while panic is None or time.monotonic() < end:
        if panic and not select.select([copy], [], [], max(0.0, end - time.monotonic()))[0]:
            break
        chunk = os.read(copy, 65536)
        if not chunk:
            break
        text = decoder.decode(chunk)
        changes.feed(text)
        for event in lines.feed(cleaner.feed(text)):
            if isinstance(event, DamageError):
                continue
            if panic is None and event.name == "kernel.panic":
                panic, end = event, time.monotonic() + REPORT_SECONDS_MAX
            elif panic and event.name in REPORT_ENDS:
                return panic
    return panic
