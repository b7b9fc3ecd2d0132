"""Digests of files without reading them again: known by size, both times and inode.

An entry whose file changed at or after the time of its record is not trusted: a second change within the clock's
tick would not show. The time of a change is ctime, which only the kernel sets; mtime is whatever someone says, next
year too.
"""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

from swiftbuild.core.plan import ABSENT
from swiftbuild.digest import sha256_file
from swiftbuild.effects.files import write_atomic

TICK_NS = 10_000_000
"""A file's times come from a clock that stands still between the kernel's ticks: 4 ms, or 10 ms at 100 Hz."""

Entry = list[int | str]


class StatCache:
    """Path → digest, kept in one JSON file between runs."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._changed = False
        try:
            loaded = json.loads(path.read_text())
            self._entries: dict[str, Entry] = loaded if isinstance(loaded, dict) else {}
        except (OSError, ValueError):
            self._entries = {}

    def digest(self, path: Path) -> str:
        """The digest of a file's bytes; `absent` when there is no such file."""
        try:
            stat = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return ABSENT
        shape: Entry = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
        with self._lock:
            entry = self._entries.get(str(path))
        if entry and entry[:4] == shape and stat.st_ctime_ns + TICK_NS < int(entry[4]):
            return str(entry[5])
        recorded = time.time_ns()
        found = sha256_file(path)
        self._enter(path, shape, recorded, found)
        return found

    def remember(self, path: Path, digest: str) -> None:
        """Notes the digest of a file that was just written, once its times are old enough to be trusted."""
        stat = path.stat()
        if time.time_ns() <= stat.st_ctime_ns + TICK_NS:
            time.sleep(2 * TICK_NS / 1e9)
        now = time.time_ns()  # still not past it when the clock was set back: then the entry is not believed
        self._enter(path, [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino], now, digest)

    def _enter(self, path: Path, shape: Entry, recorded: int, digest: str) -> None:
        with self._lock:
            self._entries[str(path)] = [*shape, recorded, digest]
            self._changed = True

    def save(self) -> None:
        """Writes what was learnt; entries of files that are gone are dropped."""
        with self._lock:
            if self._changed:
                kept = {name: entry for name, entry in self._entries.items() if os.path.lexists(name)}
                write_atomic(self._path, json.dumps(kept).encode(), flush=False)
                self._changed = False
