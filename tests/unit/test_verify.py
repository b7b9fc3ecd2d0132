"""`core.verify`: a right release has no fault, and each fault has its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from swiftbuild.core.verify import faults
from swiftbuild.model.release import SectionType, SignatureArea
from swiftbuild.wire import keyset, release

from tests.fakes import FakeSigner
from tests.images import build_slot, parts

NOW = 1_800_000_000
SIGNER = FakeSigner(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_slot(parts(tmp_path_factory.mktemp("verify")), "right")


@pytest.fixture(scope="module")
def right(folder: Path) -> bytes:
    return (folder / "slot").read_bytes()


def codes(raw: bytes, *, at: int = NOW, seen: int = 0, signer: FakeSigner = SIGNER) -> set[str]:
    return {fault.code for fault in faults(raw, signer.roots, at=at, key_set_seen=seen)}


def flipped(raw: bytes, at: int) -> bytes:
    return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]


def inside(raw: bytes, kind: SectionType, offset: int = 200) -> bytes:
    section = release.decode_header(raw).section(kind)
    assert section
    return flipped(raw, section.offset + offset)


def behind_the_symbols(raw: bytes) -> bytes:
    section = release.decode_header(raw).section(SectionType.SYMBOLS)
    assert section
    return flipped(raw, section.offset + section.length + 1)


def resigned(raw: bytes, **change: object) -> bytes:
    """With another key set, signed by the same root and keys."""
    old = keyset.decode(SIGNER.key_set).key_set.model_copy(update=change)
    message = keyset.signed_message(keyset.digest(keyset.encode_signed(old)))
    known = keyset.encode(old, [SIGNER._signature(SIGNER._root, message)])
    by = SIGNER.sign(release.signed_message(release.release_digest(raw)))
    area = release.encode_signatures(SignatureArea(key_set=known, signatures=by))
    return raw[: release.HEADER_SIZE] + area + raw[release.SECTIONS_START :]


def unsigned(raw: bytes) -> bytes:
    area = release.encode_signatures(SignatureArea(key_set=SIGNER.key_set))
    return raw[: release.HEADER_SIZE] + area + raw[release.SECTIONS_START :]


def test_a_right_release_has_no_fault(right: bytes) -> None:
    assert codes(right) == set()
    assert codes(right, seen=1) == set()


FAULTS: dict[str, tuple[Callable[[bytes], bytes], set[str]]] = {
    "cut": (lambda raw: raw[:-4096], {"header"}),
    "empty": (lambda raw: b"", {"header"}),
    "longer": (lambda raw: raw + bytes(4096), {"size"}),
    "magic": (lambda raw: flipped(raw, 0), {"header"}),
    "rollback index": (lambda raw: flipped(raw, 112), {"signature-release"}),
    "kernel": (lambda raw: inside(raw, SectionType.KERNEL), {"digest"}),
    "base": (lambda raw: inside(raw, SectionType.EROFS, 9000), {"digest", "verity"}),
    "tree": (lambda raw: inside(raw, SectionType.VERITY, 4096), {"digest", "verity"}),
    "loader": (lambda raw: inside(raw, SectionType.LOADER, 100), {"digest"}),
    "symbols": (lambda raw: inside(raw, SectionType.SYMBOLS, 0), {"digest", "symbols"}),
    "gap": (behind_the_symbols, {"gap"}),
    "unsigned": (unsigned, {"signature-release"}),
    "key set": (lambda raw: flipped(raw, 4096 + 32), {"signature-key-set"}),
    "signature area": (lambda raw: flipped(raw, 4096), {"header"}),
    "root keys": (lambda raw: raw.replace(b"SWROOTKY", b"SWROOTK?"), {"digest", "root-keys"}),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_has_its_name(right: bytes, name: str) -> None:
    change, wanted = FAULTS[name]
    assert codes(change(right)) == wanted


def test_another_root_accepts_it_not(right: bytes) -> None:
    assert codes(right, signer=FakeSigner(2)) == {"signature-root"}


def test_a_set_expires_at_the_end_of_its_last_second(right: bytes) -> None:
    raw = resigned(right, expires=NOW)
    assert codes(raw, at=NOW) == set()
    assert codes(raw, at=NOW + 1) == {"expired"}


def test_a_set_older_than_the_one_in_use_is_refused(right: bytes) -> None:
    assert codes(right, seen=2) == {"key-set-old"}
    assert codes(resigned(right, version=2), seen=2) == set()


def test_throw_away_keys_under_what_is_not_marked(folder: Path, tmp_path: Path) -> None:
    given = replace(parts(tmp_path), dev=False)
    raw = (build_slot(given, "bare") / "slot").read_bytes()
    assert codes(raw) == set()
    assert codes(resigned(raw, flags=1)) == {"signature-unmarked"}
