"""The console against a guest that is played: it must say yes, and above all it must say no."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from swiftbuild.errors import BootError
from swiftbuild.machine.console import Console


@pytest.fixture
def line() -> Iterator[tuple[Console, socket.socket]]:
    """A console and the guest's end of it."""
    ours, guest = socket.socketpair()
    console = Console(ours)
    yield console, guest
    console.close()
    guest.close()


Line = tuple[Console, socket.socket]


def test_an_event_is_found_with_its_fields(line: Line) -> None:
    console, guest = line
    guest.sendall(b"[evt] cpu.online t=1.000000 cpu=0\r\n[evt] cpu.online t=1.000001 cpu=1\r\n")
    assert console.event("cpu.online", seconds=5, cpu="1").time == 1.000001
    assert [e.get("cpu") for e in console.events] == ["0", "1"]


def test_an_event_that_is_missing_is_an_error_at_the_deadline(line: Line) -> None:
    console, guest = line
    guest.sendall(b"[evt] cpu.online t=1.000000 cpu=0\r\n")
    with pytest.raises(BootError, match=r"waited 0.2 s for event boot.ready, in vain(.|\n)*cpu=0"):
        console.event("boot.ready", seconds=0.2)


def test_a_panic_ends_the_wait_at_once(line: Line) -> None:
    console, guest = line
    guest.sendall(b'[evt] kernel.panic t=1.000000 why="no memory" cpu=0\r\nbacktrace:\r\n')
    started = time.monotonic()
    with pytest.raises(BootError, match=r"kernel.panic t=1.000000 why=no memory(.|\n)*backtrace"):
        console.event("boot.ready", seconds=60)
    assert time.monotonic() - started < 30


@pytest.mark.parametrize(
    ("events", "ends"),
    [
        (b'[evt] boot.failed t=1.000000 what=service why="login: exec"\n', True),
        (b"[evt] loader.error t=1.000000 what=boot where=disk why=none\n", True),
        (b"[evt] loader.error t=1.000000 what=digest where=a why=bad\n[evt] boot.ready t=2.000000\n", False),
        (b"[evt] service.failed t=1.000000 name=x what=exec why=y\n[evt] boot.ready t=2.000000\n", False),
    ],
)
def test_only_what_cannot_be_recovered_from_ends_the_wait(line: Line, events: bytes, ends: bool) -> None:
    console, guest = line
    guest.sendall(events)
    if ends:
        with pytest.raises(BootError, match=r"(boot.failed|loader.error) t=1"):
            console.event("boot.ready", seconds=60)
    else:
        console.event("boot.ready", seconds=60)


def test_success_counts_even_when_a_failure_follows(line: Line) -> None:
    console, guest = line
    guest.sendall(b"[evt] boot.ready t=1.000000\r\n[evt] kernel.panic t=1.000001 why=late\r\n")
    assert console.event("boot.ready", seconds=5).time == 1.0


@pytest.mark.parametrize(
    "text",
    ["Synchronous Exception at 0x0000000047D3", "BdsDxe: No bootable option or device was found.",
     ">>Start PXE over IPv4.", 'BdsDxe: starting Boot0001 "EFI Internal Shell" from Fv', "ASSERT [Dxe] x.c(3): 0"],
)  # fmt: skip
def test_a_failing_firmware_ends_the_wait(line: Line, text: str) -> None:
    console, guest = line
    guest.sendall(b"\x1b[2J\x1b[01;01H" + text.encode() + b"\r\n")
    with pytest.raises(BootError, match="the firmware"):
        console.event("loader.start", seconds=60)


def test_the_machines_end_ends_the_wait(line: Line) -> None:
    console, guest = line
    guest.close()
    with pytest.raises(BootError, match=r"the machine ended while waiting for event boot.ready"):
        console.event("boot.ready", seconds=60)


def test_a_malformed_event_is_kept_as_a_fault(line: Line) -> None:
    console, guest = line
    guest.sendall(b"[evt] boot.ready time=3\n[evt] a.b t=1.000000\n")
    console.event("a.b", seconds=5)
    assert console.malformed == ["event without name or time: '[evt] boot.ready time=3'"]


def test_expect_moves_on_and_typing_arrives(line: Line) -> None:
    console, guest = line

    def shell() -> None:
        guest.sendall(b"login: ")
        assert guest.recv(100) == b"root\n"
        guest.sendall(b"root\r\nPassword: ")

    thread = threading.Thread(target=shell)
    thread.start()
    console.expect("login: ", seconds=5)
    console.send("root\n")
    console.expect("Password: ", seconds=5)
    thread.join()
    with pytest.raises(BootError, match="in vain"):
        console.expect("Password: ", seconds=0.1)


def test_a_guest_that_floods_is_stopped(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swiftbuild.machine.console.TEXT_BYTES_MAX", 1000)
    console, guest = line
    guest.sendall(b"x" * 2000)
    with pytest.raises(BootError, match="printed more"):
        console.event("boot.ready", seconds=60)


def test_everything_is_logged_as_it_came(tmp_path: Path) -> None:
    ours, guest = socket.socketpair()
    console = Console(ours, tmp_path / "log")
    guest.sendall(b"\x1b[2Jraw\xff\r\n")
    console.expect("raw", seconds=5)
    assert (tmp_path / "log").read_bytes() == b"\x1b[2Jraw\xff\r\n"
    console.close()
    guest.close()
