"""Everything that must hold of a release file (docs/formats/release.md), each fault with a name:

1. the file ends where the release does, and gaps are zero; 2. header, digests, verity tree, EROFS, kernel, symbols;
3. the loader says whom it trusts; 4. root signed the key set, and keys of it the release; 5. the key set is not older
than the one in use, 6. and has not expired. A loader never looks at 5 and 6: a machine must boot that was off for long.
"""

from __future__ import annotations

from collections.abc import Iterator

from swiftbuild.core.check import Finding, check_signatures, check_slot
from swiftbuild.core.dates import utc
from swiftbuild.errors import DamageError, SwiftbuildError
from swiftbuild.model.release import SectionType
from swiftbuild.model.signing import KeySet, Roots
from swiftbuild.wire import keyset, release, rootkeys
from swiftbuild.wire.view import Buffer, zero

WHERE = "release"


def faults(raw: Buffer, roots: Roots, *, at: int, key_set_seen: int = 0) -> list[Finding]:
    """Why a release is not to be installed. `at`: seconds since 1970; `key_set_seen`: version of the set in use."""
    try:
        image = release.read_slot(raw)
    except SwiftbuildError as error:
        return [Finding(where=WHERE, code="header", text=error.message)]
    found = [*_shape(raw, image), *check_slot(WHERE, raw), *_loader(image), *check_signatures(WHERE, raw, roots)]
    try:
        key_set = keyset.decode(image.signatures.key_set).key_set
    except DamageError:
        return found  # already found
    return found + list(_key_set(key_set, at, key_set_seen))


def _shape(raw: Buffer, image: release.SlotImage) -> Iterator[Finding]:
    size = image.header.min_slot_size
    if len(raw) != size:
        yield Finding(where=WHERE, code="size", text=f"{len(raw)} bytes, the release has {size}")
    edges = [release.SECTIONS_START]
    for section in image.header.sections:
        edges += [section.offset, section.offset + section.length]
    edges.append(size)
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        if not zero(image.body[start:end]):
            yield Finding(where=WHERE, code="gap", text=f"bytes {start}..{end} belong to no section and are not zero")


def _loader(image: release.SlotImage) -> Iterator[Finding]:
    try:
        rootkeys.find(image.section(SectionType.LOADER))
    except DamageError as error:
        yield Finding(where=WHERE, code="root-keys", text=error.message)


def _key_set(key_set: KeySet, at: int, seen: int) -> Iterator[Finding]:
    if key_set.version < seen:
        yield Finding(where=WHERE, code="key-set-old", text=f"key set {key_set.version}, and {seen} is in use")
    if key_set.expires and at > key_set.expires:
        yield Finding(where=WHERE, code="expired",
                      text=f"key set {key_set.version} expired at {utc(key_set.expires)}; asked for {utc(at)}")
