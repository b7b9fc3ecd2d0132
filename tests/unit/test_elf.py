"""The ELF reader: W^X, wrong architecture, truncation; the flat Image; the symbols section."""

from __future__ import annotations

import contextlib
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from swiftbuild.errors import DamageError
from swiftbuild.wire import elf, symbols

from tests.images import BASE, GOOD, HEAD, make_linked
from tests.images import make_elf as make


def test_a_good_kernel_passes_and_gives_its_image() -> None:
    kernel = elf.check_kernel(make(GOOD), "kernel.elf")
    assert [s.rights for s in kernel.segments] == ["r-x", "rw-"]
    flat = elf.flat_image(kernel, "kernel.elf")
    assert flat == (HEAD + b"text").ljust(0x2000, b"\0") + b"data"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (make([*GOOD, (7, BASE + 0x8000, b"x", 1)]), "writable and executable"),
        (make(GOOD, machine=62), "wrong architecture"),
        (make(GOOD)[:-2], "truncated"),
        (make(GOOD)[:30], "too short"),
        (make(GOOD)[:100], "program headers"),
        (make(GOOD, type_=3), "fixed address"),
        (make(GOOD, entry=BASE + 0x2000), "no executable segment"),
        (make([]), "no segment"),
        (b"MZ" + make(GOOD)[2:], "not an ELF file"),
        (make([(5, BASE, b"longer", 3)]), "larger in the file"),
    ],
)
def test_refuses(data: bytes, message: str) -> None:
    with pytest.raises(DamageError, match=message):
        elf.check_kernel(data, "kernel.elf")


def test_what_is_loaded_of_a_kernel() -> None:
    names = b"\0entry\0"
    symbol = elf.SYMBOL.pack(1, elf.STT_FUNC, 0, 1, BASE, 4)
    whole = make(GOOD)
    tables = [elf.SECTION.pack(0, elf.SHT_SYMTAB, 0, 0, len(whole), len(symbol), 1, 0, 8, elf.SYMBOL.size),
              elf.SECTION.pack(0, 3, 0, 0, len(whole) + len(symbol), len(names), 0, 0, 1, 0)]
    fields = list(elf.HEADER.unpack(whole[: elf.HEADER.size]))
    fields[12], fields[18], fields[19] = len(whole) + len(symbol) + len(names), len(tables), 1
    full = elf.HEADER.pack(*fields) + whole[elf.HEADER.size :] + symbol + names + b"".join(tables)
    assert elf.functions(full, "k") == [(BASE, "entry")]
    loadable = elf.loadable(elf.check_kernel(full, "k"), "k")
    assert loadable == whole
    assert elf.check_kernel(loadable, "k").segments == elf.check_kernel(full, "k").segments
    assert elf.functions(loadable, "k") == []
    assert elf.loadable(elf.read(loadable, "k"), "k") == loadable


def test_an_image_needs_its_header() -> None:
    with pytest.raises(DamageError, match="Image header"):
        elf.flat_image(elf.read(make([(5, BASE, bytes(64), 64)]), "k"), "k")


def test_a_gap_of_gigabytes_is_no_image() -> None:
    far = elf.read(make([*GOOD, (6, BASE + (1 << 40), b"x", 1)]), "k")
    with pytest.raises(DamageError, match="flat image of"):
        elf.flat_image(far, "k")


def test_what_a_program_is_linked_to() -> None:
    made = make_linked("/lib/ld.so", ["libc.so.6", "libm.so.6"], "$ORIGIN/../lib:/opt/lib")
    assert elf.read(made, "p").linking == elf.Linking("/lib/ld.so", ("libc.so.6", "libm.so.6"),
                                                      ("$ORIGIN/../lib", "/opt/lib"))
    assert elf.read(make(GOOD), "p").linking == elf.Linking()


def test_the_machines_own_reader_finds_the_same_libraries() -> None:
    path = Path("/usr/aarch64-linux-gnu/lib/libm.so.6")
    linking = elf.read(path.read_bytes(), "libm").linking
    shown = subprocess.run(["/usr/bin/aarch64-linux-gnu-readelf", "-d", str(path)], check=True, capture_output=True,
                           text=True).stdout
    assert list(linking.libraries) == re.findall(r"\(NEEDED\).*\[(.*)\]", shown)
    assert "libc.so.6" in linking.libraries


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"strings_at": 0x9000_0000}, "lies in no segment"),
        ({"strings_size": 1 << 20}, "lies in no segment"),
        ({"strings_size": None}, "no string table"),
        ({"name_at": 1 << 16}, "has no end"),
    ],
)
def test_a_damaged_dynamic_section(changes: dict[str, int | None], message: str) -> None:
    with pytest.raises(DamageError, match=message):
        elf.read(make_linked("/lib/ld.so", ["libc.so.6"], "", **changes), "p")


def test_a_damaged_name_of_the_dynamic_linker() -> None:
    with pytest.raises(DamageError, match="PT_INTERP: bytes after the NUL"):
        elf.read(make_linked("/lib\0ld.so", []), "p")


@given(st.integers(0, 400), st.binary(min_size=1, max_size=16))
def test_any_linked_bytes_are_read_or_refused(at: int, junk: bytes) -> None:
    data = bytearray(make_linked("/lib/ld.so", ["libc.so.6"], "/opt"))
    data[at : at + len(junk)] = junk
    with contextlib.suppress(DamageError):
        elf.read(data, "p")


@given(st.integers(0, 175), st.binary(min_size=1, max_size=16))
def test_any_bytes_are_read_or_refused(at: int, junk: bytes) -> None:
    data = bytearray(make(GOOD))
    data[at : at + len(junk)] = junk
    with contextlib.suppress(DamageError):
        elf.functions(data, "k")
    with contextlib.suppress(DamageError):
        elf.flat_image(elf.check_kernel(data, "k"), "k")
    with contextlib.suppress(DamageError):
        elf.loadable(elf.read(data, "k"), "k")


def test_symbols_round_trip_sorted_and_shared() -> None:
    given_ = [(BASE + 16, "b::z"), (BASE, "a"), (BASE + 32, "a"), (0x1000, "outside"), (BASE + (1 << 32), "far")]
    section = symbols.encode(given_)
    assert symbols.decode(section) == [(BASE, "a"), (BASE + 16, "b::z"), (BASE + 32, "a")]
    assert section.count(b"a\0") == 1


@pytest.mark.parametrize("at", [0, 8, 12, 16, 20, 24, 36])
def test_damaged_symbols_are_refused(at: int) -> None:
    section = bytearray(symbols.encode([(BASE, "a"), (BASE + 16, "b"), (BASE + 32, "c")]))
    section[at] ^= 0x80
    with pytest.raises(DamageError):
        symbols.decode(section)
