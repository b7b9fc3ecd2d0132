"""The loader files of an EFI system partition, found as a machine finds them; and what is no such partition."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

import pytest
from swiftbuild.errors import DamageError, SpaceError
from swiftbuild.limits import MIB
from swiftbuild.model.disk import LOADER_FILE_BYTES, LOADER_PATH, SECOND_LOADER_PATH
from swiftbuild.wire import esp, fat32, pe

SIZE = 64 * MIB
OLD, NEW = (random.Random(seed).randbytes(150_000 + seed) for seed in (1, 2))  # noqa: S311 - test data
FIRST_TABLE = 32 * 512


def volume(first: bytes = OLD, second: bytes = NEW) -> bytearray:
    """Two loaders, and other files around them."""
    files = {LOADER_PATH: esp.padded(first), SECOND_LOADER_PATH: esp.padded(second), "base.img": b"x" * 99_999,
             "EFI/BOOT/a long name.text": b"y"}
    return bytearray(fat32.build(files, size=SIZE, serial=1).ljust(SIZE, b"\0"))


def entry(raw: bytearray, name: bytes) -> int:
    """Where a file's entry stands."""
    return raw.index(name)


def first_cluster(raw: bytearray, name: bytes) -> int:
    """Of a file."""
    at = entry(raw, name)
    return int.from_bytes(raw[at + 26 : at + 28] + raw[at + 20 : at + 22], "little")


def test_both_files_are_found_and_change_places_by_one_sector() -> None:
    raw = volume()
    assert [bytes(file) for file in esp.find(raw)] == [esp.padded(OLD), esp.padded(NEW)]
    one, other = (entry(raw, name) for name in (b"BOOTAA64EFI", b"SECOND  EFI"))
    assert one // 512 == other // 512
    for at in (20, 21, 26, 27):
        raw[one + at], raw[other + at] = raw[other + at], raw[one + at]
    assert [bytes(file) for file in esp.find(raw)] == [esp.padded(NEW), esp.padded(OLD)]


def test_on_a_fresh_disk_the_second_is_as_good_as_the_first() -> None:
    files = esp.loader_files(OLD)
    assert set(files) == {LOADER_PATH, SECOND_LOADER_PATH}
    assert {len(file) for file in files.values()} == {LOADER_FILE_BYTES}
    with pytest.raises(SpaceError, match="1048577 bytes"):
        esp.loader_files(bytes(LOADER_FILE_BYTES + 1))


def put(raw: bytearray, at: int, value: bytes) -> None:
    raw[at : at + len(value)] = value


def scatter(raw: bytearray) -> None:
    cluster = first_cluster(raw, b"SECOND  EFI")
    put(raw, FIRST_TABLE + 4 * (cluster + 3), struct.pack("<I", cluster + 9))


def end_early(raw: bytearray) -> None:
    put(raw, FIRST_TABLE + 4 * (first_cluster(raw, b"BOOTAA64EFI") + 3), struct.pack("<I", 0x0FFF_FFFF))


@pytest.mark.parametrize(("edit", "why"), [
    (lambda raw: put(raw, 510, b"\0\0"), "no FAT32 volume"),
    (lambda raw: put(raw, 11, b"\0\x08"), "no FAT32 volume"),
    (lambda raw: put(raw, 36, bytes(4)), "no FAT32 volume"),
    (lambda raw: put(raw, 44, struct.pack("<I", 0x0FFF_0000)), "lie outside"),
    (lambda raw: put(raw, entry(raw, b"SECOND  EFI"), b"SECONX"), "there is no EFI/BOOT/SECOND.EFI"),
    (lambda raw: put(raw, entry(raw, b"BOOTAA64EFI") + 11, b"\x28"), "there is no EFI/BOOT/BOOTAA64.EFI"),
    (lambda raw: put(raw, entry(raw, b"SECOND  EFI") + 28, struct.pack("<I", 512)), "cannot change places"),
    (scatter, "do not lie in a row"),
    (end_early, "do not lie in a row"),
])  # fmt: skip
def test_what_a_machine_would_not_take_is_told(edit: Callable[[bytearray], None], why: str) -> None:
    raw = volume()
    edit(raw)
    with pytest.raises(DamageError, match=why):
        esp.find(raw)


@pytest.mark.parametrize("length", [0, 511, 512, 40_000, 2 * MIB])
def test_a_volume_that_ends_early_is_told(length: int) -> None:
    with pytest.raises(DamageError):
        esp.find(volume()[:length])


def pe_file(entry_point: int = 0x1010) -> bytearray:
    """One section at 0x1000 whose bytes begin at 0x400."""
    raw = bytearray(0x800)
    struct.pack_into("<I", raw, 0x3C, 0x80)
    struct.pack_into("<4sHHIIIHH", raw, 0x80, b"PE\0\0", 0xAA64, 1, 0, 0, 0, 112, 0)
    struct.pack_into("<I", raw, 0x80 + 24 + 16, entry_point)
    struct.pack_into("<8sIIII", raw, 0x80 + 24 + 112, b".text", 0x200, 0x1000, 0x200, 0x400)
    return raw


def test_the_entry_point_of_a_pe_file_is_found() -> None:
    assert pe.entry_offset(pe_file()) == 0x410
    for raw, why in ((pe_file(0x5000), "lies in no section"), (bytearray(0x800), "no signature"),
                     (pe_file()[:0x90], "lie outside"), (bytearray(2), "lie outside")):  # fmt: skip
        with pytest.raises(DamageError, match=why):
            pe.entry_offset(raw)
