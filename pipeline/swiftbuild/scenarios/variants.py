"""Releases with one thing changed, every digest made right again, so that only the change can be at fault, and the
disks that hold them. What is changed is signed by nobody: `signed` says by whom."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from swiftbuild.core.events import Silent
from swiftbuild.digest import derive_uuid
from swiftbuild.effects.keys import FolderSigner, KeyFolder
from swiftbuild.effects.process import Processes
from swiftbuild.errors import DamageError, InputError
from swiftbuild.limits import MIB, SECTOR
from swiftbuild.machine.media import mapped
from swiftbuild.model.bootctl import BootControl, SlotEntry
from swiftbuild.model.disk import ESP_TYPE, DiskTable, Partition
from swiftbuild.model.release import CriticalFlag, ReleaseFacts, SectionType, SignatureArea
from swiftbuild.model.signing import Roots
from swiftbuild.stages.disk import write_sparse
from swiftbuild.stages.root import MKFS
from swiftbuild.wire import bootctl, elf, esp, fat32, gpt, keyset, pe, release, rootkeys, symbols, verity

ROOT = Path(__file__).resolve().parents[1]
FSCK = "/usr/bin/fsck.erofs"
TOOLS = Processes(Silent())
Sections = Mapping[SectionType, bytes]


def slot_image(image: Path) -> bytes:
    """The slot image in slot A."""
    with mapped(image) as disk:
        slot = gpt.read(disk).named("base_a")
        if slot is None:
            raise DamageError(f"{image}: no partition base_a")
        return bytes(release.read_slot(disk[slot.first * SECTOR : (slot.last + 1) * SECTOR]).body)


def rebuilt(raw: bytes, changes: Sections, **told: object) -> bytes:
    """The slot image with other sections, signed by nobody; header, digests and tree follow, but for what is told."""
    old = release.read_slot(raw)
    sections = {SectionType(s.type): bytes(old.section(SectionType(s.type))) for s in old.header.sections}
    tree = verity.build(changes.get(SectionType.EROFS, sections[SectionType.EROFS]), uuid=derive_uuid("test"),
                        salt=bytes(32))  # fmt: skip
    sections |= {SectionType.VERITY: tree.section, **changes}
    known = {name: getattr(old.header, name) for name in ReleaseFacts.model_fields}
    facts = ReleaseFacts.model_validate({**known, "verity_root": tree.root, **told})
    return release.build_slot(facts, list(sections.items()))


def with_files(raw: bytes, folder: Path, files: Mapping[str, str], **told: object) -> bytes:
    """The slot image with these files in its base, by path."""
    before, tree, after = folder / "before.erofs", folder / "tree", folder / "after.erofs"
    before.write_bytes(release.read_slot(raw).section(SectionType.EROFS))
    extract = [FSCK, f"--extract={tree}", "--preserve-perms", "--no-preserve-owner", str(before)]
    TOOLS.run(extract)
    for path, text in files.items():
        (tree / path.lstrip("/")).write_text(text)
    make = [MKFS, "--quiet", "--all-root", "-zlz4hc", str(after), str(tree)]
    TOOLS.run(make)
    return rebuilt(raw, {SectionType.EROFS: after.read_bytes()}, **told)


def without_files(raw: bytes, folder: Path, keep: Iterable[str]) -> bytes:
    """The slot image with a base that has these folders, empty, and nothing else."""
    tree, after = folder / "tree", folder / "after.erofs"
    for name in keep:
        (tree / name.lstrip("/")).mkdir(parents=True)
    TOOLS.run([MKFS, "--quiet", "--all-root", str(after), str(tree)])
    return rebuilt(raw, {SectionType.EROFS: after.read_bytes()})


def with_code(raw: bytes, function: str, code: bytes) -> bytes:
    """The slot image with other first instructions of a kernel function: one marked patch."""
    old = release.read_slot(raw)
    names = symbols.decode(bytes(old.section(SectionType.SYMBOLS)))
    found = [at for at, name in names if name == function]
    if len(found) != 1:
        raise InputError(f"the kernel has {len(found)} functions {function}, expected 1",
                         hint="a scenario patches it by its name: swiftbuild inspect lists what the kernel has")
    kernel = bytearray(old.section(SectionType.KERNEL))
    segment = next(s for s in elf.read(kernel, "kernel").segments if s.virtual <= found[0] < s.virtual + s.file_size)
    at = segment.offset + found[0] - segment.virtual
    kernel[at : at + len(code)] = code
    return rebuilt(raw, {SectionType.KERNEL: bytes(kernel)})


def with_other_loader(raw: bytes, *, code: bytes = b"", roots: Roots | None = None) -> bytes:
    """The slot image with another loader: other first instructions, other root keys, or only other bytes behind it."""
    loader = bytearray(release.read_slot(raw).section(SectionType.LOADER))
    if code:
        at = pe.entry_offset(loader)
        loader[at : at + len(code)] = code
    if roots:
        (place,) = rootkeys.places(loader)
        loader[place : place + rootkeys.SIZE] = rootkeys.encode(roots)
    return rebuilt(raw, {SectionType.LOADER: bytes(loader) + b"another"})


def told(raw: bytes, **facts: object) -> bytes:
    """The slot image with other facts in its header: the same contents, another version."""
    return rebuilt(raw, {}, **facts)


def twin(raw: bytes, keys: KeyFolder) -> bytes:
    """The release with every byte of its kernel, EROFS, tree and symbols, whose loader trusts the root of a folder of
    throw-away keys, signed by those: what runs on a machine of its own must run as on this one."""
    old = release.read_slot(raw)
    loader = bytearray(old.section(SectionType.LOADER))
    (place,) = rootkeys.places(loader)
    loader[place : place + rootkeys.SIZE] = rootkeys.encode(keys.roots())
    tree = {SectionType.VERITY: bytes(old.section(SectionType.VERITY)), SectionType.LOADER: bytes(loader)}
    flags = old.header.flags_critical | CriticalFlag.DEV
    return signed(rebuilt(raw, tree, verity_root=old.header.verity_root, flags_critical=int(flags)), keys)


def payloads(raw: bytes) -> dict[str, str]:
    """Section → SHA-256, of those that a twin shares with its release."""
    header = release.decode_header(raw[: release.HEADER_SIZE])
    return {section.name: section.digest.hex() for section in header.sections if section.type != SectionType.LOADER}


def signed(raw: bytes, keys: KeyFolder) -> bytes:
    """The slot image, signed by the keys of a folder that has them without a passphrase."""
    signer = FolderSigner(keys, lambda _: b"")
    message = release.signed_message(release.release_digest(raw))
    return with_area(raw, SignatureArea(key_set=signer.key_set, signatures=signer.sign(message)))


def with_area(raw: bytes, area: SignatureArea) -> bytes:
    """The slot image with another signature area."""
    return raw[: release.HEADER_SIZE] + release.encode_signatures(area) + raw[release.SECTIONS_START :]


def installed(image: Path, out: Path, a: bytes, b: bytes | None = None) -> Path:
    """The disk image with these slot images, both recorded as good, slot A first; the floors stand at the lesser of
    them."""
    TOOLS.run(["/usr/bin/cp", "--sparse=always", str(image), str(out)])
    with mapped(out) as disk:
        starts = {p.name: p.first * SECTOR for p in gpt.read(disk).partitions}
    slots = [_entry(raw, 15 - n) if raw else SlotEntry() for n, raw in enumerate((a, b))]
    there = [entry for raw, entry in zip((a, b), slots, strict=True) if raw]
    block = BootControl(
        rollback_floor=min(entry.rollback_index for entry in there), slots=(slots[0], slots[1]),
        key_set_floor=min(entry.key_set for entry in there), key_set_seen=max(entry.key_set for entry in there),
    )  # fmt: skip
    with out.open("r+b") as file:
        for name, raw in (("base_a", a), ("base_b", b)):
            file.seek(starts[name])
            file.write(raw or b"")
        for offset, copy in bootctl.encode_partition(block).items():
            file.seek(starts["bootctl"] + offset)
            file.write(copy)
    return out


def with_loader(image: Path, raw: bytes) -> None:
    """Puts the loader of a slot image on the disk's EFI system partition."""
    with mapped(image) as disk:
        place = gpt.read(disk).named("esp")
        if place is None:
            raise DamageError(f"{image}: no partition esp")
        size = place.sectors * SECTOR
    loader = bytes(release.read_slot(raw).section(SectionType.LOADER))
    with image.open("r+b") as file:
        file.seek(place.first * SECTOR)
        file.write(fat32.build(esp.loader_files(loader), size=size, serial=1))


