"""Releases on a machine: the next version of this tree, as its file is, in the other slot."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from swiftbuild.scenarios.boot import booting

from tests.system.conftest import BOOT_SECONDS, ROOT, image_of, spec
from tests.variants import installed, slot_image

pytestmark = [pytest.mark.system, pytest.mark.boot_test]


def test_a_release_file_is_a_slot_byte_for_byte(tmp_path: Path) -> None:
    file = tmp_path / "next.release"
    subprocess.run([sys.executable, "-m", "swiftbuild", "-q", "release", "build", "-p", "qemu", "--version", "0.1.1",
                    "--rollback-index", "2", "-o", str(file)], cwd=ROOT, check=True, capture_output=True, timeout=600)
    old = slot_image(image_of("qemu"))
    disk = installed(image_of("qemu"), tmp_path / "disk.img", file.read_bytes(), old)
    with booting(spec("qemu", way="uefi-fdt", cpus=1), disk, folder=tmp_path) as running:
        assert running.console.event("loader.slot", slot="a", seconds=BOOT_SECONDS).get("version") == "0.1.1"
        running.console.event("boot.ready", seconds=BOOT_SECONDS)
