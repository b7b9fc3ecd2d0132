"""Kernel, EROFS and loader → verity tree → slot image."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from swiftbuild.digest import derive, derive_uuid
from swiftbuild.model.release import CriticalFlag, OptionalFlag, ReleaseFacts, SectionType
from swiftbuild.wire import release, verity


@dataclass(frozen=True)
class SlotInput:
    """What goes into a slot."""

    profile: str
    version: str
    rollback_index: int
    dev: bool
    base_on_disk: bool
    revokes_older: bool
    signed_at: int
    """Seconds since 1970-01-01 UTC; 0: not told."""
    slot_size: int
    kernel: Path
    symbols: Path
    loader: Path
    erofs: Path


def build_verity(profile: str, erofs: Path, digest: str, section: Path, root: Path) -> None:
    """The hash tree over the EROFS, and its root hash."""
    tree = verity.build(
        erofs.read_bytes(),
        uuid=derive_uuid("swift-os verity uuid", profile, bytes.fromhex(digest)),
        salt=derive("swift-os verity salt", profile, bytes.fromhex(digest)),
    )
    section.write_bytes(tree.section)
    root.write_text(tree.root.hex())


def build_slot(given: SlotInput, verity_section: Path, verity_root: Path, image: Path, summary: Path) -> None:
    """The slot image, checked against its slot's size, and what it is in words."""
    facts = ReleaseFacts(
        profile=given.profile,
        version=given.version,
        rollback_index=given.rollback_index,
        signed_at=given.signed_at,
        flags_critical=(int(CriticalFlag.DEV) if given.dev else 0)
        | (int(CriticalFlag.REVOKES_OLDER) if given.revokes_older else 0),
        flags_optional=int(OptionalFlag.BASE_ON_DISK) if given.base_on_disk else 0,
        verity_root=bytes.fromhex(verity_root.read_text()),
    )
    raw = release.build_slot(
        facts,
        [
            (SectionType.KERNEL, given.kernel.read_bytes()),
            (SectionType.EROFS, given.erofs.read_bytes()),
            (SectionType.VERITY, verity_section.read_bytes()),
            (SectionType.LOADER, given.loader.read_bytes()),
            (SectionType.SYMBOLS, given.symbols.read_bytes()),
        ],
    )
    header = release.read_slot(raw).header  # what is read back is what a loader will see
    release.check_place(header, partition_size=given.slot_size, profile=given.profile)
    image.write_bytes(raw)
    summary.write_text(json.dumps({
        "release_digest": release.release_digest(raw).hex(),
        "size": len(raw),
        "verity_root": facts.verity_root.hex(),
        "sections": {s.name: {"length": s.length, "sha256": s.digest.hex()} for s in header.sections},
    }, sort_keys=True))
