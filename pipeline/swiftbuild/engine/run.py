"""Runs a plan: asks the core which actions are stale, runs them side by side, keeps their outputs in the store."""

from __future__ import annotations

import graphlib
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from swiftbuild.core import plan as core
from swiftbuild.core.events import Events
from swiftbuild.core.plan import Action, Artifact, Record, Ref
from swiftbuild.effects.statcache import StatCache
from swiftbuild.effects.store import Store
from swiftbuild.errors import SwiftbuildError

PARALLEL_ACTIONS = 2


@dataclass(frozen=True)
class Work:
    """What an action's `run` gets: its inputs' files by label and an empty folder for its outputs."""

    inputs: Mapping[str, Path]
    folder: Path

    def out(self, name: str) -> Path:
        """Where the output of that name goes."""
        return self.folder / name


@dataclass(frozen=True)
class Step:
    """What became of one action, or would."""

    action: str
    stale: bool
    why: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """Every output of the plan, and what it took."""

    artifacts: Mapping[Ref, Artifact]
    steps: tuple[Step, ...]
    ran: tuple[str, ...]


class Engine:
    """Runs plans of one repository with one store."""

    def __init__(  # noqa: PLR0913 - wiring
        self, root: Path, store: Store, stats: StatCache, events: Events, *, force: bool = False,
        stop: Callable[[], None] = lambda: None,
    ) -> None:
        """`stop` ends the children of actions that still run, when one has failed or the user interrupts."""
        self._stop = stop
        self._root = root
        self._store = store
        self._stats = stats
        self._events = events
        self._force = force
        self._work = root / "build" / "work"
        self._artifacts: dict[Ref, Artifact] = {}
        self._lock = threading.Lock()

    def preview(self, actions: Mapping[str, Action]) -> list[Step]:
        """What `run` would do: changes nothing. Behind a stale action we can only say that its output may differ."""
        artifacts: dict[Ref, Artifact] = {}
        steps = []
        for name in self._sorted(actions).static_order():
            action = actions[name]
            waits = sorted({ref.action for ref in action.needs.values() if ref not in artifacts})
            if waits:
                steps.append(Step(name, stale=True, why=f"if the output of {', '.join(waits)} differs"))
                continue
            known = self._known(action, artifacts)
            record = None if self._force else self._fresh(action, core.key(known))
            if record is None:
                steps.append(Step(name, stale=True, why=self._why(action, known)))
                continue
            artifacts |= {Ref(name, output): artifact for output, artifact in record.outputs.items()}
            steps.append(Step(name, stale=False))
        return steps

    def run(self, actions: Mapping[str, Action]) -> Outcome:
        """Brings every action up to date. The first failure ends the others and is raised."""
        self._artifacts = {}
        shutil.rmtree(self._work, ignore_errors=True)
        try:
            steps = self._run_all(self._sorted(actions), actions)
        finally:
            shutil.rmtree(self._work, ignore_errors=True)
        return Outcome(dict(self._artifacts), tuple(steps), tuple(step.action for step in steps if step.stale))

    def _run_all(self, sorter: graphlib.TopologicalSorter[str], actions: Mapping[str, Action]) -> list[Step]:
        steps: list[Step] = []
        sorter.prepare()
        with ThreadPoolExecutor(PARALLEL_ACTIONS) as pool:
            running: dict[Future[Step], str] = {}
            try:
                while sorter.is_active():
                    for name in sorter.get_ready():
                        running[pool.submit(self._bring, actions[name])] = name
                    done, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        steps.append(future.result())
                        sorter.done(running.pop(future))
            except BaseException:
                for future in running:
                    future.cancel()
                self._stop()  # before the pool waits for its threads, which wait for their children
                raise
        return steps

    def _sorted(self, actions: Mapping[str, Action]) -> graphlib.TopologicalSorter[str]:
        return graphlib.TopologicalSorter(
            {name: sorted({ref.action for ref in action.needs.values()}) for name, action in sorted(actions.items())}
        )

    def _known(self, action: Action, artifacts: Mapping[Ref, Artifact]) -> dict[str, str]:
        return core.inputs(action, artifacts, {name: self._digest(name) for name in action.files})

    def _digest(self, name: str) -> str:
        return self._stats.digest(self._root / name)

    def _fresh(self, action: Action, key: str) -> Record | None:
        """The record of a run whose inputs are as they are now and whose outputs are whole."""
        for record in self._store.records(key):
            if set(record.outputs) != set(action.outputs):
                continue
            if all(self._digest(path) == digest for path, digest in record.found.items()) and all(
                self._store.holds(artifact) for artifact in record.outputs.values()
            ):
                self._store.used(key)
                return record
        return None

    def _edited_since(self, name: str, moment: int) -> bool:
        path = self._root / name
        return path.exists() and path.stat().st_ctime_ns >= moment

    def _why(self, action: Action, known: Mapping[str, str]) -> str:
        if self._force:
            return "--force"
        before = self._store.last(action.name)
        now = dict(known)
        # files that only dep-info names are compared as they are now
        now |= {label: self._digest(label.removeprefix("file ")) for label in before or {}
                if label.startswith("file ") and label not in now}
        return core.explain(before, now)

    def _bring(self, action: Action) -> Step:
        with self._lock:
            artifacts = dict(self._artifacts)
        known = self._known(action, artifacts)
        key = core.key(known)
        record = None if self._force else self._fresh(action, key)
        why = ""
        if record is None:
            why = self._why(action, known)
            record = self._execute(action, known, key, why, artifacts)
        else:
            self._events.cached(action.name)
        with self._lock:
            self._artifacts |= {Ref(action.name, name): artifact for name, artifact in record.outputs.items()}
        return Step(action.name, stale=bool(why), why=why, seconds=record.seconds)

    def _execute(self, action: Action, known: Mapping[str, str], key: str, why: str,
                 artifacts: Mapping[Ref, Artifact]) -> Record:
        self._events.started(action.name, action.summary, why)
        begin = time.monotonic()
        folder = self._work / action.name.replace("/", "_")
        folder.mkdir(parents=True)
        work = Work({label: self._store.path(artifacts[ref].digest) for label, ref in action.needs.items()}, folder)
        started = time.time_ns()
        found = [path for path in action.run(work) if path not in action.files]
        missing = [name for name in action.outputs if not work.out(name).is_file()]
        if missing:
            raise SwiftbuildError(f"action {action.name} did not make {', '.join(missing)}")
        seconds = time.monotonic() - begin
        outputs = {name: self._store.put(work.out(name)) for name in action.outputs}
        record = Record({path: self._digest(path) for path in sorted(set(found))}, outputs, seconds)
        if not any(self._edited_since(path, started) for path in (*action.files, *found)):
            self._store.remember(action.name, key, known, record)  # else nobody knows which bytes it read
        shutil.rmtree(folder)
        self._events.finished(action.name, seconds)
        return record


