"""The program that benchmarks and power cuts put to work, on Linux under qemu's user mode."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.guests import build, command


@pytest.fixture(scope="module", autouse=True)
def built() -> None:
    build("workload")


def work(*words: str, status: int = 0) -> str:
    """Does a piece of work; what it printed."""
    done = subprocess.run(command("workload", "workload", *words), input="\n\n", capture_output=True, text=True,
                          check=False, timeout=120)  # fmt: skip
    assert done.returncode == status, done
    return done.stdout + done.stderr


def test_every_piece_of_work_is_done_and_measured(tmp_path: Path) -> None:
    file = tmp_path / "file"
    for words in (("write-sequential", str(file), "2"), ("read-sequential", str(file)),
                  ("write-random", str(file), "64", "16"), ("read-random", str(file), "64"),
                  ("names", str(tmp_path), "20")):  # fmt: skip
        said = work(*words)
        assert re.fullmatch(r"workload: ready\nworkload: done total_ns=\d+ idle_ns=\d+\n", said), said
    assert file.stat().st_size == 2 << 20
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_random_work_is_the_same_in_every_run(tmp_path: Path) -> None:
    contents = set()
    for name in "ab":
        work("write-sequential", str(tmp_path / name), "1")
        work("write-random", str(tmp_path / name), "50", "0")
        contents.add((tmp_path / name).read_bytes())
    assert len(contents) == 1


def test_a_replaced_file_and_its_mark_agree(tmp_path: Path) -> None:
    work("replace", str(tmp_path / "config"), "7")
    assert (tmp_path / "config").read_text() == "00000007\n" * 600
    assert (tmp_path / "config.mark").read_text() == "00000007\n"
    assert not (tmp_path / "config.new").exists()


def test_a_program_is_run_to_its_end(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(f"#!/bin/sh\necho $1 > {tmp_path}/said\n")
    script.chmod(0o755)
    assert "done" in work("run", str(script), "words")
    assert (tmp_path / "said").read_text() == "words\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run", "/bin/false"), "run /bin/false: ended with status 1"),
        (("run", "/no/such/program"), "ended with status 127"),
        (("read-sequential", "/no/such/file"), "open /no/such/file: no such file"),
        (("read-random", "/dev/null", "5"), "use /dev/null: fewer bytes"),
    ],
)
def test_work_that_fails_says_what_and_why(words: tuple[str, ...], said: str) -> None:
    found = work(*words, status=1)
    assert "workload: failed" in found
    assert said.lower() in found.lower()


def test_work_that_is_none_is_refused() -> None:
    assert "usage: workload WORK" in work("sleep", status=2)
