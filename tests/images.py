"""Small but complete disk images for tests, made by the pipeline's own stages from parts that are never run."""

from __future__ import annotations

import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

from swiftbuild.machine.media import mapped
from swiftbuild.model.profile import DiskSizes
from swiftbuild.model.release import SectionType
from swiftbuild.model.signing import Roots
from swiftbuild.stages import disk, sign, slot
from swiftbuild.wire import elf, gpt, release, symbols

from tests.fakes import FakeSigner

BASE = symbols.KERNEL_BASE
Load = tuple[int, int, bytes, int]
HEAD = struct.pack("<II6Q4sI", 0x14000000, 0, 0, 0, 0, 0, 0, 0, elf.IMAGE_MAGIC, 0)
GOOD: list[Load] = [(5, BASE, HEAD + b"text", 4096), (6, BASE + 0x2000, b"data", 0x3000)]


def make_elf(loads: list[Load], *, entry: int = BASE, machine: int = 183, type_: int = 2) -> bytes:
    """An ELF of (flags, virtual address, contents, memory size), at 0x40080000."""
    at = elf.HEADER.size + len(loads) * elf.PROGRAM.size
    programs, bodies = b"", b""
    for flags, virtual, contents, size in loads:
        physical = virtual - BASE + 0x4008_0000
        programs += elf.PROGRAM.pack(1, flags, at + len(bodies), virtual, physical, len(contents), size, 4096)
        bodies += contents
    header = elf.HEADER.pack(
        b"\x7fELF", 2, 1, 1, 0, 0, bytes(7), type_, machine, 1, entry, elf.HEADER.size, 0, 0, 64, 56, len(loads), 64,
        0, 0,
    )  # fmt: skip
    return header + programs + bodies


def make_linked(
    interpreter: str, libraries: list[str], runpath: str = "", *, strings_at: int | None = -1,
    strings_size: int | None = -1, name_at: int | None = -1,
) -> bytes:
    """A program with a dynamic section. A number that is given stands in place of the right one; None: nothing does."""
    strings, needed = b"\0", []
    for name in libraries:
        needed.append((elf.DT_NEEDED, len(strings) if name_at == -1 else name_at or 0))
        strings += name.encode() + b"\0"
    if runpath:
        needed.append((elf.DT_RUNPATH, len(strings)))
        strings += runpath.encode() + b"\0"
    start = elf.HEADER.size + 3 * elf.PROGRAM.size
    path = interpreter.encode() + b"\0"
    table_at = start + len(path) + len(strings)
    facts = {elf.DT_STRTAB: BASE + start + len(path) if strings_at == -1 else strings_at,
             elf.DT_STRSZ: len(strings) if strings_size == -1 else strings_size}
    entries = [*needed, *((tag, value) for tag, value in facts.items() if value is not None), (elf.DT_NULL, 0)]
    table = b"".join(elf.DYNAMIC.pack(tag, value) for tag, value in entries)
    whole = table_at + len(table)
    programs = elf.PROGRAM.pack(elf.PT_LOAD, 5, 0, BASE, BASE, whole, whole, 4096)
    programs += elf.PROGRAM.pack(elf.PT_INTERP, 4, start, BASE + start, 0, len(path), len(path), 1)
    programs += elf.PROGRAM.pack(elf.PT_DYNAMIC, 4, table_at, BASE + table_at, 0, len(table), len(table), 8)
    header = elf.HEADER.pack(b"\x7fELF", 2, 1, 1, 0, 0, bytes(7), 3, 183, 1, BASE, elf.HEADER.size, 0, 0, 64, 56, 3, 64,
                             0, 0)
    return header + programs + path + strings + table


