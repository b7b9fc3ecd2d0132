"""Reads named files out of a Debian package, bounded, without unpacking anything by the names it holds."""

from __future__ import annotations

import posixpath
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from swiftbuild.effects.process import Runner
from swiftbuild.errors import DamageError, InputError
from swiftbuild.limits import ARCHIVE_BYTES_MAX, ARCHIVE_LINKS_MAX, ARCHIVE_MEMBERS_MAX

DPKG_DEB = "/usr/bin/dpkg-deb"


def read_members(package: Path, wanted: Iterable[str], work: Path, runner: Runner) -> Mapping[str, bytes]:
    """The bytes of the regular files `wanted` (paths without a leading slash); links are followed."""
    tar_file = work / f"{package.name}.tar"
    # --fsys-tarfile knows every compression that Debian uses
    runner.run(["/bin/sh", "-c", 'exec "$0" --fsys-tarfile "$1" > "$2"', DPKG_DEB, str(package), str(tar_file)])
    try:
        with tarfile.open(tar_file, "r:") as tar:
            members: dict[str, tarfile.TarInfo] = {}
            for count, member in enumerate(tar):
                if count >= ARCHIVE_MEMBERS_MAX:
                    raise DamageError(f"{package.name}: more than {ARCHIVE_MEMBERS_MAX} entries")
                members[member.name.removeprefix("./").rstrip("/")] = member
            return {name: _read(tar, members, name, package) for name in wanted}
    except tarfile.TarError as error:
        raise DamageError(f"{package.name}: not a Debian package: {error}") from None
    finally:
        tar_file.unlink(missing_ok=True)


def _read(tar: tarfile.TarFile, members: Mapping[str, tarfile.TarInfo], name: str, package: Path) -> bytes:
    member = _follow(members, name, package)
    if not member.isreg() or member.size > ARCHIVE_BYTES_MAX:
        raise InputError(f"{name!r} of the Debian package is no regular file below {ARCHIVE_BYTES_MAX} bytes")
    file = tar.extractfile(member)
    if file is None:
        raise DamageError(f"{name!r} of the Debian package cannot be read")
    return file.read()


def _follow(members: Mapping[str, tarfile.TarInfo], name: str, package: Path) -> tarfile.TarInfo:
    """The member behind the links of a package: a shared library keeps its name when its version moves on."""
    at = name
    for _ in range(ARCHIVE_LINKS_MAX):
        member = members.get(at)
        if member is None:
            behind = "" if at == name else f" behind {name!r}"
            raise InputError(f"the Debian package has no file {at!r}{behind}",
                             hint=f"list it with: dpkg-deb -c {package}")
        if member.islnk():
            at = member.linkname.removeprefix("./")
        elif member.issym():
            # a leading slash is the root of the system that the package is for
            at = posixpath.normpath(posixpath.join("/", posixpath.dirname(at), member.linkname)).lstrip("/")
        else:
            return member
    raise InputError(f"{name!r} of the Debian package leads through more than {ARCHIVE_LINKS_MAX} links")
