"""Releases to prove → what the scenarios start from: pairs of releases, a disk for each, and a twin where a machine of
this release would not take what is made to fail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from swiftbuild.core.proof import Chain
from swiftbuild.core.trust import accept_release
from swiftbuild.core.version import parse_version
from swiftbuild.effects.files import write_atomic
from swiftbuild.effects.keys import FolderSigner, KeyFolder
from swiftbuild.errors import SwiftbuildError, TrustError, UsageError
from swiftbuild.scenarios import variants
from swiftbuild.wire import release


@dataclass(frozen=True)
class Subject:
    """The files of a chain, in a folder; none of them is written to again."""

    chain: Chain
    old: Path
    new: Path
    image: Path
    keys: Path | None


def subjects(raw: bytes, older: Sequence[bytes], image: Path, keys: KeyFolder, folder: Path) -> list[Subject]:
    """All chains of one release. `image`: a disk of its profile. `keys`: throw-away ones, which need not be those of
    the release.

    Raises UsageError: an older release is not older, or of another profile.
    """
    header = release.decode_header(raw[: release.HEADER_SIZE])
    found = []
    for other in older:
        theirs = release.decode_header(other[: release.HEADER_SIZE])
        if theirs.profile != header.profile:
            continue
        if parse_version(theirs.version) >= parse_version(header.version):
            raise UsageError(f"--from: {theirs.version} is not older than {header.version}, the release to prove")
        signs = _takes(other, keys)
        found.append(_subject((other, raw), image, keys if signs else None, folder, "between"))
    own = raw if _takes(raw, keys) else variants.twin(raw, keys)
    following = variants.signed(variants.told(own, **_next(own)), keys)
    return [_subject((own, following), image, keys, folder, "release" if own is raw else "twin"), *found]


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


def _subject(
    pair: tuple[bytes, bytes], image: Path, keys: KeyFolder | None, folder: Path,
    kind: Literal["release", "twin", "between"],
) -> Subject:  # fmt: skip
    old, new = pair
    first, second = (release.release_digest(raw).hex() for raw in pair)
    profile = release.decode_header(old[: release.HEADER_SIZE]).profile
    place = folder / f"{profile}-{first[:16]}-{second[:16]}"
    place.mkdir(parents=True, exist_ok=True)
    for name, raw in (("old.release", old), ("new.release", new)):
        write_atomic(place / name, raw)
    disk = image
    if _not_in(image, old):
        disk = variants.installed(image, place / "disk.img", old)
        variants.with_loader(disk, old)
    chain = Chain(profile, first, second, twin=kind == "twin", signs=keys is not None, between=kind == "between")
    return Subject(chain, place / "old.release", place / "new.release", disk, keys.path if keys else None)


def _not_in(image: Path, raw: bytes) -> bool:
    """The disk holds another release than this one."""
    try:
        return variants.slot_image(image)[: len(raw)] != raw
    except SwiftbuildError:
        return True
