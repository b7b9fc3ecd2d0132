"""Reading what people write, and writing files so that a reader sees the old one or the new one, never half."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from swiftbuild.errors import InputError, SpaceError
from swiftbuild.limits import MIB, TOML_FILE_MAX


def read_toml(path: Path, where: str) -> dict[str, Any]:
    """A TOML file's tables; `where` names it in errors."""
    try:
        if path.stat().st_size > TOML_FILE_MAX:
            raise InputError(f"{where}: larger than {TOML_FILE_MAX} bytes")
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{where}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{where}: not TOML: {error}") from None


@contextlib.contextmanager
def no_space_named(path: Path, size: int) -> Iterator[None]:
    """Turns a full disk into an error that names what did not fit, and where."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            raise SpaceError(f"no space for {path}: it needs up to {size // MIB + 1} MiB: {error.strerror}",
                             hint="free space there, or name another place") from None
        raise


@contextlib.contextmanager
def replacing(path: Path, mode: int = 0o644, *, flush: bool = True) -> Iterator[Path]:
    """A temporary file beside `path`; at the end it is flushed and takes the name at once. On an error it goes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(mode)
        if flush:
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomic(path: Path, data: bytes, mode: int = 0o644, *, flush: bool = True) -> None:
    """The whole file or the old one. Without `flush` a crash of the machine may leave it empty: for caches."""
    with replacing(path, mode, flush=flush) as temporary:
        temporary.write_bytes(data)
