"""Images that cannot boot: each says so, with what and why, and `swiftbuild boot` ends with status 7."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from swiftbuild.cli.app import app
from swiftbuild.errors import BootError
from swiftbuild.machine.media import direct
from swiftbuild.machine.qemu import machine
from swiftbuild.model.release import SectionType
from swiftbuild.scenarios.boot import booting, wait_ready
from swiftbuild.wire import release
from typer.testing import CliRunner

from tests.system.conftest import BOOT_SECONDS, image_of, spec
from tests.variants import esp_only, installed, rebuilt, slot_image

pytestmark = [pytest.mark.system, pytest.mark.boot_test]
DIRECT = spec("qemu", way="direct", cpus=1)
UEFI = spec("qemu", way="uefi-acpi", cpus=1, network=False)


def refusal(base: bytes, folder: Path) -> str:
    """What a direct boot of this base ends with."""
    media = direct(base, folder, what="test")
    with machine(DIRECT, lambda _: media, folder=folder) as running, pytest.raises(BootError) as raised:
        wait_ready(running, seconds=BOOT_SECONDS)
    assert "in vain" not in raised.value.message, raised.value.message
    return raised.value.message


def test_a_corrupt_erofs_superblock_is_named(tmp_path: Path) -> None:
    base = slot_image(image_of("qemu"))
    erofs = bytearray(release.read_slot(base).section(SectionType.EROFS))
    erofs[1024] ^= 1
    message = refusal(rebuilt(base, {SectionType.EROFS: bytes(erofs)}), tmp_path)
    assert "base.failed" in message
    assert "erofs" in message.lower()


def test_a_base_without_init_is_named(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for folder in ("dev", "proc", "run", "sys", "tmp"):
        (root / folder).mkdir(parents=True)
    empty = tmp_path / "empty.erofs"
    subprocess.run(["/usr/bin/mkfs.erofs", "--quiet", str(empty), str(root)], check=True, capture_output=True)
    base = rebuilt(slot_image(image_of("qemu")), {SectionType.EROFS: empty.read_bytes()})
    message = refusal(base, tmp_path)
    assert "init.failed" in message


def test_kernels_that_are_none_are_refused_by_the_loader_and_by_the_command(tmp_path: Path) -> None:
    """Slot A holds a truncated ELF, slot B one of another machine; both under digests that are right."""
    base = slot_image(image_of("qemu"))
    kernel = bytes(release.read_slot(base).section(SectionType.KERNEL))
    wrong = bytearray(kernel)
    wrong[18] = 62  # e_machine: x86-64
    cut, foreign = (rebuilt(base, {SectionType.KERNEL: k}) for k in (kernel[:8192], bytes(wrong)))
    disk = installed(image_of("qemu"), tmp_path / "disk.img", cut, foreign)
    log = tmp_path / "console"
    done = CliRunner().invoke(app, ["--json", "boot", str(disk), "--way", "uefi-acpi", "--cpus", "1", "--deadline",
                                    str(BOOT_SECONDS), "--log", str(log)])  # fmt: skip
    assert done.exit_code == BootError.exit_code, done.output
    error = json.loads(done.stdout)["error"]
    assert "loader.error" in error and "what=boot" in error
    lines = [line for line in log.read_text(errors="replace").splitlines() if "[evt] loader.error" in line]
    assert [part for line in lines for part in ("where=a", "where=b") if part in line] == ["where=a", "where=b"], lines
    assert "kernel" in lines[0] and "kernel" in lines[1]


def test_a_missing_loader_is_said_by_the_harness(tmp_path: Path) -> None:
    disk = esp_only(tmp_path / "esp.img", {"EFI/BOOT/README": b"no loader here"})
    with booting(UEFI, disk, folder=tmp_path) as running, pytest.raises(BootError, match="the firmware found nothing"):
        wait_ready(running, seconds=BOOT_SECONDS)


def test_what_does_not_come_is_an_error(tmp_path: Path) -> None:
    """The harness says no to a machine that is right but does not do what was asked for."""
    media = direct(slot_image(image_of("qemu")), tmp_path, what="test")
    with machine(DIRECT, lambda _: media, folder=tmp_path) as running:
        running.console.event("cpu.online", cpu="0", seconds=BOOT_SECONDS)
        with pytest.raises(BootError, match=r"waited 3 s for event cpu.online cpu=1, in vain"):
            running.console.event("cpu.online", cpu="1", seconds=3)
        running.process.kill()
        with pytest.raises(BootError, match="the machine ended"):
            running.console.event("cpu.online", cpu="1", seconds=60)
