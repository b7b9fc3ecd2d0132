"""Boots that tests share: each kind of machine is started once in a worker, and everything is asserted of that boot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from swiftbuild.effects.project import load_profile
from swiftbuild.machine import spec as specs
from swiftbuild.machine.media import prepare
from swiftbuild.machine.qemu import Machine, machine
from swiftbuild.machine.spec import Spec
from swiftbuild.model.event import Event
from swiftbuild.model.profile import Profile
from swiftbuild.scenarios import disk
from swiftbuild.scenarios.boot import Report, wait_ready
from swiftbuild.scenarios.session import Person

ROOT = Path(__file__).resolve().parents[2]
BOOT_SECONDS = disk.BOOT_SECONDS
PROMPT = "swift-os login: "


def spec(profile: str, *, way: str | None = None, cpus: int | None = None, **changes: object) -> Spec:
    """The machine of a profile of this repository, with changes."""
    base = specs.spec(profile, profile_of(profile).board, way=way, cpus=cpus)
    return replace(base, **changes)  # type: ignore[arg-type]


def profile_of(name: str) -> Profile:
    """The profile's file."""
    return load_profile(ROOT, name)


def image_of(profile: str, *packages: str) -> Path:
    """The image that `make images` built, the one with more packages where some are named."""
    path = ROOT / "build" / "images" / f"{'+'.join([profile, *packages])}.img"
    if not path.exists():
        pytest.fail(f"there is no {path}: build it with 'make images'")
    return path


def password(profile: str, user: str) -> str:
    """The built-in password of a dev image."""
    known = profile_of(profile).login
    entry = known.root if user == "root" else known.guest
    assert entry
    return entry.password


def as_root(running: Machine) -> Person:
    """Waits for health and logs root in at the console."""
    return disk.as_root(running, password(running.spec.profile, "root"))


@dataclass(frozen=True)
class Boot:
    """A boot that reached its login prompt."""

    report: Report
    text: str
    log: Path

    def all(self, name: str) -> list[Event]:
        """Every event of that name."""
        return [event for event in self.report.events if event.name == name]

    def one(self, name: str) -> Event:
        """The event of that name, which came once."""
        found = self.all(name)
        assert len(found) == 1, f"{len(found)} events {name}; console: {self.log}"
        return found[0]


Boots = Callable[[Spec], Boot]


def to_prompt(running: Machine) -> Report:
    """Waits for health, then for the login prompt, then until every processor has told of its ticks."""
    wait_ready(running, seconds=BOOT_SECONDS)
    running.console.expect(PROMPT, seconds=BOOT_SECONDS)
    for cpu in range(running.spec.cpus):
        running.console.event("cpu.ticking", cpu=str(cpu), seconds=BOOT_SECONDS)
    return wait_ready(running, seconds=BOOT_SECONDS)


@pytest.fixture(scope="session")
def boots(tmp_path_factory: pytest.TempPathFactory) -> Boots:
    """Boots a machine from its profile's image, once."""
    done: dict[Spec, Boot] = {}

    def boot(wanted: Spec) -> Boot:
        if wanted not in done:
            folder = tmp_path_factory.mktemp(f"{wanted.profile}-{wanted.way.value}-{wanted.cpus}")
            print(f"console log: {folder / 'console.log'}")
            media = prepare(wanted, image_of(wanted.profile), folder)
            with machine(wanted, lambda _: media, folder=folder) as running:
                report = to_prompt(running)
                done[wanted] = Boot(report, running.console.text, folder / "console.log")
        return done[wanted]

    return boot
