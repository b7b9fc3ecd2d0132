"""The dying kernel's report: why, registers, callers by name, the last events; every processor stops."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from swiftbuild.machine.media import prepare
from swiftbuild.machine.qemu import Machine, machine

from tests.system.conftest import BOOT_SECONDS, image_of, spec

pytestmark = [pytest.mark.boot_test, pytest.mark.system]
MACHINE = spec("qemu", way="direct", cpus=4)


def report_of(running: Machine, last: str) -> str:
    """What is printed up to `last`, without the harness's own stop at a panic."""
    console = running.console
    end = time.monotonic() + BOOT_SECONDS
    while last not in console.text and not console.closed:
        assert time.monotonic() < end, f"no {last!r} after {BOOT_SECONDS:g} s: {console.text[-2000:]}"
        console.pump(0.25)
    panic = next(event for event in console.events if event.name == "kernel.panic")
    assert "panic=test" in panic.fields["why"]
    return console.text[console.text.index("\nkernel panic on CPU") :]


def test_report_names_callers_and_repeats_events(tmp_path: Path) -> None:
    media = prepare(MACHINE, image_of("qemu"), tmp_path, command_line="panic=test")
    with machine(MACHINE, lambda _: media, folder=tmp_path) as running:
        report = report_of(running, "[evt] system.halt ")
        running.console.pump(1.0)
        text = running.console.text
        running.console.pump(1.0)
        assert running.console.text == text, "nobody runs on after the report"
    assert re.search(r"^esr [0-9a-f]{16} ", report, re.MULTILINE)
    callers = re.search(r"called from:\n((?:  .*\n)+)", report)
    assert callers
    # A closure's own function is called `<function as trait>::method`.
    caller = r"^  ffff80[0-9a-f]{10} <?swift_kernel::boot::\w+.*\+0x[0-9a-f]+$"
    assert re.search(caller, callers[1], re.MULTILINE), report
    repeated = report[report.index("last events:\n") :]
    assert "\n  [evt] kernel.entry " in repeated or repeated.count("  [evt] ") == 64
    assert "\n  [evt] kernel.panic " in repeated


def test_panic_reboot_starts_again(tmp_path: Path) -> None:
    media = prepare(MACHINE, image_of("qemu"), tmp_path, command_line="panic=test panic=reboot")
    with machine(MACHINE, lambda _: media, folder=tmp_path) as running:
        report_of(running, "[evt] system.reboot ")
        assert running.ended(seconds=BOOT_SECONDS) == "guest-reset"
