"""A machine on the user's own terminal."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from swiftbuild.errors import BootError, ToolError
from swiftbuild.machine.qemu import ENVIRONMENT, SETPRIV
from swiftbuild.machine.slots import slot
from swiftbuild.machine.spec import Media, Spec, arguments


def interact(machine: Spec, media: Media, *, on_wait: Callable[[], None] | None = None) -> None:
    """Runs QEMU with the serial line on stdin and stdout until it ends; Ctrl-A X ends it."""
    with slot(on_wait) as lock:
        argv = [*SETPRIV, *arguments(machine, media, console="mon:stdio")]
        try:
            # it stays in our process group: it must be the terminal's foreground job
            status = subprocess.run(argv, env=ENVIRONMENT, pass_fds=(lock,), check=False).returncode
        except OSError as error:
            hint = "swiftbuild doctor names what is missing"
            raise ToolError(f"cannot start {Path(argv[0]).name}: {error}", hint=hint) from error
    if status:
        raise BootError(f"QEMU ended with status {status}")
