"""Lock → a Debian package's file, and a note of which version it is."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from swiftbuild.digest import sha256_file
from swiftbuild.errors import InputError
from swiftbuild.model.recipe import LockedPackage

UPDATE_HINT = "swiftbuild package update moves the lock to what the archive has now"


class Archive(Protocol):
    """Where packages come from; `Apt` is the real one."""

    def download(self, package: str, version: str, folder: Path) -> Path | None:
        """The file of that version, or None when the archive has it not."""

    def newest(self, package: str) -> str | None:
        """The newest version that is authenticated."""


@dataclass(frozen=True)
class Fetched:
    """What an image took."""

    name: str
    version: str
    sha256: str
    locked: bool

    def to_json(self) -> bytes:
        """As the action's second output."""
        return json.dumps(self.__dict__, sort_keys=True).encode()


def fetch(name: str, locked: LockedPackage, archive: Archive, work: Path, target: Path) -> Fetched:
    """The locked version checked against the lock's digest; when the archive has it no longer, the newest that the
    client authenticates. A file with the locked version and another digest is refused always."""
    version = locked.version
    file = archive.download(name, version, work)
    if file is None:
        newest = archive.newest(name)
        file = archive.download(name, newest, work) if newest is not None else None
        if newest is None or file is None:
            raise InputError(f"packages/lock.toml: the archive has no package {name}",
                             hint="check the package's name in its recipe, and the machine's apt sources")
        version = newest
    digest = sha256_file(file)
    if version == locked.version and digest != locked.sha256:
        raise InputError(f"packages/lock.toml: debian.{name}: version {version} has SHA-256 {digest}, "
                         f"the lock says {locked.sha256}", hint=UPDATE_HINT)
    shutil.move(file, target)
    return Fetched(name, version, digest, locked=version == locked.version)