def _entry(raw: bytes, priority: int) -> SlotEntry:
    header = release.decode_header(raw)
    return SlotEntry(
        priority=priority, successful=1, rollback_index=header.rollback_index, version=header.version,
        release_digest=release.release_digest(raw), key_set=_key_set(raw),
    )  # fmt: skip


def _key_set(raw: bytes) -> int:
    """Version of the key set that a slot image carries; 0 when it has none."""
    area = release.decode_signatures(raw[release.HEADER_SIZE : release.SECTIONS_START])
    return keyset.decode(area.key_set).key_set.version if area.key_set else 0


def esp_only(out: Path, files: Mapping[str, bytes]) -> Path:
    """A disk with nothing but an EFI system partition."""
    first, sectors = MIB // SECTOR, 128 * MIB // SECTOR
    partition = Partition(type=ESP_TYPE, guid=derive_uuid("esp"), first=first, last=first + sectors - 1, name="esp")
    table = DiskTable(guid=derive_uuid("disk"), sectors=sectors + 2 * first, partitions=(partition,))
    pieces = gpt.encode(table)
    pieces[MIB] = fat32.build(files, size=128 * MIB, serial=1)
    write_sparse(out, pieces, table.sectors * SECTOR)
    return out


def one_file_boot(image: Path, out: Path) -> Path:
    """Loader and `base.img` on an ESP, and no slot."""
    raw = slot_image(image)
    loader = bytes(release.read_slot(raw).section(SectionType.LOADER))
    return esp_only(out, {**esp.loader_files(loader), "base.img": raw})
