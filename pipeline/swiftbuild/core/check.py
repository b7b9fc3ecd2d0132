"""Everything that must hold of a disk image (docs/formats/disk.md), found in its bytes; each fault has a name.

1. protective MBR; 2. each GPT copy on its own; 3. the copies against each other; 4. GUIDs; 5. the layout that ours must
have; 6. slot images: header, digests, verity, EROFS, kernel; 7. boot control; 8. the loader on the ESP; 9. who signed.
What outside tools judge (FAT, ELF and PE by another reader) is added by the command.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from swiftbuild.core.slots import NAMES, choose
from swiftbuild.errors import DamageError, SwiftbuildError, TrustError
from swiftbuild.limits import MIB, PARTITION_ALIGNMENT, SECTOR
from swiftbuild.model.binary import Record
from swiftbuild.model.bootctl import BootControl
from swiftbuild.model.disk import (
    BASE_TYPE,
    BOOTCTL_TYPE,
    DATA_TYPE,
    ESP_TYPE,
    LOADER_PATH,
    PKGS_TYPE,
    SECOND_LOADER_PATH,
    DiskTable,
    Partition,
)
from swiftbuild.model.release import SectionType
from swiftbuild.model.signing import Roots
from swiftbuild.wire import bootctl, elf, erofs, esp, gpt, release, symbols, verity
from swiftbuild.wire.view import Buffer, take, zero

LAYOUT = {
    "esp": (ESP_TYPE, 64 * MIB), "bootctl": (BOOTCTL_TYPE, MIB), "base_a": (BASE_TYPE, 128 * MIB),
    "base_b": (BASE_TYPE, 128 * MIB), "pkgs": (PKGS_TYPE, 256 * MIB), "data": (DATA_TYPE, 64 * MIB),
}  # fmt: skip
"""Name → type and smallest size, in the order of docs/formats/disk.md."""
SLOTS = ("base_a", "base_b")


class Finding(Record):
    """One fault: where, a name for programs, a sentence for people."""

    where: str
    code: str
    text: str


@dataclass(frozen=True)
class Copy:
    """One copy of the partition table as read."""

    where: str
    header: gpt.Header
    partitions: tuple[Partition, ...]
    whole: bool


def check_disk(disk: Buffer) -> list[Finding]:
    """Every fault of a whole disk image, 1 to 7."""
    if len(disk) < 2 * MIB or len(disk) % SECTOR:
        return [Finding(where="disk", code="size", text=f"{len(disk)} bytes are no disk of whole sectors")]
    sectors = len(disk) // SECTOR
    findings = list(check_mbr(disk))
    primary, wrong = _copy(disk, "primary GPT", 1)
    backup, also = _copy(disk, "backup GPT", sectors - 1)
    findings += wrong + also
    findings += _disagreements(disk, primary, backup)
    if not primary.whole and not backup.whole:
        return findings
    table = gpt.read(disk)
    findings += _guids(table)
    findings += _layout(table)
    contents = partitions(disk, table)
    for name in SLOTS:
        if name in contents:
            findings += check_slot(name, contents[name])
    if "bootctl" in contents:
        findings += _bootctl(contents)
    return findings


def partitions(disk: Buffer, table: DiskTable) -> dict[str, memoryview]:
    """The bytes of each partition, by name."""
    return {p.name: take(disk, p.first * SECTOR, p.sectors * SECTOR, p.name) for p in table.partitions}


def check_mbr(disk: Buffer) -> Iterator[Finding]:
    """UEFI 2.10, section 5.2.3: one record of type 0xEE from sector 1 to the end."""
    mbr = take(disk, 0, SECTOR, "MBR")
    records = [gpt.MBR_RECORD.unpack_from(mbr, 446 + 16 * i) for i in range(4)]
    if bytes(mbr[510:512]) != b"\x55\xaa" or not any(kind == 0xEE for _, _, kind, *_ in records):
        yield Finding(where="MBR", code="pmbr-missing", text="there is no protective MBR")
        return
    wanted = gpt.MBR_RECORD.pack(
        0, b"\0\2\0", 0xEE, b"\xff\xff\xff", 1, min(len(disk) // SECTOR - 1, 0xFFFF_FFFF)
    )
    if bytes(mbr[446:462]) != wanted or not zero(mbr[462:510]):
        text = f"its records are {bytes(mbr[446:510]).hex()}, expected only {wanted.hex()}"
        yield Finding(where="MBR", code="pmbr-wrong", text=text)


def _copy(disk: Buffer, where: str, sector: int) -> tuple[Copy, list[Finding]]:
    header, faults = gpt.read_header(disk, sector, len(disk) // SECTOR)
    found: tuple[Partition, ...] = ()
    if not faults:
        found, faults = gpt.read_entries(disk, header)
    return Copy(where, header, found, not faults), [Finding(where=where, code=f.code, text=f.text) for f in faults]


def _disagreements(disk: Buffer, primary: Copy, backup: Copy) -> list[Finding]:
    """Each names the other's place, and everything else is the same."""
    last = len(disk) // SECTOR - 1
    if any(f.header.signature != b"EFI PART" for f in (primary, backup)):
        return []
    one, two = primary.header, backup.header
    pairs = {
        "other header's sector": ((one.other_sector, two.other_sector), (last, 1)),
        "disk GUID": (one.disk_guid.hex(), two.disk_guid.hex()),
        "first usable sector": (one.first_usable, two.first_usable),
        "last usable sector": (one.last_usable, two.last_usable),
        "shape of the entries": ((one.entry_count, one.entry_size), (two.entry_count, two.entry_size)),
        "CRC of the entries": (one.array_crc, two.array_crc),
    }
    if primary.whole and backup.whole:
        pairs["entries"] = (primary.partitions, backup.partitions)
    return [
        Finding(where="GPT", code="disagree", text=f"primary and backup disagree: {what}: {left} and {right}")
        for what, (left, right) in pairs.items()
        if left != right
    ]


