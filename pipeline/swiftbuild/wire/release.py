"""Slot images: release header, signature area, sections (docs/formats/release-header.md).

The signed bytes are the first 4096; they are kept as they came and hashed as they came.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from swiftbuild.errors import DamageError, SpaceError
from swiftbuild.limits import PAGE
from swiftbuild.model.release import (
    CriticalFlag,
    ReleaseFacts,
    ReleaseHeader,
    Section,
    SectionType,
    SignatureArea,
)
from swiftbuild.wire import signature
from swiftbuild.wire.view import Buffer, align, padded, record, take, unpadded, zero

HEADER_SIZE = 4096
SIGNATURE_AREA_SIZE = 12288
SECTIONS_START = HEADER_SIZE + SIGNATURE_AREA_SIZE
SECTION_COUNT_MAX = 16
SIGNATURE_COUNT_MAX = 16
PRODUCT = "swift-os"
DISK_LAYOUT = 1
"""Version of docs/formats/disk.md."""
DOMAIN = b"swift-os/release-header/v1\0"
KNOWN_TYPES = frozenset(int(kind) for kind in SectionType)
REQUIRED = (SectionType.KERNEL, SectionType.EROFS, SectionType.VERITY, SectionType.LOADER)
KNOWN_CRITICAL_FLAGS = CriticalFlag.DEV | CriticalFlag.REVOKES_OLDER

FIXED = struct.Struct("<8sHHI32s32s32sQQQQQIIQQQII32s88sII")
ENTRY = struct.Struct("<IIQQ32sQ")
SIGNATURES = struct.Struct("<8sIIIIQ")
assert FIXED.size == 320 and ENTRY.size == 64 and SIGNATURES.size == 32  # noqa: S101


@dataclass(frozen=True)
class SlotImage:
    """A slot image that was read: its header, and the bytes behind it."""

    header: ReleaseHeader
    digest: bytes
    signatures: SignatureArea
    body: Buffer

    def section(self, wanted: SectionType) -> memoryview:
        """The bytes of one section, not hashed; `wrong_digests` does that."""
        section = self.header.section(wanted)
        if section is None:
            raise DamageError(f"slot image: no {wanted.name.lower()} section")
        return take(self.body, section.offset, section.length, f"{section.name} section")

    def wrong_digests(self) -> list[Section]:
        """The sections whose bytes are not those that the header names."""
        return [
            section
            for section in self.header.sections
            if hashlib.sha256(take(self.body, section.offset, section.length, f"{section.name} section")).digest()
            != section.digest
        ]


def encode_header(header: ReleaseHeader) -> bytes:
    """The 4096 signed bytes."""
    fixed = FIXED.pack(
        b"SWIFTREL", 1, header.minor, FIXED.size + ENTRY.size * len(header.sections),
        padded(header.product.encode(), 32), padded(header.profile.encode(), 32), padded(header.version.encode(), 32),
        header.rollback_index, header.signed_at, header.flags_critical, header.flags_optional, header.min_slot_size,
        header.min_disk_layout, header.loader_security_version,
        header.datafs_compat, header.datafs_ro_compat, header.datafs_incompat,
        header.package_abi_min, header.package_abi_max, header.verity_root, bytes(88), len(header.sections), ENTRY.size,
    )  # fmt: skip
    entries = (ENTRY.pack(s.type, int(s.critical), s.offset, s.length, s.digest, 0) for s in header.sections)
    return b"".join((fixed, *entries)).ljust(HEADER_SIZE, b"\0")


def decode_header(raw: Buffer) -> ReleaseHeader:
    """The header, with every rule that its bytes alone must keep."""
    raw = take(raw, 0, HEADER_SIZE, "release header")
    (magic, major, minor, length, product, profile, version, rollback_index, signed_at, flags_critical,
     flags_optional, min_slot_size, min_disk_layout, loader_security_version, compat, ro_compat, incompat,
     abi_min, abi_max, verity_root, reserved, count, entry_length) = FIXED.unpack_from(raw)  # fmt: skip
    if magic != b"SWIFTREL":
        raise DamageError("release header: it does not start with 'SWIFTREL'", hint="is the slot empty?")
    if major != 1:
        raise DamageError(f"release header: major version {major}, supported: 1")
    if not 1 <= count <= SECTION_COUNT_MAX or entry_length != ENTRY.size:
        raise DamageError(f"release header: {count} sections in entries of {entry_length} bytes")
    if length != FIXED.size + ENTRY.size * count:
        raise DamageError(f"release header: length {length} does not fit {count} sections")
    if minor == 0 and not (zero(reserved) and zero(raw[length:])):
        raise DamageError("release header: reserved bytes are not zero")
    if unknown := flags_critical & ~int(KNOWN_CRITICAL_FLAGS):
        raise DamageError(f"release header: unknown critical flags {unknown:#x}")
    header = record(
        "release header",
        lambda: ReleaseHeader(
            minor=minor,
            product=unpadded(product, "product"),
            profile=unpadded(profile, "profile"),
            version=unpadded(version, "version"),
            rollback_index=rollback_index,
            signed_at=signed_at,
            flags_critical=flags_critical,
            flags_optional=flags_optional,
            min_slot_size=min_slot_size,
            min_disk_layout=min_disk_layout,
            loader_security_version=loader_security_version,
            datafs_compat=compat,
            datafs_ro_compat=ro_compat,
            datafs_incompat=incompat,
            package_abi_min=abi_min,
            package_abi_max=abi_max,
            verity_root=verity_root,
            sections=tuple(_section(raw, index) for index in range(count)),
        ),
    )
    for name in ("product", "profile", "version"):
        if not getattr(header, name):
            raise DamageError(f"release header: {name} is empty")
    if header.package_abi_min > header.package_abi_max:
        raise DamageError(f"release header: package ABI {header.package_abi_min}..{header.package_abi_max}")
    _check_sections(header)
    return header


def check_place(header: ReleaseHeader, *, partition_size: int, profile: str | None = None) -> None:
    """A header that is right on its own must also fit the machine: product, profile, disk layout, slot size."""
    if header.product != PRODUCT:
        raise DamageError(f"release header: product {header.product!r}, expected {PRODUCT!r}")
    if profile is not None and header.profile != profile:
        raise DamageError(f"release header: profile {header.profile!r}, expected {profile!r}")
    if header.min_disk_layout > DISK_LAYOUT:
        raise DamageError(f"release header: needs disk layout {header.min_disk_layout}, this one is {DISK_LAYOUT}")
    if header.min_slot_size > partition_size:
        raise SpaceError(
            f"the slot image needs {header.min_slot_size} bytes, its slot has {partition_size}",
            hint="make base_a and base_b larger in the profile, or the base smaller",
        )


def _section(raw: Buffer, index: int) -> Section:
    type_, flags, offset, length, digest, reserved = ENTRY.unpack_from(raw, FIXED.size + index * ENTRY.size)
    if flags & ~1 or reserved:
        raise DamageError(f"release header: section {index}: reserved bits are set")
    return Section(type=type_, critical=bool(flags & 1), offset=offset, length=length, digest=digest)


def _check_sections(header: ReleaseHeader) -> None:
    """Each required section once and critical; no unknown critical one; ascending, aligned, inside the slot."""
    free_from = SECTIONS_START
    for section in header.sections:
        where = f"release header: {section.name} section"
        known = section.type in KNOWN_TYPES
        if section.critical and not known:
            raise DamageError(f"{where}: critical and unknown")
        if section.offset % PAGE or section.offset < free_from:
            raise DamageError(f"{where}: offset {section.offset} is not a multiple of {PAGE} from {free_from} on")
        if not section.length:
            raise DamageError(f"{where}: it has no bytes")
        if section.offset + section.length > header.min_slot_size:
            raise DamageError(f"{where}: ends at {section.offset + section.length}, behind {header.min_slot_size}")
        if known and section.critical != (section.type in REQUIRED):
            raise DamageError(f"{where}: its critical flag is wrong")
        free_from = section.offset + section.length
    types = [section.type for section in header.sections]
    for wanted in SectionType:
        count = types.count(wanted)
        if count > 1 or (count == 0 and wanted in REQUIRED):
            raise DamageError(f"release header: {count} {wanted.name.lower()} sections")


def encode_signatures(area: SignatureArea) -> bytes:
    """The 12288 bytes after the header."""
    body = padded(area.key_set, align(len(area.key_set), 8)) + signature.encode(area.signatures)
    length = SIGNATURES.size + len(body)
    head = SIGNATURES.pack(b"SWIFTSIG", 1, length, len(area.key_set), len(area.signatures), 0)
    return padded(head + body, SIGNATURE_AREA_SIZE)


def decode_signatures(raw: Buffer) -> SignatureArea:
    """The signature area; every length is bounded before it is used."""
    raw = take(raw, 0, SIGNATURE_AREA_SIZE, "signature area")
    magic, version, length, key_set_length, count, reserved = SIGNATURES.unpack_from(raw)
    if magic != b"SWIFTSIG" or version != 1 or reserved:
        raise DamageError("signature area: not 'SWIFTSIG' version 1")
    if not SIGNATURES.size <= length <= SIGNATURE_AREA_SIZE or count > SIGNATURE_COUNT_MAX:
        raise DamageError(f"signature area: {count} signatures in {length} bytes")
    used = raw[:length]
    key_set = bytes(take(used, SIGNATURES.size, key_set_length, "key set"))
    at = SIGNATURES.size + align(key_set_length, 8)
    return SignatureArea(key_set=key_set, signatures=signature.decode(used, at, count, "signature area"))


def build_slot(
    facts: ReleaseFacts, sections: Sequence[tuple[SectionType, Buffer]], signatures: SignatureArea | None = None
) -> bytes:
    """A slot image from its sections, in ascending order of type."""
    rows, parts, at = [], [], SECTIONS_START
    for type_, data in sorted(sections, key=lambda pair: pair[0]):
        rows.append(
            Section(
                type=int(type_),
                critical=type_ in REQUIRED,
                offset=at,
                length=len(data),
                digest=hashlib.sha256(data).digest(),
            )
        )
        parts += [data, bytes(align(len(data), PAGE) - len(data))]
        at += align(len(data), PAGE)
    header = ReleaseHeader(**facts.model_dump(), min_slot_size=at, sections=tuple(rows))
    _check_sections(header)
    return b"".join((encode_header(header), encode_signatures(signatures or SignatureArea()), *parts))


def release_digest(raw: Buffer) -> bytes:
    """SHA-256 of the signed bytes."""
    return hashlib.sha256(take(raw, 0, HEADER_SIZE, "release header")).digest()


def signed_message(digest: bytes) -> bytes:
    """What a release signature signs."""
    return DOMAIN + digest


def read_slot(raw: Buffer) -> SlotImage:
    """The slot image at the start of `raw`, which may be longer (a partition)."""
    header = decode_header(raw)
    check_place(header, partition_size=len(raw))
    signatures = decode_signatures(take(raw, HEADER_SIZE, SIGNATURE_AREA_SIZE, "signature area"))
    return SlotImage(header, release_digest(raw), signatures, take(raw, 0, header.min_slot_size, "slot image"))
