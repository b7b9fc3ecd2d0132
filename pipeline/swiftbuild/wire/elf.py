"""ELF64 AArch64 files: what the build needs to know of one, and what is made of its segments: the flat Image,
and a file of nothing else.

A small reader of its own, so that a build needs no ELF library; lief is the independent reader of `inspect --check`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from swiftbuild.errors import DamageError
from swiftbuild.wire.view import Buffer, take, unpadded

HEADER = struct.Struct("<4sBBBBB7sHHIQQQIHHHHHH")
PROGRAM = struct.Struct("<IIQQQQQQ")
SECTION = struct.Struct("<IIQQQQIIQQ")
SYMBOL = struct.Struct("<IBBHQQ")
DYNAMIC = struct.Struct("<qQ")
MACHINE_AARCH64 = 183
TYPE_EXEC, TYPE_DYN = 2, 3
PT_LOAD, PT_DYNAMIC, PT_INTERP, PT_NOTE = 1, 2, 3, 4
DT_NULL, DT_NEEDED, DT_STRTAB, DT_STRSZ, DT_RPATH, DT_RUNPATH = 0, 1, 5, 10, 15, 29
SHT_SYMTAB, SHT_NOTE = 2, 7
STT_FUNC = 2
FLAT_BYTES_MAX = 64 << 20
"""Bytes of a flat kernel Image."""
NAME_BYTES_MAX = 4096
"""Bytes of a library's name or a search path, with the NUL."""
IMAGE_MAGIC = b"ARM\x64"


@dataclass(frozen=True)
class Segment:
    """A PT_LOAD segment."""

    flags: int
    offset: int
    virtual: int
    physical: int
    file_size: int
    memory_size: int

    @property
    def rights(self) -> str:
        """As `r-x`."""
        return "".join(c if self.flags & bit else "-" for c, bit in (("r", 4), ("w", 2), ("x", 1)))


@dataclass(frozen=True)
class Linking:
    """What a file asks of others before it can run (System V gABI, chapter 5)."""

    interpreter: str = ""
    """PT_INTERP: the path of its dynamic linker."""
    libraries: tuple[str, ...] = ()
    """DT_NEEDED, in order."""
    folders: tuple[str, ...] = ()
    """DT_RUNPATH, or DT_RPATH where there is none: folders that are searched before the usual ones."""


@dataclass(frozen=True)
class Elf:
    """A checked ELF file."""

    data: Buffer
    type: int
    entry: int
    segments: tuple[Segment, ...]
    linking: Linking = Linking()

    def writable_and_executable(self) -> list[Segment]:
        """The segments that break W^X."""
        return [s for s in self.segments if s.flags & 2 and s.flags & 1]


def read(data: Buffer, what: str) -> Elf:
    """The file's facts; `what` names it in errors."""
    try:
        fields = HEADER.unpack(take(data, 0, HEADER.size, what))
    except DamageError:
        raise DamageError(f"{what}: {len(data)} bytes are too short for an ELF file") from None
    (magic, class_, order, _, _, _, _, type_, machine, _, entry, program_at, _, _, _, program_size, program_count,
     _, _, _) = fields  # fmt: skip
    if magic != b"\x7fELF":
        raise DamageError(f"{what}: not an ELF file")
    if (class_, order, machine) != (2, 1, MACHINE_AARCH64):
        raise DamageError(
            f"{what}: wrong architecture: class {class_}, byte order {order}, machine {machine}; "
            f"expected 64-bit little-endian AArch64 ({MACHINE_AARCH64})"
        )
    if program_count and program_size != PROGRAM.size:
        raise DamageError(f"{what}: program headers of {program_size} bytes, expected {PROGRAM.size}")
    table = take(data, program_at, program_count * program_size, f"{what}: program headers")
    segments = []
    places = {}
    for kind, flags, offset, virtual, physical, file_size, memory_size, _ in PROGRAM.iter_unpack(table):
        if kind in {PT_DYNAMIC, PT_INTERP}:
            places[kind] = take(data, offset, file_size, f"{what}: program header of type {kind}")
        if kind != PT_LOAD:
            continue
        take(data, offset, file_size, f"{what}: segment at {virtual:#x} (truncated file?)")
        if memory_size < file_size:
            raise DamageError(f"{what}: segment at {virtual:#x}: larger in the file than in memory")
        segments.append(Segment(flags, offset, virtual, physical, file_size, memory_size))
    linking = _linking(data, segments, places, what)
    return Elf(data, type_, entry, tuple(segments), linking)


