"""The plan: which actions there are, when one is stale, and why.

An action's key is the digest of everything known before it runs: facts (flags, versions, parameters), the files it
declares, the digests of other actions' outputs, and its own code. What it finds out while it runs (a compiler's
dep-info) stands in a record below the key: the action is fresh when the files of one record are as they were.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from swiftbuild.digest import sha256
from swiftbuild.errors import InputError

ABSENT = "absent"
"""Stands for the digest of a file that does not exist: making it changes the inputs."""
REASONS_SHOWN = 3


@dataclass(frozen=True)
class Ref:
    """An output of an action."""

    action: str
    output: str

    def __str__(self) -> str:
        return f"{self.action}/{self.output}"


@dataclass(frozen=True)
class Artifact:
    """An output in the store."""

    digest: str
    size: int


@dataclass(frozen=True)
class Action:
    """One step. `run` gets the engine's `Work` (its inputs' files, a folder for its outputs) and returns the
    source files it found out about."""

    name: str
    summary: str
    run: Callable[[Any], Iterable[str]]
    outputs: tuple[str, ...]
    needs: Mapping[str, Ref] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    """Declared source files, relative to the repository."""


@dataclass(frozen=True)
class Record:
    """What one run of an action read and made."""

    found: Mapping[str, str]
    outputs: Mapping[str, Artifact]
    seconds: float = 0.0


def order(actions: Iterable[Action]) -> dict[str, Action]:
    """The actions by name; each need names an output that exists."""
    named = {action.name: action for action in actions}
    for action in named.values():
        for ref in action.needs.values():
            if ref.action not in named or ref.output not in named[ref.action].outputs:
                raise InputError(f"action {action.name} needs {ref}, which nothing makes")
    return named


def inputs(action: Action, artifacts: Mapping[Ref, Artifact], file_digests: Mapping[str, str]) -> dict[str, str]:
    """Everything known before the action runs, as label → value."""
    return {
        **{f"fact {name}": value for name, value in action.facts.items()},
        **{f"file {name}": file_digests[name] for name in action.files},
        **{f"output {ref}": artifacts[ref].digest for ref in action.needs.values()},
        "name": action.name,
    }


def key(known: Mapping[str, str]) -> str:
    """The digest of an action's inputs."""
    return sha256(json.dumps(known, sort_keys=True).encode())


def explain(before: Mapping[str, str] | None, now: Mapping[str, str]) -> str:
    """Why an action runs: what differs from its last run, in words."""
    if before is None:
        return "never built here"
    changed = sorted(label for label in {*before, *now} if before.get(label) != now.get(label))
    if not changed:
        return "its output is missing or damaged"
    shown = ", ".join(changed[:REASONS_SHOWN])
    more = f" and {len(changed) - REASONS_SHOWN} more" if len(changed) > REASONS_SHOWN else ""
    return f"changed: {shown}{more}"
