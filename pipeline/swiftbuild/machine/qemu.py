"""Starts a virtual machine and ends it, whatever happens: own process group, dies with its parent, holds a slot."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from swiftbuild.errors import BootError, HostError, ToolError
from swiftbuild.machine.console import Console
from swiftbuild.machine.monitor import Monitor
from swiftbuild.machine.signals import unwinding
from swiftbuild.machine.slots import slot
from swiftbuild.machine.spec import Media, Spec, arguments

SETPRIV = ("/usr/bin/setpriv", "--pdeathsig", "KILL", "--")
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"}
GRACE_SECONDS = 5.0
started = 0
"""Machines that this process has started: tests report it."""


class Machine:
    """A running QEMU with its console."""

    def __init__(self, spec: Spec, media: Media, folder: Path, lock: int) -> None:
        self.spec = spec
        self.folder = folder
        ours, console = socket.socketpair()
        control, monitor = socket.socketpair()
        self.command = [
            *arguments(spec, media, console="chardev:console"),
            "-chardev", f"socket,id=console,fd={console.fileno()}",
            "-chardev", f"socket,id=monitor,fd={monitor.fileno()}", "-mon", "chardev=monitor,mode=control", "-S",
        ]  # fmt: skip
        self._complaints = (folder / "qemu.stderr").open("w+b")
        with console, monitor:
            try:
                self.process = subprocess.Popen(
                    [*SETPRIV, *self.command], env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=self._complaints,
                    stderr=self._complaints, process_group=0, pass_fds=(console.fileno(), monitor.fileno(), lock),
                )  # fmt: skip
            except OSError as error:
                hint = "swiftbuild doctor names what is missing"
                raise ToolError(f"cannot start QEMU: {error}", hint=hint) from error
        global started  # noqa: PLW0603 - a count for reports, nothing depends on it
        started += 1
        self.console = Console(ours, folder / "console.log")
        self._control = control
        self._monitor: Monitor | None = None
        self._check_started()
        # The guest starts (-S) only now: a console that nobody reads is full after some hundred characters, and QEMU
        # then answers nobody until there is room.
        self.monitor().execute("cont")

    def _check_started(self) -> None:
        """A wrong option makes QEMU leave at once: say what it said."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = self.process.wait(0.05)
            raise self._start_error(status)

    def _start_error(self, status: int) -> HostError:
        return HostError(f"QEMU ended with status {status}: {self.complaints()}\n{shlex.join(self.command)}")

    def complaints(self) -> str:
        """What QEMU itself said."""
        return (self.folder / "qemu.stderr").read_text(errors="replace").strip()

    def monitor(self) -> Monitor:
        """The control channel."""
        if self._monitor is None:
            try:
                self._monitor = Monitor(self._control)
            except BootError as error:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    raise self._start_error(self.process.wait(GRACE_SECONDS)) from error
                raise
        return self._monitor

    def ended(self, *, seconds: float, what: str = "the machine's end") -> str:
        """Waits until the guest has ended the machine and says how: `guest-shutdown`, `guest-reset`, …"""
        console = self.console
        end = time.monotonic() + seconds
        while not console.closed:
            if time.monotonic() > end:
                raise console.error(f"waited {seconds:g} s for {what}, in vain")
            console.pump(0.25)
        status = self.process.wait(GRACE_SECONDS)
        reason = self.monitor().shutdown_reason()
        if status:
            raise console.error(f"QEMU ended with status {status} ({reason}): {self.complaints()}")
        return reason

    def stop(self) -> None:
        """Ends it and waits."""
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        if self._monitor:
            self._monitor.close()
            self._monitor = None
        self._control.close()
        self._complaints.close()
        self.console.close()


@contextlib.contextmanager
def machine(
    spec: Spec, media: Callable[[Path], Media], *, folder: Path | None = None, on_wait: Callable[[], None] | None = None
) -> Iterator[Machine]:
    """A machine for the length of a `with`. `media` makes what it starts from, in its folder (else a temporary one)."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(unwinding())
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="swiftbuild-machine-")))
        prepared = media(folder)
        lock = stack.enter_context(slot(on_wait))
        running = Machine(spec, prepared, folder, lock)
        stack.callback(running.stop)
        yield running
