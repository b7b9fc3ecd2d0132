"""The scripts of tests/guest on Linux, which is their oracle: what they expect of swift-os, Linux does."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pexpect
import pytest

from tests.fakes import ROOT
from tests.guests import QEMU, as_ordinary_user, assemble, build, program, stand_ins

SCRIPTS = ROOT / "tests" / "guest"
# swift.sh is about what only swift-os has; root.sh needs root here as there
NOT_HERE = {"lib.sh", "swift.sh"} | ({"root.sh"} if os.geteuid() != 0 else set())
NAMES = sorted(p.name for p in SCRIPTS.glob("*.sh") if p.name not in NOT_HERE)


@dataclass(frozen=True)
class Oracle:
    """A PATH of arm64 programs, copies of the scripts, and a folder to work in that any user reaches."""

    folder: Path

    def command(self, script: str) -> list[str]:
        words = [str(self.folder / "bin" / "sh"), str(self.folder / "scripts" / script)]
        return as_ordinary_user(words) if script == "guest.sh" else words

    def environment(self) -> dict[str, str]:
        return {"PATH": str(self.folder / "bin"), "HOME": "/", "TERM": "vt100", "TMPDIR": str(self.folder / "tmp")}


@pytest.fixture(scope="module")
def oracle() -> Iterator[Oracle]:
    for package in ("busybox", "tools"):
        build(package)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        shutil.copytree(SCRIPTS, folder / "scripts")
        (folder / "tmp").mkdir()
        (folder / "tmp").chmod(0o1777)
        # the programs too, where every user reaches them
        for package in ("busybox", "tools"):
            shutil.copy(program(package), folder / package)
        bin_folder = stand_ins(folder / "bin")
        for file in bin_folder.iterdir():
            text = file.read_text()
            for package in ("busybox", "tools"):
                text = text.replace(str(program(package)), str(folder / package))
            file.write_text(text)
        words = [QEMU, "-L", str(folder / "root"), str(assemble("sqlite3", folder / "root"))]
        (bin_folder / "sqlite3").write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
        (bin_folder / "sqlite3").chmod(0o755)
        yield Oracle(folder)


def verdict(script: str, output: str, status: int) -> None:
    """Every check passed, and the last line counts as many as were shown."""
    lines = output.replace("\r", "").splitlines()
    checks = [line for line in lines if line.startswith(("ok ", "not ok "))]
    bad = [line for line in checks if line.startswith("not ok ")]
    assert bad == [], output
    assert checks, output
    assert f"{script}: passed {len(checks)} failed 0" in lines, output
    assert status == 0


@pytest.mark.parametrize("script", [name for name in NAMES if name != "jobs.sh"])
def test_script_passes_on_linux(oracle: Oracle, script: str) -> None:
    done = subprocess.run(oracle.command(script), env=oracle.environment(), stdin=subprocess.DEVNULL, timeout=300,
                          capture_output=True, text=True, check=False)
    verdict(script, done.stdout, done.returncode)


def test_job_control_passes_on_linux_with_a_terminal(oracle: Oracle) -> None:
    command, *arguments = oracle.command("jobs.sh")
    child = pexpect.spawn(command, arguments, env=oracle.environment(), encoding="utf-8", timeout=120)
    output = child.read()
    child.close()
    verdict("jobs.sh", output, child.exitstatus)


def test_a_wrong_answer_is_shown_and_counted(oracle: Oracle, tmp_path: Path) -> None:
    script = oracle.folder / "scripts" / "planted.sh"
    script.write_text('. "${0%/*}/lib.sh"\ncheck right 1 1\ncheck wrong 1 2\nyes fails false\nno works true\n'
                      "no missing no-such-program\nfinish\n")
    done = subprocess.run(oracle.command("planted.sh"), env=oracle.environment(), timeout=60, capture_output=True,
                          text=True, check=False)
    assert done.stdout.splitlines() == [
        "ok right", "not ok wrong: expected [1], got [2]", "not ok fails: expected [status 0], got [status 1]",
        "not ok works: expected [status failure], got [status 0]",
        "not ok missing: expected [status failure], got [status 127]", "planted.sh: passed 1 failed 4",
    ]
    assert done.returncode == 1
