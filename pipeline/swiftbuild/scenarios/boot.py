"""A boot to `boot.ready`: the health that a foundation image has. Commands and tests use the same one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from swiftbuild.core.timeline import Phase, phases
from swiftbuild.machine.console import Console
from swiftbuild.machine.media import prepare
from swiftbuild.machine.qemu import Machine, machine
from swiftbuild.machine.spec import Spec
from swiftbuild.model.event import Event

DAMAGE_EVENTS = ("verity.error",)
"""What a machine that works all the same must not report: a block of its base is not what was built."""
DEADLINE_SECONDS = 120.0
"""To `boot.ready`; firmware alone takes 6 s on an idle machine, and emulation shares its host."""


@dataclass(frozen=True)
class Report:
    """What a boot to health showed."""

    spec: Spec
    events: tuple[Event, ...]
    phases: tuple[Phase, ...]
    malformed: tuple[str, ...]

    def document(self) -> dict[str, object]:
        """For `--json`."""
        ready = self.phases[-1]
        return {
            "ready": True,
            "profile": self.spec.profile,
            "way": self.spec.way.value,
            "cpus": self.spec.cpus,
            "guest_seconds": ready.time,
            "wall_seconds": ready.wall,
            "phases": [phase.model_dump() for phase in self.phases],
            "events": [event.model_dump() for event in self.events],
            "malformed_events": list(self.malformed),
        }


@contextmanager
def booting(
    spec: Spec, image: Path, *, folder: Path | None = None, slot: str = "base_a",
    on_wait: Callable[[], None] | None = None,
) -> Iterator[Machine]:  # fmt: skip
    """A machine started from an image that is never written."""
    with machine(spec, lambda here: prepare(spec, image, here, slot=slot), folder=folder, on_wait=on_wait) as running:
        yield running


def wait_ready(
    running: Machine, *, seconds: float = DEADLINE_SECONDS, on_event: Callable[[Event], None] | None = None
) -> Report:
    """Waits for health; each event is shown as it comes. A base that is damaged is not healthy, whatever runs on it."""
    console = running.console
    console.wait(_watch(console, on_event), seconds=seconds, what="event boot.ready")
    damage = next((event for event in console.events if event.name in DAMAGE_EVENTS), None)
    if damage:
        raise console.error(f"the machine is up, but its base is damaged: {damage.line()}")
    events = tuple(console.events)
    return Report(running.spec, events, phases(events), tuple(console.malformed))


def _watch(console: Console, on_event: Callable[[Event], None] | None) -> Callable[[], Event | None]:
    shown = 0

    def check() -> Event | None:
        nonlocal shown
        for event in console.events[shown:]:
            shown += 1
            if on_event:
                on_event(event)
            if event.name == "boot.ready":
                return event
        return None

    return check
