"""`swiftbuild run` on a terminal: a program plays QEMU; the terminal is as before whatever way it ends."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes import ROOT
from tests.images import build, parts

SECONDS = 30.0
RUN = """\
import sys
from pathlib import Path
from swiftbuild.cli.app import main
from swiftbuild.machine import interactive, slots, spec
spec.QEMU, slots.FOLDER = sys.argv[1], Path(sys.argv[2])
interactive.GRACE_SECONDS = interactive.REPORT_SECONDS_MAX = 0.5
sys.argv = ["swiftbuild", *sys.argv[3:]]
main()
"""
QEMU = """\
#!{python}
import os, signal, sys, termios, time, tty
from pathlib import Path
words = " ".join(sys.argv)
assert "-no-reboot" not in words
copy = os.open(words.partition("logfile=")[2].split()[0], os.O_WRONLY)
def show(text):
    for descriptor in (1, copy):
        os.write(descriptor, text.encode())
tty.setraw(0)
os.set_blocking(0, False)
show("\\x1b[?1049h\\x1b[?25l\\x1b[1;31mhello from the guest\\r\\n")
Path({pid!r}).write_text(str(os.getpid()))
{play}
"""
WAIT = "time.sleep(300)"
PANIC = """\
signal.signal(signal.SIGTERM, signal.SIG_IGN)
while True:
    show("[evt] kernel.panic t=1.000000 why=broken cpu=0\\r\\n\\r\\nkernel panic on CPU 0: broken\\r\\n")
    show("[evt] system.reboot t=1.000001\\r\\n")
    time.sleep(0.1)
"""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(parts(tmp_path_factory.mktemp("image")), "qemu")


class Terminal:
    """A pseudo terminal with `swiftbuild run` on it."""

    def __init__(self, folder: Path, image: Path, play: str, *words: str) -> None:
        self.master, self.slave = pty.openpty()
        self.pid = folder / "pid"
        qemu = folder / "qemu"
        qemu.write_text(QEMU.format(python=sys.executable, pid=str(self.pid), play=play))
        qemu.chmod(0o755)
        self.before = self.state()
        self.output = b""
        self.child = subprocess.Popen(
            [sys.executable, "-c", RUN, str(qemu), str(folder / "slots"), "run", str(image), *words], cwd=ROOT,
            stdin=self.slave, stdout=self.slave, stderr=self.slave, start_new_session=True,
        )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        while True:
            try:
                self.output += os.read(self.master, 65536)
            except OSError:
                return

    def state(self) -> tuple[object, int]:
        """Modes of the terminal, and how it is read."""
        return termios.tcgetattr(self.slave), fcntl.fcntl(self.slave, fcntl.F_GETFL)

    def until(self, text: bytes) -> None:
        """Waits until that was printed."""
        end = time.monotonic() + SECONDS
        while text not in self.output:
            assert time.monotonic() < end, self.output
            time.sleep(0.02)

    def restored(self) -> bytes:
        """What was printed to the end, with the terminal as it was, and no QEMU left."""
        assert self.state() == self.before
        self.until(b"\x1b[0m\x1b[?25h\x1b[?1049l")
        assert not Path(f"/proc/{self.pid.read_text()}").exists()
        return self.output

    def close(self) -> None:
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()
        os.close(self.slave)
        os.close(self.master)


Start = Callable[..., Terminal]


@pytest.fixture
def start(tmp_path: Path, image: Path) -> Iterator[Start]:
    """Starts `swiftbuild run` with a QEMU that plays this."""
    made: list[Terminal] = []

    def begin(play: str, *words: str) -> Terminal:
        made.append(Terminal(tmp_path, image, play, *words))
        return made[-1]

    yield begin
    for terminal in made:
        terminal.close()


@pytest.mark.parametrize(
    ("play", "status", "told"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", 7, b"QEMU ended with status -9"),
        ("sys.exit(3)", 7, b"QEMU ended with status 3"),
        ("sys.exit(0)", 0, b"hello"),
        (PANIC, 7, b"the guest's kernel panicked: kernel.panic t=1.000000 why=broken cpu=0"),
    ],
    ids=["killed", "fails", "ends", "panics"],
)
def test_the_terminal_is_as_before_when_the_machine_ends(start: Start, play: str, status: int, told: bytes) -> None:
    terminal = start(play)
    assert terminal.child.wait(SECONDS) == status
    terminal.until(told)
    assert b"Traceback" not in terminal.restored()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
@pytest.mark.parametrize("play", [WAIT, f"signal.signal(signal.SIGTERM, signal.SIG_IGN)\n{WAIT}"],
                         ids=["waits", "deaf"])
def test_the_terminal_is_as_before_when_we_are_ended(start: Start, number: signal.Signals, play: str) -> None:
    terminal = start(play)
    terminal.until(b"hello from the guest")
    os.kill(terminal.child.pid, number)
    assert terminal.child.wait(SECONDS) == 130
    assert b"Traceback" not in terminal.restored()


def test_a_panic_whose_report_hangs_ends_the_machine_too(start: Start) -> None:
    terminal = start(f'show("[evt] kernel.panic t=1.000000 why=hang cpu=0\\r\\n")\n{WAIT}')
    assert terminal.child.wait(SECONDS) == 7
    assert b"why=hang" in terminal.restored()