def _guids(table: DiskTable) -> list[Finding]:
    seen = {table.guid: "the disk"}
    findings = []
    for p in table.partitions:
        if p.guid in seen:
            text = f"partition {p.name} has the GUID {p.guid} of {seen[p.guid]}"
            findings.append(Finding(where="GPT", code="duplicate-guid", text=text))
        seen[p.guid] = p.name
        if p.guid.int == 0:
            findings.append(Finding(where="GPT", code="zero-guid", text=f"partition {p.name} has no GUID"))
    return findings


def _layout(table: DiskTable) -> list[Finding]:
    def fault(code: str, text: str) -> Finding:
        return Finding(where="layout", code=code, text=text)

    names = [p.name for p in table.partitions]
    if names != list(LAYOUT):
        return [fault("layout-names", f"partitions {', '.join(names)}; expected {', '.join(LAYOUT)}")]
    findings = []
    for p in table.partitions:
        type_, smallest = LAYOUT[p.name]
        if p.type != type_:
            findings.append(fault("layout-type", f"{p.name}: type {p.type}, expected {type_}"))
        if p.sectors * SECTOR < smallest:
            findings.append(fault("layout-size", f"{p.name}: {p.sectors * SECTOR} bytes, smallest {smallest}"))
        if p.first * SECTOR % PARTITION_ALIGNMENT or p.sectors * SECTOR % PARTITION_ALIGNMENT:
            findings.append(fault("layout-alignment", f"{p.name}: does not start and end on 1 MiB"))
    return findings


def is_empty(slot: Buffer) -> bool:
    """Nothing was ever installed into this slot."""
    return zero(take(slot, 0, release.HEADER_SIZE, "release header"))


