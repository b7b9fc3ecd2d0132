"""What a running plan looks like: lines off a terminal, moving lines on one."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest
from swiftbuild.cli.progress import Reporter

SHOW = """
import time
from swiftbuild.cli.progress import reporter
r = reporter(VERBOSITY)
r.started("kernel", "compile [it]", "changed: file a")
r.started("loader", "compile", "never built here")
r.command("cd / && true"); r.output("a line of a child"); r.warning("look out")
time.sleep(0.3)
r.finished("loader", 0.5); r.cached("root"); r.finished("kernel", 1.25)
r.close()
"""


def shown_on_a_terminal(verbosity: int) -> str:
    ours, theirs = pty.openpty()
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    child = subprocess.Popen([sys.executable, "-c", SHOW.replace("VERBOSITY", str(verbosity))], stderr=theirs, env=env)
    os.close(theirs)
    text = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:  # EIO: the other end is closed
            break
        if not piece:
            break
        text += piece
    os.close(ours)
    assert child.wait(30) == 0
    return text.decode()


def test_a_terminal_sees_what_runs_and_what_is_done() -> None:
    text = shown_on_a_terminal(0)
    assert "kernel: compile [it] (changed: file a)" in text
    assert "\x1b[" in text
    assert "done    kernel               1.2 s" in text.replace("\x1b[", "\x1b[")
    assert "warning: look out" in text
    assert "a line of a child" not in text
    assert "a line of a child" in shown_on_a_terminal(2)


def test_quiet_on_a_terminal_has_nothing_that_moves() -> None:
    assert shown_on_a_terminal(-1).replace("\r\n", "\n") == "warning: look out\n"


@pytest.mark.parametrize(("verbosity", "lines"), [(-1, 1), (0, 5), (1, 7), (2, 8)])
def test_lines_by_verbosity(verbosity: int, lines: int, capsys: pytest.CaptureFixture[str]) -> None:
    report = Reporter(verbosity)
    report.started("kernel", "compile it", "never built here")
    report.started("loader", "compile it", "never built here")
    report.command("true")
    report.output("words")
    report.warning("look out")
    report.finished("kernel", 1.0)
    report.finished("loader", 1.0)
    report.cached("root")
    text = capsys.readouterr()
    assert text.out == ""
    assert len(text.err.splitlines()) == lines
    assert report.summary().startswith("2 actions ran, 1 cached")
