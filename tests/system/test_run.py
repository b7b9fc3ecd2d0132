"""`swiftbuild run` with a person at a terminal: a reboot starts the machine again, a panic ends it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pexpect
import pytest

from tests.system.conftest import BOOT_SECONDS, PROMPT, ROOT, image_of, password

pytestmark = [pytest.mark.system, pytest.mark.session_test, pytest.mark.xdist_group("run")]
PANIC = """\
import sys, tempfile
from pathlib import Path
from swiftbuild.cli.boot import playing
from swiftbuild.cli.session import Session
from swiftbuild.errors import BootError
from swiftbuild.machine.interactive import interact
from swiftbuild.machine.media import prepare
root, image = map(Path, sys.argv[1:3])
with tempfile.TemporaryDirectory() as folder:
    machine = playing(Session(root), "qemu", way="direct", cpus=2)
    media = prepare(machine, image, Path(folder), command_line=sys.argv[3])
    try:
        interact(machine, media)
    except BootError as error:
        sys.exit(error.message)
"""


@contextmanager
def terminal(*words: str) -> Iterator[pexpect.spawn]:
    """A child on a terminal of its own; its console stands in the test's output."""
    child = pexpect.spawn(sys.executable, list(words), cwd=str(ROOT), timeout=BOOT_SECONDS, encoding="utf-8",
                          codec_errors="replace")
    child.logfile_read = sys.stdout
    try:
        yield child
    finally:
        child.close(force=True)


def test_a_reboot_of_the_guest_starts_it_again() -> None:
    with terminal("-m", "swiftbuild", "run", str(image_of("qemu")), "--way", "direct", "--cpus", "2") as child:
        for last_words in ("reboot", "poweroff"):
            child.expect_exact(PROMPT)
            child.sendline("root")
            child.expect_exact("Password: ")
            child.sendline(password("qemu", "root"))
            child.expect_exact("root@swift-os:~# ")
            child.sendline(last_words)
        child.expect(pexpect.EOF)
        child.wait()
        assert child.exitstatus == 0


@pytest.mark.parametrize("policy", ["panic=test panic=reboot", "panic=test"])
def test_a_kernel_that_panicked_is_not_started_again(policy: str) -> None:
    with terminal("-c", PANIC, str(ROOT), str(image_of("qemu")), policy) as child:
        child.expect(r"the guest's kernel panicked: kernel.panic [^\n]*panic=test cpu=")
        assert child.before.count("\nkernel panic on CPU") == 1
        assert "last events:" in child.before, "the report was printed to its end"
        child.expect(pexpect.EOF)
        child.wait()
        assert child.exitstatus == 1
