"""Shows a running plan: live on a terminal (what runs, how long, what was cached), plain lines elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

VERBOSE_COMMANDS, VERBOSE_OUTPUT = 1, 2


class Reporter:
    """`Events` as lines on stderr."""

    def __init__(self, verbosity: int) -> None:
        self.verbosity = verbosity
        self.ran = 0
        self.hits = 0
        self._lock = threading.Lock()
        self.begin = time.monotonic()

    def line(self, text: str) -> None:
        """One line, whole even when several threads talk."""
        with self._lock:
            print(text, file=sys.stderr, flush=True)

    def started(self, action: str, summary: str, why: str) -> None:
        self.ran += 1
        if self.verbosity >= 0:
            self.line(f"  run     {action:20} {summary} ({why})")

    def finished(self, action: str, seconds: float) -> None:
        if self.verbosity >= 0:
            self.line(f"  done    {action:20} {seconds:.1f} s")

    def cached(self, action: str) -> None:
        self.hits += 1
        if self.verbosity >= VERBOSE_COMMANDS:
            self.line(f"  cached  {action}")

    def output(self, line: str) -> None:
        if self.verbosity >= VERBOSE_OUTPUT:
            self.line(f"    {line}")

    def command(self, line: str) -> None:
        if self.verbosity >= VERBOSE_COMMANDS:
            self.line(f"  $ {line}")

    def warning(self, text: str) -> None:
        self.line(f"warning: {text}")

    def waiting(self, pid: int) -> None:
        self.line(f"another build (process {pid}) is running here; waiting for it to end")

    def close(self) -> None:
        """Ends what is shown live."""

    def summary(self) -> str:
        """What the run came to."""
        return f"{self.ran} actions ran, {self.hits} cached, {time.monotonic() - self.begin:.1f} s"


class LiveReporter(Reporter):
    """The same with a line per running action that moves."""

    def __init__(self, verbosity: int) -> None:
        super().__init__(verbosity)
        self._progress: Progress | None = None
        self._tasks: dict[str, TaskID] = {}

    def line(self, text: str) -> None:
        if self._progress is None:
            super().line(text)
        else:
            self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def started(self, action: str, summary: str, why: str) -> None:
        self.ran += 1
        with self._lock:
            if self._progress is None:  # rich comes in only when there is something to show
                from rich.console import Console
                from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

                self._progress = Progress(SpinnerColumn(), TimeElapsedColumn(), TextColumn("{task.description}"),
                                          console=Console(stderr=True), transient=True)
                self._progress.start()
            self._tasks[action] = self._progress.add_task(f"{action}: {summary} ({why})".replace("[", r"\["))

    def finished(self, action: str, seconds: float) -> None:
        with self._lock:
            task = self._tasks.pop(action, None)
            if self._progress is not None and task is not None:
                self._progress.remove_task(task)
        self.line(f"  done    {action:20} {seconds:.1f} s")

    def close(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


def reporter(verbosity: int) -> Reporter:
    """Live on a terminal, unless less was asked for."""
    return LiveReporter(verbosity) if verbosity >= 0 and sys.stderr.isatty() else Reporter(verbosity)
