"""The release header and the signature area of a slot image (docs/formats/release-header.md)."""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Annotated

from pydantic import Field

from swiftbuild.model.binary import U16, U32, U64, Ascii32, Bytes32, Record
from swiftbuild.model.signing import Signature


class SectionType(IntEnum):
    """What a section holds. 1 to 4 are each present once; symbols are optional."""

    KERNEL = 1
    EROFS = 2
    VERITY = 3
    LOADER = 4
    SYMBOLS = 5


class CriticalFlag(IntFlag):
    """Bits of flags_critical; a reader refuses one that it does not know."""

    DEV = 1
    REVOKES_OLDER = 2


class OptionalFlag(IntFlag):
    """Bits of flags_optional; a reader passes over one that it does not know."""

    BASE_ON_DISK = 1
    """The EROFS stays on its slot, and is read from there."""


class Section(Record):
    """A row of the section table; `type` may be a number that this version does not know."""

    type: U32
    critical: bool
    offset: U64
    length: U64
    digest: Bytes32

    @property
    def name(self) -> str:
        """Its kind in words."""
        try:
            return SectionType(self.type).name.lower()
        except ValueError:
            return f"type {self.type}"


LOADER_SECURITY = 1
"""Of the loader in this tree: raised when an older one must not be started any more on a machine that has committed."""


class ReleaseFacts(Record):
    """What the builder decides about a release; the rest of the header follows from the sections."""

    product: Ascii32 = "swift-os"
    profile: Ascii32
    version: Ascii32
    rollback_index: U64
    signed_at: U64 = 0
    flags_critical: U64 = 0
    flags_optional: U64 = 0
    min_disk_layout: U32 = 1
    loader_security_version: U32 = LOADER_SECURITY
    datafs_compat: U64 = 0
    datafs_ro_compat: U64 = 0
    datafs_incompat: U64 = 0
    package_abi_min: U32 = 1
    package_abi_max: U32 = 1
    verity_root: Bytes32


class ReleaseHeader(ReleaseFacts):
    """The signed bytes of a slot image."""

    minor: U16 = 0
    min_slot_size: U64
    sections: Annotated[tuple[Section, ...], Field(min_length=1, max_length=16)]

    def section(self, wanted: SectionType) -> Section | None:
        """The section of that type."""
        return next((s for s in self.sections if s.type == wanted), None)


class SignatureArea(Record):
    """What stands outside the signed bytes."""

    key_set: bytes = b""
    signatures: Annotated[tuple[Signature, ...], Field(max_length=16)] = ()