def make_loader(folder: Path, key: int, roots: Roots | None = None) -> Path:
    """An EFI application for arm64 that carries the root key of `FakeSigner(key)`, or those that are given."""
    chosen = roots or FakeSigner(key).roots
    count, places = len(chosen.keys), {root.key: 1 << at for at, root in enumerate(chosen.keys)}
    quorums = [(quorum.threshold, sum(places[root.key] for root in quorum.keys)) for quorum in chosen.quorums]
    numbers = ", ".join(str(number) for pair in [*quorums, (0, 0)][:2] for number in pair)
    keys = ",".join(str(byte) for root in chosen.keys for byte in root.key)
    source, out = folder / "loader.s", folder / f"loader{key}.efi"
    source.write_text(
        ".text\n.globl entry\nentry: ret\n.section .rdata\n.balign 8\n"
        f'.ascii "SWROOTKY"\n.long 2, {count}, {numbers}\n'
        f".byte {keys}\n.fill {256 - 32 * count}, 1, 0\n"
    )
    subprocess.run(["/usr/bin/llvm-mc-19", "-triple=aarch64-windows", "-filetype=obj", "-o", str(folder / "loader.obj"),
                    str(source)], check=True)  # fmt: skip
    subprocess.run(["/usr/bin/lld-link-19", "/subsystem:efi_application", "/entry:entry", "/nodefaultlib",
                    "/timestamp:0", f"/out:{out}", str(folder / "loader.obj")], check=True)  # fmt: skip
    return out


@dataclass(frozen=True)
class Parts:
    """What an image is made of; a test changes one."""

    folder: Path
    root: Path
    kernel: bytes
    loader: Path
    profile: str = "qemu"
    keys: int = 1
    """Number of the signer, whose root key the loader carries."""
    dev: bool = True
    version: str = "0.1.0"


def parts(folder: Path) -> Parts:
    """Parts that are right."""
    root = folder / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc" / "motd").write_text("welcome\n")
    (root / "etc" / "words").write_bytes(bytes(range(256)) * 80)
    return Parts(folder, root, make_elf(GOOD), make_loader(folder, 1))


def build_slot(given: Parts, name: str) -> Path:
    """The folder with the slot image of these parts: `unsigned`, and signed as `slot`."""
    folder = given.folder / name
    folder.mkdir()
    names = ("kernel", "symbols", "erofs", "verity", "root", "unsigned", "slot", "json")
    made = {part: folder / part for part in names}
    made["kernel"].write_bytes(given.kernel)
    made["symbols"].write_bytes(symbols.encode([(BASE, "entry")]))
    subprocess.run(["/usr/bin/mkfs.erofs", "--quiet", "-T", "1000000000", "-U", "11111111-2222-8333-8444-555555555555",
                    "--all-root", str(made["erofs"]), str(given.root)], check=True, capture_output=True)  # fmt: skip
    slot.build_verity(given.profile, made["erofs"], "00" * 32, made["verity"], made["root"])
    facts = slot.SlotInput(
        profile=given.profile, version=given.version, rollback_index=1, dev=given.dev, base_on_disk=False,
        revokes_older=False, signed_at=0,
        slot_size=128 << 20, kernel=made["kernel"], symbols=made["symbols"], loader=given.loader, erofs=made["erofs"],
    )  # fmt: skip
    slot.build_slot(facts, made["verity"], made["root"], made["unsigned"], made["json"])
    sign.sign_slot(made["unsigned"], FakeSigner(given.keys), made["slot"])
    return folder


def build(given: Parts, name: str) -> Path:
    """The disk image of these parts."""
    folder = build_slot(given, name)
    (folder / "data").write_bytes(b"")  # a partition that holds nothing
    whole = disk.DiskInput(
        profile=given.profile, version="0.1.0", rollback_index=1, sizes=DiskSizes(), file_time=1_767_225_600,
        slot_image=folder / "slot", loader=given.loader, data=folder / "data",
    )  # fmt: skip
    disk.build_disk(whole, folder / "disk.img", folder / "json")
    return folder / "disk.img"


def start_of(image: Path, name: str) -> int:
    """Byte at which a partition begins."""
    with mapped(image) as data:
        found = gpt.read(data).named(name)
    assert found
    return found.first * 512


def section_of(image: Path, kind: SectionType) -> int:
    """Byte of the disk at which a section of slot A begins."""
    at = start_of(image, "base_a")
    with image.open("rb") as file:
        file.seek(at)
        section = release.decode_header(file.read(4096)).section(kind)
    assert section
    return at + section.offset
