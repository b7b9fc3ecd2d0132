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
SECOND_PANIC = "second panic on the way; stopped"
REPORT_SECONDS_MAX = 10.0
"""For a panic's report to be printed."""
SILENCE_SECONDS = 1.0
"""Nothing is printed behind a report when the kernel has stopped."""


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
        self._panic: Event | None = None
        self._panic_at = 0.0

    def watch(self) -> Event | None:
        """Reads until the machine has ended, or until its kernel has reported a panic: then that event.

        Not all that looks like a panic is one, it may be a log that a person reads: a kernel that died resets the
        machine or is silent.
        """
        halted = False
        while not halted or self._readable(SILENCE_SECONDS):
            chunk = os.read(self._descriptor, CHUNK)
            if not chunk:
                return None
            if halted:
                self._panic, halted = None, False
            last = self._take(chunk)
            if self._panic and last == "system.reboot":
                break
            halted = bool(self._panic and last == "system.halt" and not self._lines.partial)
        return self._panic

    def drain(self) -> None:
        """Reads what a machine that is gone has left: it, too, was printed."""
        os.set_blocking(self._descriptor, False)
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(self._descriptor, CHUNK):
                self._take(chunk)

    def _readable(self, seconds: float) -> bool:
        return bool(select.select([self._descriptor], [], [], seconds)[0])

    def _take(self, chunk: bytes) -> str:
        """Notes a panic; gives the name of the last event that may be the end of its report."""
        text = self._decoder.decode(chunk)
        self._changes.feed(text)
        clean = self._cleaner.feed(text)
        if time.monotonic() > self._panic_at + REPORT_SECONDS_MAX:
            self._panic = None
        last = "system.halt" if SECOND_PANIC in clean else ""
        for event in self._lines.feed(clean):
            if isinstance(event, Event) and event.name == "kernel.panic" and self._panic is None:
                self._panic, self._panic_at = event, time.monotonic()
            elif isinstance(event, Event) and self._panic and event.name in REPORT_ENDS:
                last = event.name
        return last
