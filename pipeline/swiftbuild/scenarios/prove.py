"""Runs scenarios, so many at a time, each in a process of its own; what passed before is not run again."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

from swiftbuild.core.proof import Run
from swiftbuild.effects.process import BASE_ENVIRONMENT, SETPRIV
from swiftbuild.effects.results import Results
from swiftbuild.model.proof import Job, Outcome
from swiftbuild.scenarios.disk import logs

WORKER = (SETPRIV, "--pdeathsig", "TERM", "--", sys.executable, "-m", "swiftbuild.scenarios.worker")
TAIL = 4000


class Board(Protocol):
    """Who shows how it goes; called from several threads."""

    def started(self, number: int) -> None:
        """A run begins."""

    def ended(self, number: int, outcome: Outcome, *, kept: bool) -> None:
        """It is over; `kept`: its result is one of an earlier call."""


@dataclass(frozen=True)
class Task:
    """A run, the key of its result, and its job but for the folder."""

    run: Run
    key: str
    job: Callable[[Path], Job]


class Prover:
    """One call's runs. `stop` ends those that are under way."""

    def __init__(self, results: Results, board: Board) -> None:
        self._results = results
        self._board = board
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[str]] = set()
        self._stopped = False

    def prove(self, tasks: Sequence[Task], *, jobs: int, force: bool) -> list[tuple[Outcome, bool]]:
        """The outcome of each task, and whether it was kept."""
        found: list[tuple[Outcome, bool] | None] = [None] * len(tasks)
        left = []
        for number, task in enumerate(tasks):
            kept = None if force else self._results.kept(task.key)
            if kept is None:
                left.append(number)
            else:
                found[number] = (kept, True)
                self._board.ended(number, kept, kept=True)
        with ThreadPoolExecutor(jobs, thread_name_prefix="scenario") as pool:
            futures = {pool.submit(self._one, number, tasks[number]): number for number in left}
            try:
                for future in as_completed(futures):
                    found[futures[future]] = (future.result(), False)
            except BaseException:  # an interrupt: nothing new starts, and what runs is ended with its machines
                self.stop()
                pool.shutdown(cancel_futures=True)
                raise
        return [pair for pair in found if pair is not None]

    def stop(self) -> None:
        """Ends what runs."""
        with self._lock:
            self._stopped = True
            for child in self._running:
                child.terminate()

    def _one(self, number: int, task: Task) -> Outcome:
        self._board.started(number)
        with tempfile.TemporaryDirectory(prefix="swiftbuild-verify-") as folder:
            outcome = self._in_a_process(task.job(Path(folder)))
            if not self._stopped:
                self._results.keep(task.key, outcome, logs(Path(folder)))
        self._board.ended(number, outcome, kept=False)
        return outcome

    def _in_a_process(self, job: Job) -> Outcome:
        with self._lock:
            if self._stopped:
                return Outcome(status="error", message="interrupted")
            child = subprocess.Popen(WORKER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                     text=True, env=BASE_ENVIRONMENT, process_group=0)
            self._running.add(child)
        try:
            text, complaints = child.communicate(job.model_dump_json())
        finally:
            with self._lock:
                self._running.discard(child)
        try:
            return Outcome.model_validate_json(text)
        except ValidationError:
            return Outcome(status="error", message=f"the process that ran it ended with status {child.returncode}:\n"
                                                   f"{complaints[-TAIL:]}")
