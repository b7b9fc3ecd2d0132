"""The dying kernel's report: why, registers, callers by name, the last events; every processor stops."""

from __future__ import annotations

import re
import struct
import time
from dataclasses import replace
from pathlib import Path

import pytest
from swiftbuild.machine.media import prepare
from swiftbuild.machine.qemu import Machine, machine

from tests.system.conftest import BOOT_SECONDS, image_of, spec
from tests.system.hardwaremap.firmware import dump_dtb

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


def packed(tree: bytes) -> bytes:
    """A device tree without the room behind its blocks, of which QEMU adds as much again."""
    _, _, structure, strings, _, _, _, _, strings_size, structure_size = struct.unpack_from(">10I", tree)
    end = max(structure + structure_size, strings + strings_size)
    return tree[:4] + struct.pack(">I", end) + tree[8:end]


def test_a_machine_that_cannot_run_us_starts_again_for_the_other_slot(tmp_path: Path) -> None:
    """The tables name no CPU: the kernel gives up while it reads them, and PSCI is all that it knows."""
    tables = tmp_path / "machine.dtb"
    described = spec("qemu", way="uefi-fdt", cpus=1)
    media = prepare(described, image_of("qemu"), tmp_path)
    tables.write_bytes(packed(dump_dtb(described.hardware(), tables)).replace(b"cpu\0", b"gpu\0"))
    with machine(replace(described, extra=("-dtb", str(tables))), lambda _: media, folder=tmp_path) as running:
        assert running.ended(seconds=BOOT_SECONDS) == "guest-reset"
        console = running.console
        died = next(event for event in console.events if event.name == "kernel.panic")
        assert died.get("why").endswith("cannot run on this machine: the firmware's tables describe no enabled CPU")
        assert console.events[-1].name == "system.reboot"
