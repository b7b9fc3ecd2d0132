"""Slot images and release headers: round trip, and everything that must be refused."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from swiftbuild.errors import DamageError, SpaceError
from swiftbuild.model.release import ReleaseFacts, SectionType, SignatureArea
from swiftbuild.model.signing import Signature
from swiftbuild.wire import release

FACTS = ReleaseFacts(
    profile="qemu", version="0.1.0", rollback_index=3, flags_critical=1, datafs_compat=1, datafs_ro_compat=2,
    datafs_incompat=4, package_abi_min=1, package_abi_max=2, signed_at=5, verity_root=b"r" * 32,
)  # fmt: skip
SECTIONS = [
    (SectionType.KERNEL, b"kernel" * 1000),
    (SectionType.EROFS, bytes(8192)),
    (SectionType.VERITY, b"v" * 4096),
    (SectionType.LOADER, b"l" * 10),
    (SectionType.SYMBOLS, b"s"),
]
SIGNATURES = SignatureArea(
    key_set=b"keys!",
    signatures=(
        Signature(algorithm=1, key_id=b"k" * 32, signature=b"s" * 64),
        Signature(algorithm=77, key_id=b"q" * 32, signature=b"odd"),
    ),
)


def slot() -> bytearray:
    """A whole slot image."""
    return bytearray(release.build_slot(FACTS, SECTIONS, SIGNATURES))


def test_reads_back_what_was_built() -> None:
    image = release.read_slot(slot() + bytes(5000))
    assert ReleaseFacts(**{k: getattr(image.header, k) for k in ReleaseFacts.model_fields}) == FACTS
    assert [(s.type, bytes(image.section(SectionType(s.type)))) for s in image.header.sections] == SECTIONS
    assert image.signatures == SIGNATURES
    assert image.wrong_digests() == []
    assert image.header.min_slot_size == len(slot())
    assert release.encode_header(image.header) == slot()[:4096]


def test_a_changed_byte_shows_in_the_section_that_holds_it() -> None:
    image = slot()
    at = next(s.offset for s in release.read_slot(image).header.sections if s.type == SectionType.EROFS)
    image[at + 5000] ^= 1
    assert [s.name for s in release.read_slot(image).wrong_digests()] == ["erofs"]


def test_signatures_do_not_change_the_release_digest() -> None:
    assert release.release_digest(slot()) == release.release_digest(release.build_slot(FACTS, SECTIONS))


def patched(at: int, form: str, value: int) -> bytearray:
    """The slot image with one number changed."""
    image = slot()
    struct.pack_into(form, image, at, value)
    return image


KERNEL, EROFS, SYMBOLS = 320, 384, 576
REFUSED = {
    "magic": (0, "<B", 0), "major": (8, "<H", 2), "length too large": (12, "<I", 704),
    "an unknown critical flag": (128, "<Q", 4), "reserved": (224, "<B", 1), "tail": (4095, "<B", 1),
    "no sections": (312, "<I", 0), "too many sections": (312, "<I", 17), "entry length": (316, "<I", 72),
    "kernel missing": (KERNEL, "<I", 6), "kernel twice": (EROFS, "<I", 1), "critical and unknown": (EROFS, "<I", 99),
    "kernel not critical": (KERNEL + 4, "<I", 0), "symbols critical": (SYMBOLS + 4, "<I", 1),
    "unknown section flag": (KERNEL + 4, "<I", 3), "unaligned": (KERNEL + 8, "<Q", 16385),
    "inside the header": (KERNEL + 8, "<Q", 4096), "overlap": (EROFS + 8, "<Q", 16384),
    "outside": (SYMBOLS + 16, "<Q", 1 << 40), "wraps": (SYMBOLS + 8, "<Q", (1 << 64) - 4096),
    "longer than the slot": (144, "<Q", 1 << 40), "name not ASCII": (16, "<B", 0xFF), "after the NUL": (47, "<B", 65),
    "signature magic": (4096, "<B", 0), "signature version": (4104, "<I", 2),
    "signature length": (4108, "<I", 12289), "key set length": (4112, "<I", 1 << 31),
    "signature count": (4116, "<I", 17), "more than there are": (4116, "<I", 3),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refuses(name: str) -> None:
    with pytest.raises(DamageError if name != "longer than the slot" else SpaceError):
        release.read_slot(patched(*REFUSED[name]))


def test_accepts_what_a_newer_writer_may_add() -> None:
    for change in [(10, "<H", 7), (136, "<Q", 1 << 63), (SYMBOLS, "<I", 1000)]:
        release.read_slot(patched(*change))


@given(st.integers(0, 16383), st.binary(min_size=1, max_size=64))
def test_any_bytes_are_read_or_refused(at: int, junk: bytes) -> None:
    image = slot()
    image[at : at + len(junk)] = junk
    with contextlib.suppress(DamageError, SpaceError):
        release.read_slot(image)
