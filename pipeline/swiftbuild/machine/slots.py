"""One limit on the number of virtual machines of a host: every user's tests, commands and parallel make share it.

The slots are locks on files that hold nothing. Whoever comes first makes folder and files; anybody may open them, for
reading, which is enough for a lock, and nobody may put another's aside. No link is followed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from swiftbuild.errors import HostError, SwiftbuildError

FOLDER = Path("/tmp/swiftbuild-machines")  # noqa: S108 - not TMPDIR, which users may have of their own
SLOTS = 2
WAIT_SECONDS_MAX = 3600.0
POLL_SECONDS = 0.1
EVERYBODY = 0o1777
ANY_READER = 0o444


@contextlib.contextmanager
def slot(on_wait: Callable[[], None] | None = None, folder: Path | None = None) -> Iterator[int]:
    """Holds a slot. Gives the lock's descriptor: a machine that inherits it holds the slot for as long as it lives."""
    folder = folder or FOLDER
    end = time.monotonic() + WAIT_SECONDS_MAX
    told = False
    while (descriptor := _free(folder)) is None:
        if time.monotonic() > end:
            raise HostError(f"no machine slot became free in {WAIT_SECONDS_MAX:g} s", hint=f"who holds {folder}/*?")
        if not told and on_wait:
            on_wait()
        told = True
        time.sleep(POLL_SECONDS)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _free(folder: Path) -> int | None:
    """A slot that nobody held, locked."""
    try:
        place = _shared_folder(folder)
        try:
            for index in range(SLOTS):
                descriptor = _try(place, f"slot{index + 1}")
                if descriptor is not None:
                    return descriptor
        finally:
            os.close(place)
    except FileNotFoundError:  # a cleaner of temporary files took the folder just now
        return None
    except OSError as error:
        raise SwiftbuildError(
            f"machine slots of this host: {error.filename or folder}: {error.strerror}; expected is a folder {folder} "
            "with mode 1777, and in it files that anybody may read", hint=f"its owner or root: rm -r {folder}"
        ) from None
    return None


def _shared_folder(folder: Path) -> int:
    """The folder, made whole before it takes its name."""
    if not folder.is_dir():
        made = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        made.chmod(EVERYBODY)
        try:
            made.rename(folder)
        except OSError:  # another was first, or something else has the name: opening it tells
            made.rmdir()
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    found = os.fstat(place)
    if found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) != EVERYBODY:
        os.fchmod(place, EVERYBODY)
    return place


def _try(place: int, name: str) -> int | None:
    try:
        descriptor = _open(place, name)
    except FileNotFoundError:
        _make(place, name)
        descriptor = _open(place, name)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "no ordinary file", name)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            return None
        raise
    return descriptor


def _open(place: int, name: str) -> int:
    """Never with O_CREAT: in a sticky folder Linux may refuse that for a file that another user made."""
    return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=place)


def _make(place: int, name: str) -> None:
    """The file is readable for everybody, whatever our umask, before it has its name."""
    temporary = f".{name}.{os.getpid()}.{time.monotonic_ns()}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=place)
    try:
        os.fchmod(descriptor, ANY_READER)
        with contextlib.suppress(FileExistsError):
            os.link(temporary, name, src_dir_fd=place, dst_dir_fd=place)
    finally:
        os.close(descriptor)
        os.unlink(temporary, dir_fd=place)
