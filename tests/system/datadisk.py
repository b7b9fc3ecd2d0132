"""A machine's disk from boot to boot, and the volume on it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from swiftbuild.machine.spec import failing
from swiftbuild.scenarios import disk

from tests.system.conftest import ROOT, image_of, password, spec

MACHINES = {"qemu": spec("qemu", way="direct", cpus=2), "hetzner": spec("hetzner", cpus=2)}
NODE = {"qemu": "vda6", "hetzner": "sda6"}
"""What the kernel calls the data partition."""


class Disk(disk.Disk):
    """A machine's disk, from boot to boot, and the volume on it."""

    def __init__(self, profile: str, folder: Path, *packages: str, image: Path | None = None) -> None:
        chosen = image or image_of(profile, *packages)
        super().__init__(MACHINES[profile], chosen, folder, password=password(profile, "root"))

    def errors(self, *errors: Mapping[str, object]) -> None:
        """From now on the disk answers with these errors, or again with none."""
        monitor, name = self.running.monitor(), "disk-0"
        if errors:
            name = "broken"
            monitor.execute("blockdev-add", **failing(*errors), **{"node-name": name, "image": "disk-0"})
        monitor.execute("blockdev-reopen", options=[{**disk.THROUGH, "node-name": "disk", "file": name}])
        if not errors:
            monitor.execute("blockdev-del", **{"node-name": "broken"})

    def check(self, *, status: int = 0) -> str:
        """`swiftbuild data fsck` reads every byte of the volume's metadata."""
        raw = self.folder / "disk.img"
        self.raw(raw)
        words = [sys.executable, "-m", "swiftbuild", "-q", "data", "fsck", str(raw)]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout
