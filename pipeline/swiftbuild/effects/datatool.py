"""The program that reads and writes datafs volumes: the kernel's own code for them, built for this machine."""

from __future__ import annotations

import contextlib
import json
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from swiftbuild.core.names import close
from swiftbuild.effects.process import Runner
from swiftbuild.errors import CommandError, DamageError, InputError, SpaceError, UsageError

REFUSED, DAMAGED = 1, 6
"""Exit statuses of the program: it was not done, for a reason that it names; the volume is damaged."""
FULL = ("no block is free in the volume", "no inode is free in the volume", "a file is larger than a volume can hold",
        "No space left on device")
"""The program's words for what does not fit."""
NOWHERE = "there is no such file in the volume"


@dataclass(frozen=True)
class Volume:
    """A volume in a file, or in a part of one. Bytes."""

    file: Path
    offset: int
    length: int
    shown: str
    """What a person calls it: they may have named it by another path, or not at all."""

    def words(self) -> list[str]:
        """The options that say where it lies."""
        return [f"--offset={self.offset}", f"--length={self.length}"]


@dataclass(frozen=True)
class Identity:
    """What tells a new volume from others."""

    uuid: str
    hash_key: str
    """Of the hash of names, 16 bytes in hexadecimal."""
    label: str
    time: int
    """Seconds since 1970."""


@dataclass(frozen=True)
class DataTool:
    """Calls of the program. Each raises `InputError` when the volume or the archive does not allow it, `UsageError`
    when the volume has no such path, `SpaceError` when something does not fit, `DamageError` when it is damaged."""

    program: Path
    runner: Runner

    def make(self, volume: Volume, identity: Identity, archive: Path) -> None:
        """A new volume over whatever is there, with the tree of a tar archive."""
        self._run("make", volume, str(archive), f"--uuid={identity.uuid}", f"--hash-key={identity.hash_key}",
                  f"--label={identity.label}", f"--time={identity.time}")

    def list(self, volume: Volume, path: str, *, recursive: bool) -> list[dict[str, Any]]:
        """The entries of a directory, or the one file."""
        deep = ["--recursive"] if recursive else []
        with self._existing(volume, path):
            rows: list[dict[str, Any]] = self._json("list", volume, path, *deep)["entries"]
        return rows

    def read(self, volume: Volume, path: str, archive: Path) -> None:
        """Puts a file or a tree into a new tar archive."""
        with self._existing(volume, path):
            self._run("read", volume, path, str(archive))

    def write(self, volume: Volume, path: str, archive: Path, *, time: int) -> None:
        """Puts the members of a tar archive below a directory of the volume."""
        with self._existing(volume, path):
            self._run("write", volume, path, str(archive), f"--time={time}")

    def check(self, volume: Volume) -> dict[str, Any]:
        """All that is wrong (`findings`), and what was counted on the way; the log is replayed in memory."""
        return self._json("check", volume)

    def facts(self, volume: Volume) -> dict[str, Any]:
        """Superblocks, log and space."""
        return self._json("facts", volume)

    @contextlib.contextmanager
    def _existing(self, volume: Volume, path: str) -> Iterator[None]:
        """A path that is not in the volume is told with one that is."""
        try:
            yield
        except InputError as error:
            if NOWHERE not in error.message:
                raise
            raise UsageError(error.message + self._near(volume, path)) from None

    def _near(self, volume: Volume, path: str) -> str:
        names, at = [name for name in path.split("/") if name], ""
        for depth, name in enumerate(names):
            rows = self._json("list", volume, at or "/")["entries"]
            found = next((row for row in rows if row["name"] == name), None)
            if found is None:
                rest = "".join(f"/{below}" for below in names[depth + 1 :])
                return close(name, (row["name"] for row in rows), before=f"{at}/", after=rest)
            if not stat.S_ISDIR(found["mode"]):
                return ""
            at = f"{at}/{name}"
        return ""

    def _json(self, command: str, volume: Volume, *words: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self._run(command, volume, *words))
        return document

    def _run(self, command: str, volume: Volume, *words: str) -> str:
        try:
            return self.runner.run([str(self.program), command, str(volume.file), *words, *volume.words()])
        except CommandError as error:
            _explain(error, volume)


def _explain(error: CommandError, volume: Volume) -> NoReturn:
    """The program's own words for what is wrong with its input; any other end is a fault of ours and stays as it is."""
    said = error.output.strip().replace(str(volume.file), volume.shown)
    message = f"{volume.shown}: {said}"
    if error.status == DAMAGED:
        raise DamageError(message, hint="swiftbuild data fsck names all that is wrong") from None
    if error.status == REFUSED and any(words in said for words in FULL):
        raise SpaceError(message, hint="a larger volume (mkfs --size, or data_mib in the profile), or fewer files")
    if error.status == REFUSED:
        raise InputError(message) from None
    raise error