def check_slot(where: str, partition: Buffer) -> list[Finding]:
    """A slot's header, digests, verity tree, EROFS, kernel and symbols."""
    if is_empty(partition):
        return []
    try:
        image = release.read_slot(partition)
    except SwiftbuildError as error:
        return [Finding(where=where, code="header", text=error.message)]
    findings = [
        Finding(where=where, code="digest", text=f"the {s.name} section is not the one that the header names")
        for s in image.wrong_digests()
    ]
    root, kernel = image.section(SectionType.EROFS), image.section(SectionType.KERNEL)

    def judge(code: str, check: Callable[[], object]) -> None:
        try:
            check()
        except SwiftbuildError as error:
            findings.append(Finding(where=where, code=code, text=error.message))

    judge("verity", lambda: verity.check(root, image.section(SectionType.VERITY), image.header.verity_root))
    judge("erofs", lambda: _read_all(erofs.Erofs(root)))
    judge("kernel", lambda: elf.flat_image(elf.check_kernel(kernel, "kernel"), "kernel"))
    if image.header.section(SectionType.SYMBOLS):
        judge("symbols", lambda: symbols.decode(image.section(SectionType.SYMBOLS)))
    return findings


def check_signatures(where: str, slot: Buffer, roots: Roots) -> list[Finding]:
    """Those who must have signed a slot's release did, by these root keys."""
    from swiftbuild.core.trust import accept_release  # noqa: PLC0415 - the plain checks need no cryptography

    try:
        accept_release(slot, roots)
    except TrustError as error:
        return [Finding(where=where, code=f"signature-{error.code}", text=error.message)]
    except DamageError as error:
        return [Finding(where=where, code="signature-area", text=error.message)]
    return []


def _read_all(image: erofs.Erofs) -> None:
    for _, node in image.walk():
        image.contents(node)


def _bootctl(contents: Mapping[str, Buffer]) -> list[Finding]:
    def fault(code: str, text: str) -> Finding:
        return Finding(where="bootctl", code=code, text=text)

    copies = bootctl.read_copies(contents["bootctl"])
    findings = [
        fault("bootctl-copy", f"copy {i}: {c.message}") for i, c in enumerate(copies) if isinstance(c, DamageError)
    ]
    if not any(isinstance(c, BootControl) for c in copies):
        return findings
    _, block = bootctl.current(contents["bootctl"])
    choice = choose(block)
    if not choice.order:
        findings.append(fault("no-slot", f"no slot can boot: {choice.refused}"))
    for name, entry in zip(NAMES, block.slots, strict=True):
        slot = contents.get(f"base_{name}")
        if slot is None or name not in choice.order:
            continue
        if is_empty(slot):
            findings.append(fault("empty-slot", f"slot {name} may boot and is empty"))
        elif release.release_digest(slot) != entry.release_digest:
            findings.append(fault("slot-digest", f"slot {name} holds another release than the one recorded"))
    return findings


def check_esp(volume: Buffer, files: Mapping[str, bytes], slots: Sequence[Buffer]) -> list[Finding]:
    """8: the loader that the firmware starts is one that a slot carries, and can change places with the second."""
    for path in (LOADER_PATH, SECOND_LOADER_PATH):
        if path not in files:
            return [Finding(where="esp", code="loader-missing", text=f"there is no {path}")]
    found = []
    try:
        main, _ = esp.find(volume)
        if bytes(main) != files[LOADER_PATH]:
            found.append(Finding(where="esp", code="loader-read", text=f"two readers see different {LOADER_PATH}"))
    except DamageError as error:
        found.append(Finding(where="esp", code="loader-files", text=error.message))
    loaders = [bytes(release.read_slot(slot).section(SectionType.LOADER)) for slot in slots if not is_empty(slot)]
    if loaders and files[LOADER_PATH] not in {esp.padded(loader) for loader in loaders}:
        found.append(Finding(where="esp", code="loader-differs", text=f"{LOADER_PATH} is the loader of no slot"))
    return found
