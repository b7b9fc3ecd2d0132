"""How the passphrase of a private key is had: from a file, or asked of the person at the terminal."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from swiftbuild.errors import InputError

if TYPE_CHECKING:
    from swiftbuild.cli.session import Session
    from swiftbuild.effects.keys import Passphrase

VARIABLE = "SWIFTBUILD_PASSPHRASE_FILE"


def _from_file(path: Path) -> bytes:
    lines = path.read_bytes()[:4096].splitlines()
    if not lines or not lines[0]:
        raise InputError(f"{path}: its first line is empty, and should be the passphrase")
    return lines[0]


def passphrase_of(session: Session, file: Path | None = None) -> Passphrase:
    """Asks when it is called; a file that the environment names is read in place of one that the command does."""
    import getpass

    named = file or session.environment.get(VARIABLE)

    def ask(name: str) -> bytes:
        if named:
            return _from_file(Path(named))
        if not sys.stdin.isatty():
            raise InputError(f"{name}: there is no terminal to ask for its passphrase",
                             hint=f"a file of which it is the first line: --passphrase-file, or {VARIABLE}")
        return getpass.getpass(f"passphrase of {name}: ").encode()

    return ask

