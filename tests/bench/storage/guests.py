"""The two systems that do the work: this one with /data, and Linux with ext4, on the same board and a disk of the same
room."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from swiftbuild.cli.progress import reporter
from swiftbuild.cli.workshop import NETWORK_VARIABLES
from swiftbuild.effects.apt import Apt
from swiftbuild.effects.process import Processes
from swiftbuild.effects.project import load_profile
from swiftbuild.limits import MIB
from swiftbuild.machine import media
from swiftbuild.machine.qemu import Machine, machine
from swiftbuild.machine.spec import Media, Spec, Way, recorder, spec
from swiftbuild.scenarios.boot import wait_ready
from swiftbuild.scenarios.session import Person

from tests import guests
from tests.bench.storage import peer
from tests.fakes import ROOT

SECONDS = 1800.0
DATA_MIB = 1024
"""From 512 MiB on mkfs.ext4 takes blocks of 4 KiB, which is what disks of any use have."""
PROFILE = "qemu"
PACKAGES = ("sqlite3", "workload")


def board() -> Spec:
    """One CPU, the kernel entered directly."""
    return spec(PROFILE, load_profile(ROOT, PROFILE).board, way=Way.DIRECT.value, cpus=1)


@dataclass(frozen=True)
class Guest:
    """A system: what it starts from, how a person comes to its shell, and what he types to stop it in good order."""

    name: str
    media: Media
    shell: Callable[[Machine], Person]
    leave: str

    @contextmanager
    def boot(self, folder: Path, disk: Path, log: Path | None = None, extra: tuple[str, ...] = ()) -> Iterator[Machine]:
        """A machine on a disk; `log` is of what it writes."""
        started = replace(self.media, disk=disk, filters=(recorder(log),) if log else ())
        with machine(replace(board(), extra=extra), lambda _: started, folder=folder) as running:
            yield running

    def prepare(self, folder: Path, lines: tuple[str, ...]) -> Path:
        """A disk on which these were typed, and that was left in good order."""
        folder.mkdir(parents=True)
        assert self.media.disk
        disk = media.overlay(self.media.disk, folder / "prepared.qcow2")
        with self.boot(folder, disk) as running:
            person = self.shell(running)
            for line in lines:
                person.output(line, seconds=SECONDS)
            running.console.send(self.leave)
            running.ended(seconds=SECONDS)
        return disk


def linux(folder: Path) -> Guest:
    """The peer with the programs that are put to work."""
    runner = Processes(reporter(0))
    network = {name: os.environ[name] for name in NETWORK_VARIABLES if name in os.environ}
    debs = peer.Debs(Apt(ROOT / "build" / "apt", runner, network), runner, folder / "debs")
    guests.assemble("sqlite3", folder / "root")
    files = [path for path in (folder / "root" / "usr").rglob("*") if path.is_file()]
    # the archive of an initramfs has no links here, so libraries lie where the program's header looks for ld.so
    programs = {str(path.relative_to(folder / "root")).replace("usr/lib/", "lib/"): path.read_bytes() for path in files}
    guests.build("workload")
    programs["usr/bin/workload"] = guests.program("workload").read_bytes()
    made = peer.make(folder, debs, programs, disk_mib=DATA_MIB)

    def shell(running: Machine) -> Person:
        running.console.expect("peer is ready", seconds=SECONDS)
        running.console.expect(r"[#$] $", seconds=SECONDS)
        return Person(running.console)

    return Guest(f"Linux {made.version}", made.media(), shell, "umount /data; poweroff -f\n")


def ours(folder: Path) -> Guest:
    """This system's image with the same programs; its data partition has grown to the peer's room."""
    folder.mkdir(parents=True)
    words = [word for package in PACKAGES for word in ("--with", package)]
    image = folder / "image.img"
    subprocess.run([sys.executable, "-m", "swiftbuild", "-q", "image", "-p", PROFILE, *words, "-o", str(image)],
                   cwd=ROOT, check=True, stdout=subprocess.DEVNULL)  # fmt: skip
    profile = load_profile(ROOT, PROFILE)
    prepared = media.prepare(board(), image, folder)
    size = image.stat().st_size + (DATA_MIB - profile.disk.data_mib) * MIB
    login = profile.login.root

    def shell(running: Machine) -> Person:
        wait_ready(running, seconds=SECONDS)
        person = Person(running.console)
        person.log_in("root", login.password if login else "")
        return person

    disk = media.overlay(image, folder / "grown.qcow2", size=size)
    return Guest("swift-os", replace(prepared, disk=disk), shell, "poweroff\n")
