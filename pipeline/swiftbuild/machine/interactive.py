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

from swiftbuild.errors import BootError, ToolError
from swiftbuild.machine.qemu import ENVIRONMENT, GRACE_SECONDS, SETPRIV
from swiftbuild.machine.slots import slot
from swiftbuild.machine.spec import Media, Spec, arguments
from swiftbuild.machine.terminal import lent
from swiftbuild.model.event import Event
from swiftbuild.wire.event import Cleaner, Lines
from swiftbuild.wire.terminal import Changes

CONSOLE = "stdio,id=console,mux=on,signal=off"
"""What `-serial mon:stdio` stands for; spelled out, it can have a copy of what is printed."""
CHUNK = 65536
REPORT_ENDS = ("system.halt", "system.reboot")
REPORT_SECONDS_MAX = 10.0
"""For a panic's report to be printed."""


def interact(machine: Spec, media: Media, *, on_wait: Callable[[], None] | None = None) -> None:
    """Runs QEMU with the serial line on stdin and stdout until it ends; Ctrl-A X ends it.

    When the guest resets the machine, it starts again. But a kernel that panicked would only panic again: that ends it.
    """
    with slot(on_wait) as lock, lent() as changes, contextlib.ExitStack() as stack:
        descriptor, end = os.pipe()
        stack.callback(os.close, descriptor)
        copy = Copy(descriptor, changes)
        stack.callback(copy.drain)
        process = stack.enter_context(_started(machine, media, lock, end))
        panic = copy.watch()
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


class Copy:
    """What the machine prints, on its way to the terminal."""

    def __init__(self, descriptor: int, changes: Changes) -> None:
        self._descriptor = descriptor
        self._changes = changes
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._cleaner = Cleaner()
        self._lines = Lines()

    def watch(self) -> Event | None:
        """Reads until the machine has ended, or until its kernel has reported a panic: then that event."""
        panic, end = None, 0.0
        while panic is None or self._readable(end):
            chunk = os.read(self._descriptor, CHUNK)
            if not chunk:
                break
            for event in self._take(chunk):
                if panic is None and event.name == "kernel.panic":
                    panic, end = event, time.monotonic() + REPORT_SECONDS_MAX
                elif panic and event.name in REPORT_ENDS:
                    return panic
        return panic

    def drain(self) -> None:
        """Reads what a machine that is gone has left: it, too, was printed."""
        os.set_blocking(self._descriptor, False)
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(self._descriptor, CHUNK):
                self._take(chunk)

    def _readable(self, end: float) -> bool:
        left = end - time.monotonic()
        return left > 0 and bool(select.select([self._descriptor], [], [], left)[0])

    def _take(self, chunk: bytes) -> list[Event]:
        text = self._decoder.decode(chunk)
        self._changes.feed(text)
        return [event for event in self._lines.feed(self._cleaner.feed(text)) if isinstance(event, Event)]
