"""A machine's disk from boot to boot, and the volume on it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from swiftbuild.machine.media import prepare
from swiftbuild.machine.qemu import Machine, machine
from swiftbuild.machine.spec import QEMU_IMG, Media, Spec, failing
from swiftbuild.scenarios.session import Person

from tests.system.conftest import BOOT_SECONDS, ROOT, as_root, image_of, spec

MACHINES = {"qemu": spec("qemu", way="direct", cpus=2), "hetzner": spec("hetzner", cpus=2)}
NODE = {"qemu": "vda6", "hetzner": "sda6"}
"""What the kernel calls the data partition."""
THROUGH = {"driver": "raw"}


class Disk:
    """A machine's disk, from boot to boot."""

    def __init__(
        self, profile: str, folder: Path, *packages: str, image: Path | None = None, spec: Spec | None = None
    ) -> None:
        self.spec: Spec = spec or MACHINES[profile]
        self.folder = folder
        self.boots = 0
        # An innermost filter that does nothing, so that another node can take its file's place.
        self.media: Media = replace(
            prepare(self.spec, image or image_of(profile, *packages), folder), filters=(THROUGH,))

    @contextmanager
    def started(self) -> Iterator[Machine]:
        """A boot of which nothing is expected."""
        self.boots += 1
        folder = self.folder / f"boot-{self.boots}"
        folder.mkdir()
        print(f"console log: {folder / 'console.log'}")
        with machine(self.spec, lambda _: self.media, folder=folder) as running:
            self.running: Machine = running
            yield running

    @contextmanager
    def boot(self) -> Iterator[Person]:
        """root at the prompt."""
        with self.started() as running:
            yield as_root(running)

    def events(self, name: str) -> list[dict[str, str]]:
        """Those of the boot that runs, or ran last."""
        return [dict(event.fields) for event in self.running.console.events if event.name == name]

    def stop(self, person: Person, command: str, reason: str) -> None:
        """The guest ends the machine."""
        person.console.send(f"{command}\n")
        assert self.running.ended(seconds=BOOT_SECONDS) == reason
        assert self.events("data.error") == []

    def errors(self, *errors: Mapping[str, object]) -> None:
        """From now on the disk answers with these errors, or again with none."""
        monitor, name = self.running.monitor(), "disk-0"
        if errors:
            name = "broken"
            monitor.execute("blockdev-add", **failing(*errors), **{"node-name": name, "image": "disk-0"})
        monitor.execute("blockdev-reopen", options=[{**THROUGH, "node-name": "disk", "file": name}])
        if not errors:
            monitor.execute("blockdev-del", **{"node-name": "broken"})

    def cut(self) -> None:
        """QEMU ends at once: what the guest has not handed to its disk is gone."""
        self.running.monitor().execute("quit")
        self.running.process.wait(BOOT_SECONDS)

    def raw(self, out: Path) -> None:
        """A copy of the disk as it is."""
        assert self.media.disk
        subprocess.run([QEMU_IMG, "convert", "-O", "raw", str(self.media.disk), str(out)], check=True)

    def check(self, *, status: int = 0) -> str:
        """`swiftbuild data fsck` reads every byte of the volume's metadata."""
        raw = self.folder / "disk.img"
        self.raw(raw)
        words = [sys.executable, "-m", "swiftbuild", "-q", "data", "fsck", str(raw)]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout
