"""`swiftbuild run` on a terminal: a program plays QEMU; the terminal is as before whatever way it ends."""

from __future__ import annotations

import fcntl
import os
import pty
import shutil
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
import signal, sys
from pathlib import Path
# as a shell starts it, whatever those who run the tests have ignored
for number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)
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
def ready():
    Path({pid!r} + ".part").write_text(str(os.getpid()))
    Path({pid!r} + ".part").rename({pid!r})
{play}
"""
WAIT = "ready(); time.sleep(300)"
PANIC = """\
ready()
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

    def until_started(self) -> None:
        """Waits until QEMU has printed and is as it will be."""
        end = time.monotonic() + SECONDS
        while not self.pid.exists():
            assert time.monotonic() < end, self.output
            time.sleep(0.02)

    def restored(self) -> bytes:
        """What was printed to the end, with the terminal as it was, and no QEMU left."""
        assert self.state() == self.before
        self.until(b"\x1b[0m\x1b[?25h\x1b[?1049l")
        end = time.monotonic() + SECONDS
        # ended before we could wait for it, it dies with us, and is buried by process 1
        while Path(f"/proc/{self.pid.read_text()}").exists():
            assert time.monotonic() < end, self.output
            time.sleep(0.02)
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

    usual = image

    def begin(play: str, *words: str, image: Path = usual) -> Terminal:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(Terminal(folder, image, play, *words))
        return made[-1]

    yield begin
    for terminal in made:
        terminal.close()


@pytest.mark.parametrize(
    ("play", "status", "told"),
    [
        ("ready(); os.kill(os.getpid(), signal.SIGKILL)", 7, b"QEMU ended with status -9"),
        ("ready(); sys.exit(3)", 7, b"QEMU ended with status 3"),
        ("ready(); sys.exit(0)", 0, b"hello"),
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
    terminal.until_started()
    os.kill(terminal.child.pid, number)
    assert terminal.child.wait(SECONDS) == 130
    assert b"Traceback" not in terminal.restored()


EVENT = '"[evt] kernel.panic t=1.000000 why=broken cpu=0\\r\\n\\r\\nkernel panic on CPU 0\\r\\n"'
REBOOT = '"[evt] system.reboot t=1.000001\\r\\n"'
HALT = '"[evt] system.halt t=1.000001\\r\\n"'


@pytest.mark.parametrize("end", [HALT, '"second panic on the way; stopped\\r\\n"'])
def test_a_kernel_that_stopped_after_a_panic_ends_the_machine(start: Start, end: str) -> None:
    terminal = start(f"show({EVENT}); show({end}); {WAIT}")
    assert terminal.child.wait(SECONDS) == 7
    assert b"error: the guest's kernel panicked: kernel.panic" in terminal.restored()


@pytest.mark.parametrize(
    "play",
    [f"show({EVENT})", f'show({EVENT} + {HALT} + "# ")', f'show({EVENT} + {HALT}); time.sleep(0.1); show("# ")',
     f"show({EVENT}); time.sleep(2); show({HALT})", f'show({EVENT}); time.sleep(2); show({REBOOT})'],
    ids=["part of one", "a log", "a log in pieces", "long before the end", "long before a reboot"],
)
def test_a_log_of_a_panic_that_a_person_reads_ends_nothing(start: Start, play: str) -> None:
    terminal = start(f"{play}; time.sleep(2); ready()")
    assert terminal.child.wait(SECONDS) == 0
    assert b"panicked" not in terminal.restored()


def test_a_kept_machine_runs_once_and_a_newer_image_is_told(
    start: Start, tmp_path: Path, image: Path, tree: Path
) -> None:
    words = ["--persist", "mine", "-C", str(tree)]
    first = start(WAIT, *words)
    first.until_started()
    second = start("ready()", *words)
    assert second.child.wait(SECONDS) == 7
    second.until(f"machine mine is running already (process {first.child.pid})".encode())
    first.child.terminate()
    assert first.child.wait(SECONDS) == 130
    third = start("ready()", *words)
    assert third.child.wait(SECONDS) == 0
    third.until(b"leaves")
    assert b"note:" not in third.output
    newer = tmp_path / "newer.img"
    shutil.copy(image, newer)
    with newer.open("r+b") as file:
        file.write(b"x")
    fourth = start("ready()", *words, image=newer)
    assert fourth.child.wait(SECONDS) == 0
    fourth.until(b"is not the image that machine mine was made from; the machine keeps its disk")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository with one profile."""
    top = tmp_path / "tree"
    (top / "pipeline/profiles").mkdir(parents=True)
    shutil.copy(ROOT / "pipeline/profiles/qemu.toml", top / "pipeline/profiles")
    (top / "VERSION").write_text("0.1.0\n")
    return top
