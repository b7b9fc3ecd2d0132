"""healthd as an arm64 program on Linux, under qemu's user mode: it sees whether process 1 does its work."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from tests.guests import build, command

OWN_USERS = () if os.geteuid() == 0 else ("--user", "--map-root-user")
SILENT_SECONDS = 45
"""docs/formats/health.md"""
SILENT = '[evt] health.error what=init file=/dev/watchdog why="process 1 does not reap'


@pytest.fixture(scope="module", autouse=True)
def built() -> None:
    for name in ("healthd", "init"):
        build(name)


@pytest.mark.slow
def test_a_process_1_that_reaps_nobody_is_noticed(tmp_path: Path) -> None:
    """Two name spaces of their own: in one process 1 sleeps, in the other it is our init."""
    healthd = shlex.join(command("healthd", "healthd"))
    with tempfile.TemporaryDirectory() as folder:
        services = Path(folder)
        (services / "h.service").write_text("exec = /bin/sh\nargs = /run/start\n")
        init = shlex.join(command("init", "init", "--services", str(services)))
        start = shlex.quote(f"exec {healthd}")
        first = {"sleeps": f"{healthd} & exec sleep 300", "init": f"echo {start} >/run/start; exec {init}"}
        spaces = ["/usr/bin/unshare", *OWN_USERS, "--pid", "--mount", "--uts", "--fork", "--kill-child", "--mount-proc"]
        running = []
        for name, script in first.items():
            with (tmp_path / name).open("wb") as log:
                words = [*spaces, "/bin/sh", "-c", f"mount -t tmpfs tmpfs /run; {script}"]
                running.append(subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log))
        try:
            end = time.monotonic() + SILENT_SECONDS + 60
            while SILENT not in (tmp_path / "sleeps").read_text():
                assert time.monotonic() < end, (tmp_path / "sleeps").read_text()
                time.sleep(0.5)
            assert "health.start" in (tmp_path / "init").read_text()
            assert "what=init" not in (tmp_path / "init").read_text()
        finally:
            for process in running:
                process.kill()
                process.wait(20)
