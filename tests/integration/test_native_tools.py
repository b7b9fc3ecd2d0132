"""The native tools as arm64 programs on Linux, under qemu's user mode."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from tests.guests import as_ordinary_user, build, command, program


@pytest.fixture(scope="module", autouse=True)
def built() -> None:
    build("tools")


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def tool(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(name, "tools", *arguments), capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("arguments", [(), ("-u",), ("-g",), ("-G",), ("-un",), ("-gn",), ("-Gn",), ("-ru",), ("root",),
                                       ("daemon",), ("-G", "daemon"), ("-nu", "daemon")])  # fmt: skip
def test_id_says_what_coreutils_say(arguments: tuple[str, ...]) -> None:
    theirs = subprocess.run(["/usr/bin/id", *arguments], capture_output=True, text=True, check=True)
    assert tool("id", *arguments).stdout == theirs.stdout


@pytest.mark.parametrize(("words", "status", "complaint"), [
    ("id nobody-here", 1, "id: 'nobody-here': no such user"),
    ("id -u -g", 2, "id: only one of -u, -g and -G can be had"),
    ("id -n", 2, "id: -n and -r need one of -u, -g and -G"),
    ("top -x", 2, "top: unknown argument '-x'"),
    ("top -n 0", 2, "top: -n needs a number from 1 to 1000000"),
    ("top", 2, "top: input and output are no terminal; use -b"),
    ("events -x", 2, "events: unknown argument '-x'"),
    ("events", 1, "events: /proc/events: no such file or directory"),
    ("reboot now", 2, "reboot: unknown argument 'now'"),
    ("frobnicate", 2, "tools: no tool is named 'frobnicate'"),
])  # fmt: skip
def test_each_complaint_is_clear(words: str, status: int, complaint: str) -> None:
    done = tool(*words.split())
    assert done.returncode == status
    assert done.stderr.startswith(complaint)
    assert done.stdout == ""


@pytest.mark.parametrize("name", ["id", "top", "events", "health", "halt", "poweroff", "reboot"])
def test_help_is_given(name: str) -> None:
    done = tool(name, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: {name}")


@pytest.mark.parametrize("name", ["halt", "poweroff", "reboot"])
@pytest.mark.parametrize("force", [(), ("-f",)])
def test_only_root_stops_the_machine(name: str, force: tuple[str, ...], folder: Path) -> None:
    folder.chmod(0o755)
    copy = folder / "tools"
    copy.write_bytes(program("tools").read_bytes())
    words = as_ordinary_user(["/usr/bin/qemu-aarch64", "-0", name, str(copy), *force])
    copy.chmod(0o755)
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (1, f"{name}: only root can do that\n")


def test_top_shows_each_cpu_and_itself() -> None:
    words = command("top", "tools", "-b", "-n", "2", "-d", "1")
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as top:
        output = top.communicate(timeout=60)[0]
    stat = Path("/proc/stat").read_text().splitlines()
    cpus = sum(1 for line in stat if line.startswith("cpu") and line[3].isdigit())
    shown = [line for line in output.splitlines() if line.startswith("cpu")]
    assert len(shown) == 2 * cpus
    assert all(abs(sum(float(word[:-1]) for word in line.split() if word.endswith("%")) - 100) < 0.3 for line in shown)
    assert sum(1 for line in output.splitlines() if line.split()[:2] == [str(top.pid), str(os.getpid())]) == 2


def test_top_on_a_terminal_ends_by_a_key_and_leaves_it_as_it_was() -> None:
    qemu, *arguments = command("top", "tools")
    child = pexpect.spawn(qemu, arguments, encoding="utf-8", timeout=60)
    child.expect_exact("COMMAND")
    assert not child.getecho()
    child.send(" ")
    child.expect_exact("COMMAND")
    child.send("q")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
