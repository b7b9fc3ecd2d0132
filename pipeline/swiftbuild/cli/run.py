"""`swiftbuild run`: a machine on your terminal."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from swiftbuild.cli.boot import CpusOption, ImageArgument, ProfileOption, WatchdogOption, WayOption, playing
from swiftbuild.cli.session import Session, command
from swiftbuild.errors import UsageError


@command
def run(
    session: Session,
    image: ImageArgument = None,
    *,
    profile: ProfileOption = None,
    way: WayOption = None,
    cpus: CpusOption = None,
    watchdog: WatchdogOption = False,
    persist: Annotated[
        str | None, typer.Option("--persist", metavar="NAME", help="Keep the machine under build/machines/NAME.")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="With --persist: make the machine anew.")] = False,
    disk_size: Annotated[
        str | None, typer.Option("--disk-size", metavar="SIZE", help="Grow the machine's disk, as 20G.")
    ] = None,
) -> None:
    """Run an image interactively: the serial console is your terminal. Ctrl-A X leaves, Ctrl-A H helps.

    The image is never written. Without --persist everything is forgotten at the end. A reboot of the guest starts the
    machine again; a kernel that panicked ends it, with exit status 7.

    Example: swiftbuild run --profile qemu --cpus 4
    """
    from swiftbuild.machine.images import locate, profile_of
    from swiftbuild.machine.interactive import interact
    from swiftbuild.machine.persistent import disk_size as parse_size
    from swiftbuild.machine.persistent import kept, once
    from swiftbuild.machine.signals import unwinding

    if session.json:
        raise UsageError("run is interactive and has no JSON result", hint="use swiftbuild boot --json")
    if fresh and not persist:
        raise UsageError("--fresh needs --persist NAME", hint="without --persist every run is fresh")
    if persist and not persist.replace("-", "").replace("_", "").isalnum():
        raise UsageError(f"machine name {persist!r}", hint="letters, digits, - and _")
    path = locate(session.root, image, profile)
    machine = playing(session, profile or profile_of(path), way=way, cpus=cpus, watchdog=watchdog)
    size = parse_size(disk_size) if disk_size else None
    with contextlib.ExitStack() as stack:
        stack.enter_context(unwinding())
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="swiftbuild-machine-"))
        if persist:
            folder = session.root / "build" / "machines" / persist
            known = stack.enter_context(kept(machine, path, folder, size=size, fresh=fresh))
            media = known.media
            if not known.of_this_image:
                session.note(f"note: {path} is not the image that machine {persist} was made from; the machine keeps "
                             "its disk, with the system on it. --fresh makes it anew, without its files")
        else:
            media = once(machine, path, Path(scratch), size=size)
        session.note(f"{machine.profile}, {machine.way.value}, {machine.cpus} CPU; Ctrl-A X leaves")
        sys.stdout.flush()
        interact(machine, media, on_wait=lambda: session.note("waiting for a free machine slot …"))
