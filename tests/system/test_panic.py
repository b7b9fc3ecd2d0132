"""The dying kernel's report: why, registers, callers by name, the last events; every processor stops."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from swiftbuild.machine.media import prepare
from swiftbuild.machine.qemu import Machine, machine

from tests.system.conftest import BOOT_SECONDS, image_of, spec

pytestmark = [pytest.mark.boot_test, pytest.mark.system]
MACHINE = spec("qemu", way="direct", cpus=4)


def dying(running: Machine) -> str:
    """The report, to its last line."""
    console = running.console
    console.failure_events = ()
    event = console.event("kernel.panic", seconds=BOOT_SECONDS)
    assert "panic=test" in event.fields["why"]
    console.expect(r"last events:\n", seconds=BOOT_SECONDS)
    console.event("system.halt", seconds=BOOT_SECONDS)
    return console.text[console.text.index("\nkernel panic on CPU") :]


def test_report_names_callers_and_repeats_events(tmp_path: Path) -> None:
    media = prepare(MACHINE, image_of("qemu"), tmp_path, command_line="panic=test")
    with machine(MACHINE, lambda _: media, folder=tmp_path) as running:
        report = dying(running)
        text = running.console.text
        running.console.pump(1.0)
        assert running.console.text == text, "nobody runs on after the report"
    assert re.search(r"^esr [0-9a-f]{16} ", report, re.MULTILINE)
    callers = re.search(r"called from:\n((?:  .*\n)+)", report)
    assert callers
    assert re.search(r"^  ffff80[0-9a-f]{10} swift_kernel::\S*boot\S*\+0x[0-9a-f]+$", callers[1], re.MULTILINE)
    repeated = report[report.index("last events:\n") :]
    assert "\n  [evt] kernel.entry " in repeated
    assert "\n  [evt] kernel.panic " in repeated
    assert repeated.count("  [evt] ") <= 64


def test_panic_reboot_starts_again(tmp_path: Path) -> None:
    media = prepare(MACHINE, image_of("qemu"), tmp_path, command_line="panic=test panic=reboot")
    with machine(MACHINE, lambda _: media, folder=tmp_path) as running:
        running.console.failure_events = ()
        running.console.event("system.reboot", seconds=BOOT_SECONDS)
        assert running.ended(seconds=BOOT_SECONDS) == "guest-reset"
