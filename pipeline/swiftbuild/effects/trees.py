"""Folders of this machine as tar archives, and back."""

from __future__ import annotations

import os
import posixpath
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

from swiftbuild.effects.process import Runner
from swiftbuild.errors import InputError

TAR = "/usr/bin/tar"


def members(folder: Path) -> Iterator[tuple[str, Path]]:
    """Every path below a folder with its name there, `.` first, parents before what lies in them, in byte order."""
    yield ".", folder
    for path in sorted(folder.iterdir(), key=os.fsencode):
        name = path.name
        if path.is_dir() and not path.is_symlink():
            yield from ((name if below == "." else f"{name}/{below}", place) for below, place in members(path))
        else:
            yield name, path


def listing(folder: Path) -> list[tuple[str, str]]:
    """Names with what an archive takes of each beside its bytes: the link's target, or whether it may be executed."""
    return [(name, f"-> {path.readlink()}" if path.is_symlink() else "folder" if path.is_dir() else
             "program" if path.stat().st_mode & stat.S_IXUSR else "file") for name, path in members(folder)]


def pack(source: Path, archive: Path, *, time: int, name: str = ".") -> None:
    """A file or a folder, called `name`, as an archive that depends on nothing but names, bytes, links and who may
    execute: root owns it, and `time` (seconds since 1970) is when it was changed."""
    rows = members(source) if source.is_dir() and not source.is_symlink() else iter([(".", source)])
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
        for member, path in rows:
            _add(tar, posixpath.normpath(posixpath.join(name, member)), path, time)


def _add(tar: tarfile.TarFile, member: str, path: Path, time: int) -> None:
    found = path.lstat()
    info = tarfile.TarInfo(member)
    info.mtime = time
    info.mode = 0o755 if stat.S_ISDIR(found.st_mode) or found.st_mode & stat.S_IXUSR else 0o644
    if stat.S_ISDIR(found.st_mode):
        info.type = tarfile.DIRTYPE
        tar.addfile(info)
    elif stat.S_ISLNK(found.st_mode):
        info.type, info.mode, info.linkname = tarfile.SYMTYPE, 0o777, str(path.readlink())
        tar.addfile(info)
    elif stat.S_ISREG(found.st_mode):
        info.size = found.st_size
        with path.open("rb") as file:
            tar.addfile(info, file)
    else:
        raise InputError(f"{path} is neither a file, nor a folder, nor a symbolic link",
                         hint="remove it, or name another folder")


def unpack(archive: Path, folder: Path, runner: Runner) -> list[str]:
    """Puts the members below a folder that is there and gives their names. tar keeps them there: it takes no member
    by a leading slash, by '..' or through a link that is a member too. Owners and special modes stay behind."""
    runner.run([TAR, "--extract", "--no-same-owner", "--no-same-permissions", f"--file={archive}",
                f"--directory={folder}"])
    with tarfile.open(archive) as tar:
        return [member.name for member in tar]
