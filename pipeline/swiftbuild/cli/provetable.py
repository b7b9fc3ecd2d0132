"""Shows how a verification goes: a table that moves on a terminal, a line for each run elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from swiftbuild.core.proof import Run
from swiftbuild.model.proof import Outcome

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

WORDS = {"passed": "pass", "failed": "FAIL", "error": "ERROR"}
STYLES = {"pass": "green", "FAIL": "bold red", "ERROR": "bold red", "runs": "yellow"}
AHEAD = 3
"""Runs shown that have yet to begin."""


class Lines:
    """One line when a run is over."""

    def __init__(self, runs: Sequence[Run], *, quiet: bool) -> None:
        self.runs = runs
        self.quiet = quiet
        self.outcomes: dict[int, Outcome] = {}
        self.begun: dict[int, float] = {}
        self.kept: set[int] = set()
        self.lock = threading.Lock()

    def started(self, number: int) -> None:
        with self.lock:
            self.begun[number] = time.monotonic()

    def ended(self, number: int, outcome: Outcome, *, kept: bool) -> None:
        with self.lock:
            self.outcomes[number] = outcome
            if kept:
                self.kept.add(number)
            if not self.quiet:
                self.show(number)

    def show(self, number: int) -> None:
        """Tells of a run that is over."""
        print(f"  {self.row(number)}", file=sys.stderr, flush=True)

    def row(self, number: int) -> str:
        """A run as a line."""
        run = self.runs[number]
        return " ".join([f"{self.state(number):5}", f"{run.scenario:26}", f"{run.profile:8}", f"{run.cpus} CPU",
                         f"{run.artifact:7}", self.time_of(number)])

    def state(self, number: int) -> str:
        """How it stands, in a word."""
        if number in self.outcomes:
            return WORDS[self.outcomes[number].status]
        return "runs" if number in self.begun else ""

    def time_of(self, number: int) -> str:
        """What it took, or takes."""
        if number in self.kept:
            return "kept"
        if number in self.outcomes:
            return f"{self.outcomes[number].ended_at - self.outcomes[number].started_at} s"
        return f"{time.monotonic() - self.begun[number]:.0f} s" if number in self.begun else ""

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        return


class Moving(Lines):
    """The table: what is over and failed, what runs, what comes next; a line for each run that is over above it."""

    def __init__(self, runs: Sequence[Run]) -> None:
        super().__init__(runs, quiet=False)
        self._live: Live | None = None

    def __enter__(self) -> Lines:
        from rich.console import Console
        from rich.live import Live

        self._live = Live(get_renderable=self._table, console=Console(stderr=True), refresh_per_second=2,
                          transient=True)
        self._live.__enter__()
        return self

    def __exit__(self, *what: object) -> None:
        if self._live:
            self._live.stop()

    def show(self, number: int) -> None:
        if self._live:
            self._live.console.print(f"  {self.row(number)}", style=STYLES[self.state(number)], highlight=False,
                                     markup=False, soft_wrap=True)

    def _table(self) -> Table:
        from rich.table import Table
        from rich.text import Text

        done, total = len(self.outcomes), len(self.runs)
        bad = sum(outcome.status != "passed" for outcome in list(self.outcomes.values()))
        table = Table(title=f"{done} of {total} over, {bad} failed", title_justify="left", box=None, pad_edge=False)
        for name in ("", "scenario", "machine", "CPUs", "artifact", "time"):
            table.add_column(name)
        running = [number for number in list(self.begun) if number not in self.outcomes]
        ahead = [n for n in range(total) if n not in self.begun and n not in self.outcomes][:AHEAD]
        for number in [*running, *ahead]:
            run, state = self.runs[number], self.state(number)
            table.add_row(Text(state or "next", style=STYLES.get(state, "dim")), run.scenario, run.profile,
                          str(run.cpus), run.artifact, self.time_of(number))
        return table


def board(runs: Sequence[Run], *, verbosity: int) -> Lines:
    """Moves on a terminal, unless less was asked for."""
    return Moving(runs) if verbosity >= 0 and sys.stderr.isatty() else Lines(runs, quiet=verbosity < 0)
