"""Built images with one thing changed, every digest made right again, so that only the change can be at fault."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from swiftbuild.digest import derive_uuid
from swiftbuild.effects.keys import FolderSigner, KeyFolder
from swiftbuild.limits import MIB, SECTOR
from swiftbuild.machine.media import mapped
from swiftbuild.model.bootctl import BootControl, SlotEntry
from swiftbuild.model.disk import ESP_TYPE, DiskTable, Partition
from swiftbuild.model.release import ReleaseFacts, SectionType, SignatureArea
from swiftbuild.stages.disk import LOADER_PATH, write_sparse
from swiftbuild.wire import bootctl, fat32, gpt, keyset, release, verity

ROOT = Path(__file__).resolve().parents[1]
Sections = Mapping[SectionType, bytes]


def slot_image(image: Path) -> bytes:
    """The slot image in slot A."""
    with mapped(image) as disk:
        slot = gpt.read(disk).named("base_a")
        assert slot
        return bytes(release.read_slot(disk[slot.first * SECTOR : (slot.last + 1) * SECTOR]).body)


def rebuilt(raw: bytes, changes: Sections, **told: object) -> bytes:
    """The slot image with other sections; header, digests and verity tree follow, but for what is told of them."""
    old = release.read_slot(raw)
    sections = {SectionType(s.type): bytes(old.section(SectionType(s.type))) for s in old.header.sections}
    tree = verity.build(changes.get(SectionType.EROFS, sections[SectionType.EROFS]), uuid=derive_uuid("test"),
                        salt=bytes(32))  # fmt: skip
    sections |= {SectionType.VERITY: tree.section, **changes}
    known = {name: getattr(old.header, name) for name in ReleaseFacts.model_fields}
    facts = ReleaseFacts.model_validate({**known, "verity_root": tree.root, **told})
    return signed(release.build_slot(facts, list(sections.items())))


def with_files(raw: bytes, folder: Path, files: Mapping[str, str], **told: object) -> bytes:
    """The slot image with these files in its base, by path."""
    before, tree, after = folder / "before.erofs", folder / "tree", folder / "after.erofs"
    before.write_bytes(release.read_slot(raw).section(SectionType.EROFS))
    extract = ["/usr/bin/fsck.erofs", f"--extract={tree}", "--preserve-perms", "--no-preserve-owner", str(before)]
    subprocess.run(extract, check=True, capture_output=True)
    for path, text in files.items():
        (tree / path.lstrip("/")).write_text(text)
    make = ["/usr/bin/mkfs.erofs", "--quiet", "--all-root", "-zlz4hc", str(after), str(tree)]
    subprocess.run(make, check=True, capture_output=True)
    return rebuilt(raw, {SectionType.EROFS: after.read_bytes()}, **told)


def signed(raw: bytes, keys: Path = ROOT / "keys" / "dev") -> bytes:
    """The slot image, signed by the keys of a folder: those that the images here are built with."""
    signer = FolderSigner(KeyFolder(keys), lambda _: b"")
    message = release.signed_message(release.release_digest(raw))
    return with_area(raw, SignatureArea(key_set=signer.key_set, signatures=signer.sign(message)))


def with_area(raw: bytes, area: SignatureArea) -> bytes:
    """The slot image with another signature area."""
    return raw[: release.HEADER_SIZE] + release.encode_signatures(area) + raw[release.SECTIONS_START :]


def installed(image: Path, out: Path, a: bytes, b: bytes | None = None) -> Path:
    """The disk image with these slot images, both recorded as good, slot A first."""
    subprocess.run(["/usr/bin/cp", "--sparse=always", str(image), str(out)], check=True)
    with mapped(out) as disk:
        starts = {p.name: p.first * SECTOR for p in gpt.read(disk).partitions}
    slots = [_entry(raw, 15 - n) if raw else SlotEntry() for n, raw in enumerate((a, b))]
    block = BootControl(rollback_floor=1, slots=(slots[0], slots[1]))
    with out.open("r+b") as file:
        for name, raw in (("base_a", a), ("base_b", b)):
            file.seek(starts[name])
            file.write(raw or b"")
        for offset, copy in bootctl.encode_partition(block).items():
            file.seek(starts["bootctl"] + offset)
            file.write(copy)
    return out


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
    esp = Partition(type=ESP_TYPE, guid=derive_uuid("esp"), first=first, last=first + sectors - 1, name="esp")
    table = DiskTable(guid=derive_uuid("disk"), sectors=sectors + 2 * first, partitions=(esp,))
    pieces = gpt.encode(table)
    pieces[MIB] = fat32.build(files, size=128 * MIB, serial=1)
    write_sparse(out, pieces, table.sectors * SECTOR)
    return out


def one_file_boot(image: Path, out: Path) -> Path:
    """Loader and `base.img` on an ESP, and no slot."""
    raw = slot_image(image)
    loader = bytes(release.read_slot(raw).section(SectionType.LOADER))
    return esp_only(out, {LOADER_PATH: loader, "base.img": raw})
