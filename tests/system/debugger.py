"""QEMU's debugger door (GDB remote serial protocol): faults from outside, in an image that has no switch for them."""

from __future__ import annotations

import socket
import time
from pathlib import Path

from swiftbuild.machine.media import mapped
from swiftbuild.machine.qemu import Machine
from swiftbuild.model.release import SectionType
from swiftbuild.wire import gpt, release, symbols

SECONDS = 60.0
PC, PSTATE = 32, 33
"""Numbers of registers, as QEMU describes an AArch64 CPU."""
KERNEL_MASKED = 0x3C5
"""PSTATE at EL1 on its own stack, every interrupt masked."""
BRANCH_TO_ITSELF = "00000014"


def door(path: Path) -> tuple[str, ...]:
    """QEMU's arguments."""
    return "-gdb", f"unix:{path},server=on,wait=off"


def function(image: Path, name: str) -> int:
    """Where a function of the image's kernel is."""
    with mapped(image) as disk:
        base = gpt.read(disk).named("base_a")
        assert base
        slot = release.read_slot(disk[base.first * 512 : (base.last + 1) * 512])
        found = [address for address, known in symbols.decode(slot.section(SectionType.SYMBOLS)) if known == name]
    assert len(found) == 1, f"{len(found)} functions are called {name}"
    return found[0]


class Debugger:
    """At a machine's door; while it holds the machine, nothing runs."""

    def __init__(self, running: Machine, path: Path) -> None:
        self.console = running.console
        self.line = socket.socket(socket.AF_UNIX)
        self.line.connect(str(path))
        self.line.settimeout(0.1)
        self.taken = b""
        self.stopped()  # who comes in stops the machine
        self.say("qXfer:features:read:target.xml:0,1000")  # only who has read what registers there are may write one
        assert self.answer().startswith(("l", "m"))

    def __enter__(self) -> Debugger:
        return self

    def __exit__(self, *_: object) -> None:
        self.line.close()

    def _byte(self) -> bytes:
        end = time.monotonic() + SECONDS
        while not self.taken:
            assert time.monotonic() < end, "QEMU does not answer"
            try:
                self.taken = self.line.recv(4096)
                assert self.taken, "QEMU closed the door"
            except TimeoutError:
                self.console.pump(0.1)  # a machine whose console nobody reads stands still
        first, self.taken = self.taken[:1], self.taken[1:]
        return first

    def answer(self) -> str:
        """The next packet."""
        while self._byte() != b"$":
            pass
        text = b""
        while (byte := self._byte()) != b"#":
            text += byte
        self._byte(), self._byte()
        self.line.sendall(b"+")
        return text.decode()

    def say(self, text: str) -> None:
        """Sends a packet."""
        self.line.sendall(f"${text}#{sum(text.encode()) % 256:02x}".encode())

    def do(self, text: str) -> None:
        """A command that is answered by OK."""
        self.say(text)
        assert (answer := self.answer()) == "OK", f"{text}: {answer}"

    def hold(self) -> None:
        """Stops the machine."""
        self.line.sendall(b"\x03")
        self.stopped()

    def stopped(self) -> None:
        """Waits until it has stopped."""
        end = time.monotonic() + SECONDS
        while not (answer := self.answer()).startswith(("T", "S")):
            assert time.monotonic() < end, answer

    def go_on(self) -> None:
        """Lets the machine run."""
        self.say("c")

    def stop_at(self, address: int) -> None:
        """Runs until somebody comes to an address."""
        self.do(f"Z0,{address:x},4")
        self.go_on()
        self.stopped()
        self.do(f"z0,{address:x},4")

    def make_endless(self, address: int) -> None:
        """Who comes to this function of the kernel stays there."""
        self.do(f"M{address:x},4:{BRANCH_TO_ITSELF}")

    def send_cpu(self, cpu: int, address: int) -> None:
        """This CPU goes on at an address, with every interrupt masked."""
        self.do(f"Hg{cpu + 1:x}")
        for number, value in ((PSTATE, KERNEL_MASKED), (PC, address)):
            size = 4 if number == PSTATE else 8
            self.do(f"P{number:x}={value.to_bytes(size, 'little').hex()}")
