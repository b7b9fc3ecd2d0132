"""The one door to child processes: explicit environment, own process group, end with their parent, replayable."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from swiftbuild.core.events import Events
from swiftbuild.errors import CommandError, ToolError
from swiftbuild.limits import OUTPUT_TAIL_LINES

SETPRIV = "/usr/bin/setpriv"
BASE_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"}
GRACE_SECONDS = 3.0


class Runner(Protocol):
    """Runs children. Tests have a second one that plays the tools."""

    def run(self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path = Path("/")) -> str:
        """Runs a child to its end and returns what it printed; raises `CommandError` when it fails."""


def replayable(argv: Sequence[str], env: Mapping[str, str], cwd: Path) -> str:
    """The command as a line for a shell."""
    assignments = [f"{name}={value}" for name, value in sorted(env.items())]
    return f"cd {shlex.quote(str(cwd))} && env -i {shlex.join([*assignments, *argv])}"


class Processes:
    """The real runner."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def run(self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path = Path("/")) -> str:
        """See `Runner`. The child sees BASE_ENVIRONMENT and `env`, nothing of ours."""
        full = {**BASE_ENVIRONMENT, **(env or {})}
        line = replayable(argv, full, cwd)
        self._events.command(line)
        child = self._start(argv, full, cwd)
        text: list[str] = []
        try:
            for printed in child.stdout or ():
                text.append(printed)
                self._events.output(printed.rstrip("\n"))
            status = child.wait()
        except BaseException:  # an interrupt in this thread: the child is ours to end
            _end([child])
            raise
        finally:
            with self._lock:
                self._running.discard(child)
        if status != 0:
            tail = "".join(deque(text, OUTPUT_TAIL_LINES))
            how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
            raise CommandError(f"{Path(argv[0]).name} {how}", command=line, status=status, output=tail)
        return "".join(text)

    def _start(self, argv: Sequence[str], env: Mapping[str, str], cwd: Path) -> subprocess.Popen[str]:
        with self._lock:
            if self._stopped:
                raise KeyboardInterrupt
            # setpriv instead of preexec_fn: prctl(PR_SET_PDEATHSIG) in a forked thread is not safe from Python
            guard = [SETPRIV, "--pdeathsig", "KILL", "--"] if Path(SETPRIV).exists() else []
            try:
                child = subprocess.Popen(
                    [*guard, *argv], cwd=cwd, env=dict(env), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT, text=True, errors="replace", process_group=0, umask=0o022,
                )
            except OSError as error:
                raise ToolError(f"cannot start {argv[0]}: {error.strerror}",
                                hint="swiftbuild doctor names every tool and its fix") from None
            self._running.add(child)
            return child

    def stop(self) -> None:
        """Ends every child with its whole group, and starts no more."""
        with self._lock:
            self._stopped = True
            running = list(self._running)
        _end(running)


def _end(children: Sequence[subprocess.Popen[str]]) -> None:
    for child in children:
        _signal_group(child, signal.SIGTERM)
    for child in children:
        try:
            child.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            _signal_group(child, signal.SIGKILL)


def _signal_group(child: subprocess.Popen[str], number: signal.Signals) -> None:
    if child.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, number)
