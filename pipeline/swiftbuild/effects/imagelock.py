"""The locks that QEMU puts on the files of a machine's disks: nobody writes into an image that a machine runs from.

QEMU locks single bytes (block/file-posix.c): byte 100 + n says that the locker uses permission n, byte 200 + n that it
lets nobody else use it. Permission 1 is writing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
from collections.abc import Iterator
from pathlib import Path

from swiftbuild.errors import SwiftbuildError

USED, REFUSED = 100, 200
WRITING = 1
FLOCK = struct.Struct("hhqqi4x")
"""`struct flock` of 64-bit Linux: type, whence, start, length, process."""


@contextlib.contextmanager
def writing(image: Path, shown: str) -> Iterator[None]:
    """The image is ours to write for as long: an error when a machine runs from it, and none starts from it."""
    with image.open("r+b") as file:
        _lock(file.fileno(), USED + WRITING)
        _lock(file.fileno(), REFUSED + WRITING)
        if _is_locked(file.fileno(), REFUSED + WRITING) or _is_locked(file.fileno(), USED + WRITING):
            raise SwiftbuildError(
                f"{shown} is in use: a machine runs from it{_named(image)}, or another program writes it",
                hint="stop the machine first, or write into a copy of the image")
        yield


def _lock(descriptor: int, byte: int) -> None:
    """A shared lock, as QEMU takes: it says something, and keeps out only who asks."""
    fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, FLOCK.pack(fcntl.F_RDLCK, os.SEEK_SET, byte, 1, 0))


def _is_locked(descriptor: int, byte: int) -> bool:
    """Whether somebody else has a lock there."""
    asked = FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)
    kind: int = FLOCK.unpack(fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, asked))[0]
    return kind != fcntl.F_UNLCK


def _named(image: Path) -> str:
    """The process that has it open, when we may see that."""
    wanted = image.stat()
    for process in sorted(Path("/proc").glob("[0-9]*"), key=lambda path: int(path.name)):
        if int(process.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if any(_same(entry, wanted) for entry in (process / "fd").iterdir()):
                return f" (process {process.name})"
    return ""


def _same(entry: Path, wanted: os.stat_result) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samestat(entry.stat(), wanted)
    return False
