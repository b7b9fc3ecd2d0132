"""The store of artifacts: read-only files named by their digest, and records of the runs that made them."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from swiftbuild.core.plan import Artifact, Record
from swiftbuild.effects.files import write_atomic
from swiftbuild.effects.statcache import StatCache

RECORDS_KEPT = 8
"""Runs remembered for one key: enough for going back and forth between branches."""


class Store:
    """`objects/` by digest, `records/` by action key, `last/` by action name (for explanations)."""

    def __init__(self, root: Path, stats: StatCache) -> None:
        self.root = root
        self._stats = stats
        for folder in ("objects", "records", "last"):
            (root / folder).mkdir(parents=True, exist_ok=True)

    def path(self, digest: str) -> Path:
        """Where the object lies, or would."""
        return self.root / "objects" / digest[:2] / digest

    def put(self, file: Path) -> Artifact:
        """Moves a finished file into the store; a program stays executable."""
        file.chmod(0o555 if file.stat().st_mode & stat.S_IXUSR else 0o444)
        digest = self._stats.digest(file)
        size = file.stat().st_size
        target = self.path(digest)
        target.parent.mkdir(exist_ok=True)
        file.replace(target)
        self._stats.remember(target, digest)
        return Artifact(digest, size)

    def holds(self, artifact: Artifact) -> bool:
        """Whether the object is there and whole; a damaged one is removed."""
        path = self.path(artifact.digest)
        found = self._stats.digest(path)
        if found == artifact.digest:
            return True
        path.unlink(missing_ok=True)
        return False

    def records(self, key: str) -> list[Record]:
        """The runs under this key, newest first."""
        try:
            loaded = json.loads((self.root / "records" / key).read_text())
            return [
                Record(run["found"], {n: Artifact(**a) for n, a in run["outputs"].items()}, run["seconds"])
                for run in loaded
            ]
        except (OSError, ValueError, KeyError, TypeError):
            return []  # no record, or one that was cut short: the action runs again

    def remember(self, name: str, key: str, known: Mapping[str, str], record: Record) -> None:
        """Writes down a run: under its key for the cache, under its name for the next explanation."""
        runs = [record, *(old for old in self.records(key) if old.found != record.found)][:RECORDS_KEPT]
        write_atomic(self.root / "records" / key, json.dumps([asdict(run) for run in runs]).encode(), flush=False)
        everything = {**known, **{f"file {path}": digest for path, digest in record.found.items()}}
        write_atomic(self._last(name), json.dumps(everything, sort_keys=True).encode(), flush=False)

    def last(self, name: str) -> dict[str, str] | None:
        """The inputs of the action's last run here."""
        try:
            loaded = json.loads(self._last(name).read_text())
        except (OSError, ValueError):
            return None
        return loaded if isinstance(loaded, dict) else None

    def _last(self, name: str) -> Path:
        return self.root / "last" / name.replace("/", "_")

    def used(self, key: str) -> None:
        """Notes that a record answered: what it names counts as used now."""
        os.utime(self.root / "records" / key)

    def trim(self, limit: int, keep: set[str]) -> int:
        """Removes the least recently used objects until `limit` bytes are left; returns the bytes freed."""
        sizes = {path: path.stat().st_blocks * 512 for path in (self.root / "objects").glob("*/*")}
        excess = sum(sizes.values()) - limit
        if excess <= 0:
            return 0
        used: dict[str, int] = {}
        for path in (self.root / "records").iterdir():
            moment = path.stat().st_mtime_ns
            for record in self.records(path.name):
                used |= {a.digest: max(moment, used.get(a.digest, 0)) for a in record.outputs.values()}
        freed = 0
        for path, size in sorted(sizes.items(), key=lambda pair: used.get(pair[0].name, 0)):
            if freed >= excess:
                break
            if path.name not in keep:
                path.unlink()
                freed += size
        return freed


def tree_size(root: Path) -> int:
    """Bytes that a folder takes on the disk."""
    return sum(
        Path(folder, name).lstat().st_blocks * 512 for folder, _, names in os.walk(root) for name in names
    )
