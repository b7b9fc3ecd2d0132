"""`swiftbuild boot`: starts an image, waits for health, prints how the time was spent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swiftbuild.cli.session import Session, command

if TYPE_CHECKING:
    from swiftbuild.machine.spec import Spec
    from swiftbuild.model.event import Event
    from swiftbuild.scenarios.boot import Report

ImageArgument = Annotated[
    Path | None, typer.Argument(metavar="IMAGE", help="A disk image; without it the last one built for --profile.")
]
ProfileOption = Annotated[
    str | None, typer.Option("--profile", "-p", help="The machine to play: qemu or hetzner. An image knows its own.")
]
WayOption = Annotated[
    str | None, typer.Option("--way", help="Way in: direct (-kernel), uefi-fdt or uefi-acpi. Default: the profile's.")
]
CpusOption = Annotated[int | None, typer.Option("--cpus", help="Processors, 1 to 8. Default: the profile's.")]
WatchdogOption = Annotated[
    bool, typer.Option("--watchdog", help="Give the machine a watchdog (i6300esb), which resets it when it hangs.")
]


@command
def boot(
    session: Session,
    image: ImageArgument = None,
    *,
    profile: ProfileOption = None,
    way: WayOption = None,
    cpus: CpusOption = None,
    watchdog: WatchdogOption = False,
    deadline: Annotated[float, typer.Option(help="Seconds until boot.ready must have come.", min=1)] = 120.0,
    log: Annotated[Path | None, typer.Option(help="Keep the console's bytes in this file.")] = None,
) -> None:
    """Boot an image under QEMU and wait until it reports health (the event boot.ready).

    The image is never written: the machine works on an overlay. Exit status 0: healthy; 7: not in time, a panic, or
    nothing to boot, with the last lines of the console. -v shows every event as it comes.

    Example: swiftbuild boot --profile qemu --way direct --cpus 4
    """
    from swiftbuild.machine.images import locate, profile_of
    from swiftbuild.scenarios.boot import booting, wait_ready

    path = locate(session.root, image, profile)
    machine = playing(session, profile or profile_of(path), way=way, cpus=cpus, watchdog=watchdog)
    session.note(f"booting {path} ({machine.profile}, {machine.way.value}, {machine.cpus} CPU) …")

    def show(event: Event) -> None:
        session.note(f"{event.wall:8.2f} s  {event.line()}", level=1)

    def waiting() -> None:
        session.note("waiting for a free machine slot …")

    with booting(machine, path, on_wait=waiting) as running:
        try:
            report = wait_ready(running, seconds=deadline, on_event=show)
        finally:
            if log:
                log.write_bytes((running.folder / "console.log").read_bytes())
    for fault in report.malformed:
        session.note(f"warning: {fault}")
    session.result(report.document(), table(report))


def playing(session: Session, profile: str, *, way: str | None, cpus: int | None, watchdog: bool = False) -> Spec:
    """The machine that a profile's file describes."""
    from swiftbuild.effects.project import load_profile
    from swiftbuild.machine.spec import spec

    return spec(profile, load_profile(session.root, profile).board, way=way, cpus=cpus, watchdog=watchdog)


def table(report: Report) -> str:
    """The timeline as text."""
    rows = [f"{'phase':<14} {'guest s':>9} {'took s':>9} {'wall s':>8}  ends with"]
    rows += [f"{p.name:<14} {p.time:9.3f} {p.took:9.3f} {p.wall:8.2f}  {p.event}" for p in report.phases]
    return "\n".join([*rows, f"healthy after {report.phases[-1].wall:.2f} s"])
