"""The played person, at a real shell of this host behind a terminal."""

from __future__ import annotations

import os
import pty
import re
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from swiftbuild.errors import BootError
from swiftbuild.machine.console import Console
from swiftbuild.scenarios.session import PROMPT, Person


@pytest.fixture
def person() -> Iterator[Person]:
    """At the prompt of /bin/sh."""
    ours, theirs = socket.socketpair()
    child, terminal = pty.fork()
    if child == 0:
        os.execve("/bin/sh", ["sh", "-i"], {"PS1": "# ", "PS2": "> ", "PATH": "/usr/bin:/bin"})  # noqa: S606

    def carry(read: int, write: int) -> None:
        with suppress(OSError):
            while data := os.read(read, 4096):
                os.write(write, data)

    for pair in ((terminal, theirs.fileno()), (theirs.fileno(), terminal)):
        threading.Thread(target=carry, args=pair, daemon=True).start()
    console = Console(ours)
    console.expect(r"# $", seconds=20)
    yield Person(console)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    console.close()
    theirs.close()


def test_output_and_status_are_those_of_the_command(person: Person) -> None:
    answer = person.run("echo one; echo 'two  three' >&2; (exit 3)", seconds=20)
    assert (answer.text, answer.status) == ("one\ntwo  three", 3)
    assert person.output("printf 'no newline'") == "no newline"
    assert person.output("true") == ""


def test_a_failing_command_is_an_error(person: Person) -> None:
    with pytest.raises(BootError, match="'false' ended with status 1"):
        person.output("false")


def test_a_command_that_does_not_end_is_an_error(person: Person) -> None:
    with pytest.raises(BootError, match="in vain"):
        person.run("sleep 1000", seconds=0.5)


def test_files_arrive_as_they_are(person: Person, tmp_path: Path) -> None:
    files = {"a.sh": b"echo \tq'uo\"tes $HOME\n" * 40, "b.bin": bytes(range(256)) * 8}
    person.unpack(str(tmp_path / "in"), files)
    assert {name: (tmp_path / "in" / name).read_bytes() for name in files} == files
    person.type_file(str(tmp_path / "text"), "line\n  $HOME\n\nlast")
    assert (tmp_path / "text").read_text() == "line\n  $HOME\n\nlast\n"


def test_a_prompt_is_the_last_that_is_shown() -> None:
    event = '[evt] block.error t=1.5 what=vdc why="I/O error"\n'
    for text in ("root@swift-os:~# ", "guest@swift-os:/$ ", f"root@swift-os:~# \n{event}root@swift-os:~# "):
        assert re.search(PROMPT, text), text
    for text in ("", ">>1 0\n", f"root@swift-os:~# \n{event}", f"root@swift-os:~# \n{event}root@swift-os:~# ls"):
        assert not re.search(PROMPT, text), text
