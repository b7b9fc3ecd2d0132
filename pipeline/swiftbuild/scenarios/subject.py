"""Releases to prove → what the scenarios start from: pairs of releases, a disk for each, and a twin where a machine of
this release would not take what is made to fail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from swiftbuild.core.proof import Chain, Kind
from swiftbuild.core.trust import accept_release
from swiftbuild.core.version import parse_version
from swiftbuild.digest import sha256
from swiftbuild.effects.files import write_atomic
from swiftbuild.effects.keys import FolderSigner, KeyFolder
from swiftbuild.errors import SwiftbuildError, TrustError, UsageError
from swiftbuild.scenarios import variants
from swiftbuild.wire import release


@dataclass(frozen=True)
class Subject:
    """The files of a chain; none of them is written to again. `contents`: SHA-256 of both releases, whole."""

    chain: Chain
    old: Path
    new: Path
    image: Path
    keys: Path | None
    contents: tuple[str, str]


def subjects(raw: bytes, older: Sequence[bytes], image: Path, keys: KeyFolder, folder: Path) -> list[Subject]:
    """All chains of one release, their files in `folder`. `image`: a disk of its profile. `keys`: throw-away ones,
    which need not be those of the release.

    Raises UsageError: an older release is not older.
    """
    place = _Place(image, folder)
    header = release.decode_header(raw[: release.HEADER_SIZE])
    found = [place.subject("own", raw, raw)]
    for other in older:
        theirs = release.decode_header(other[: release.HEADER_SIZE])
        if theirs.profile != header.profile:
            continue
        if parse_version(theirs.version) >= parse_version(header.version):
            raise UsageError(f"--from: {theirs.version} is not older than {header.version}, the release to prove")
        found.append(place.subject("between", other, raw))
    own = raw if _takes(raw, keys) else variants.twin(raw, keys)
    following = variants.signed(variants.told(own, **_next(own)), keys)
    return [*found, place.subject("next", own, following, keys=keys.path, twin=own is not raw)]


@dataclass(frozen=True)
class _Place:
    image: Path
    folder: Path

    def subject(self, kind: Kind, old: bytes, new: bytes, *, keys: Path | None = None, twin: bool = False) -> Subject:
        first, second = (release.release_digest(raw).hex() for raw in (old, new))
        profile = release.decode_header(old[: release.HEADER_SIZE]).profile
        place = self.folder / f"{profile}-{kind}-{first[:16]}"
        place.mkdir(parents=True)
        for name, raw in (("old.release", old), ("new.release", new)):
            write_atomic(place / name, raw, flush=False)
        disk = self.image
        if _not_in(disk, old):
            disk = variants.installed(self.image, place / "disk.img", old)
            variants.with_loader(disk, old)
        return Subject(Chain(profile, first, second, kind, twin), place / "old.release", place / "new.release", disk,
                       keys, (sha256(old), sha256(new)))


def _takes(raw: bytes, keys: KeyFolder) -> bool:
    """Whether a machine of this release takes what these keys sign: root, key set and release key are theirs."""
    try:
        accept_release(raw, keys.roots())
    except TrustError:
        return False
    return FolderSigner(keys, lambda _: b"").dev


def _next(raw: bytes) -> dict[str, object]:
    """The version and index behind a release's own."""
    header = release.decode_header(raw[: release.HEADER_SIZE])
    major, minor, patch = parse_version(header.version)
    return {"version": f"{major}.{minor}.{patch + 1}", "rollback_index": header.rollback_index + 1}


def _not_in(image: Path, raw: bytes) -> bool:
    """The disk holds another release than this one."""
    try:
        return variants.slot_image(image)[: len(raw)] != raw
    except SwiftbuildError:
        return True