def _linking(data: Buffer, segments: list[Segment], places: dict[int, memoryview], what: str) -> Linking:
    interpreter = unpadded(places[PT_INTERP], f"{what}: PT_INTERP", "utf-8") if PT_INTERP in places else ""
    entries: list[tuple[int, int]] = []
    table = places.get(PT_DYNAMIC, memoryview(b""))
    for tag, value in DYNAMIC.iter_unpack(table[: len(table) // DYNAMIC.size * DYNAMIC.size]):
        if tag == DT_NULL:
            break
        entries.append((tag, value))
    known = dict(entries)
    if not known.keys() & {DT_NEEDED, DT_RPATH, DT_RUNPATH}:
        return Linking(interpreter)
    if not known.keys() >= {DT_STRTAB, DT_STRSZ}:
        raise DamageError(f"{what}: its dynamic section has names and no string table")
    strings = _at(data, segments, known[DT_STRTAB], known[DT_STRSZ], what)

    def name(at: int) -> str:
        text, zero, _ = bytes(strings[at : at + NAME_BYTES_MAX]).partition(b"\0")
        if not zero:
            raise DamageError(f"{what}: a name of its dynamic section has no end")
        return text.decode("utf-8", "backslashreplace")

    paths = [name(value) for tag, value in entries if tag == (DT_RUNPATH if DT_RUNPATH in known else DT_RPATH)]
    return Linking(interpreter, tuple(name(value) for tag, value in entries if tag == DT_NEEDED),
                   tuple(folder for path in paths for folder in path.split(":") if folder))


def _at(data: Buffer, segments: list[Segment], virtual: int, length: int, what: str) -> memoryview:
    """The file's bytes of an address."""
    for s in segments:
        if s.virtual <= virtual and virtual + length <= s.virtual + s.file_size:
            return take(data, s.offset + virtual - s.virtual, length, what)
    raise DamageError(f"{what}: address {virtual:#x} of its dynamic section lies in no segment")


def check_kernel(data: Buffer, what: str) -> Elf:
    """A kernel that may go into an image: fixed address, W^X, entry inside an executable segment."""
    elf = read(data, what)
    if elf.type != TYPE_EXEC:
        raise DamageError(f"{what}: ELF type {elf.type}, a kernel is linked at a fixed address (type {TYPE_EXEC})")
    if not elf.segments:
        raise DamageError(f"{what}: no segment to load")
    for segment in elf.writable_and_executable():
        raise DamageError(
            f"{what}: segment at {segment.virtual:#x} is writable and executable",
            hint="keep .text apart from .data in the linker script, and link with --no-omagic",
        )
    if not any(s.flags & 1 and s.virtual <= elf.entry < s.virtual + s.memory_size for s in elf.segments):
        raise DamageError(f"{what}: entry {elf.entry:#x} lies in no executable segment")
    return elf


def flat_image(elf: Elf, what: str) -> bytes:
    """The PT_LOADs' bytes at their physical distances: what `-kernel` takes (Linux arm64 boot protocol)."""
    loads = sorted((s for s in elf.segments if s.file_size), key=lambda s: s.physical)
    if not loads:
        raise DamageError(f"{what}: no segment with contents")
    base = loads[0].physical
    length = max(s.physical + s.file_size for s in loads) - base
    if length > FLAT_BYTES_MAX:
        raise DamageError(f"{what}: flat image of {length} bytes, at most {FLAT_BYTES_MAX}")
    out = bytearray(length)
    for s in loads:
        at = s.physical - base
        out[at : at + s.file_size] = take(elf.data, s.offset, s.file_size, what)
    if out[56:60] != IMAGE_MAGIC:
        raise DamageError(f"{what}: its first segment does not start with an arm64 Image header")
    return bytes(out)


def loadable(elf: Elf, what: str) -> bytes:
    """The file without what follows its segments, for nothing loads that: symbols, debugging information, and the
    section headers (System V gABI, chapter 4: a file that is executed need not have any)."""
    fields = list(HEADER.unpack(take(elf.data, 0, HEADER.size, what)))
    table_at, size, count = fields[11], fields[15], fields[16]
    table = take(elf.data, table_at, count * size, f"{what}: program headers")
    ends = [offset + file_size for _, _, offset, _, _, file_size, _, _ in PROGRAM.iter_unpack(table)]
    out = bytearray(take(elf.data, 0, max(HEADER.size, table_at + len(table), *ends), what))
    fields[12] = fields[18] = fields[19] = 0  # where the section headers are, how many, which has their names
    out[: HEADER.size] = HEADER.pack(*fields)
    return bytes(out)


def functions(data: Buffer, what: str) -> list[tuple[int, str]]:
    """(address, mangled name) of every function in .symtab, by address, one name per address."""
    fields = HEADER.unpack(take(data, 0, HEADER.size, what))
    section_at, section_size, section_count = fields[12], fields[17], fields[18]
    if section_size != SECTION.size:
        raise DamageError(f"{what}: section headers of {section_size} bytes, expected {SECTION.size}")
    sections = list(SECTION.iter_unpack(take(data, section_at, section_count * section_size, f"{what}: sections")))
    found: dict[int, str] = {}
    for _, kind, _, _, offset, size, link, _, _, entry_size in sections:
        if kind != SHT_SYMTAB:
            continue
        if entry_size != SYMBOL.size or link >= len(sections) or size % SYMBOL.size:
            raise DamageError(f"{what}: damaged symbol table")
        names = take(data, sections[link][4], sections[link][5], f"{what}: symbol names")
        for name_at, info, _, index, value, _ in SYMBOL.iter_unpack(take(data, offset, size, f"{what}: symbols")):
            if info & 0xF == STT_FUNC and index and name_at < len(names):
                name = bytes(names[name_at : name_at + 1024]).split(b"\0", 1)[0].decode("utf-8", "replace")
                found[value] = min(found.get(value, name), name)
    return sorted(found.items())
