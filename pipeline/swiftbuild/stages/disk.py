"""Slot image, loader and data volume → the disk (docs/formats/disk.md): GPT, ESP, boot-control block, slot A filled."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from swiftbuild.digest import derive, derive_uuid
from swiftbuild.effects.sparse import copy_sparse
from swiftbuild.limits import MIB, PARTITION_ALIGNMENT, SECTOR
from swiftbuild.model.bootctl import BootControl, SlotEntry
from swiftbuild.model.disk import BASE_TYPE, BOOTCTL_TYPE, DATA_TYPE, ESP_TYPE, PKGS_TYPE, DiskTable, Partition
from swiftbuild.model.profile import DiskSizes
from swiftbuild.wire import bootctl, esp, fat32, gpt, keyset, release

PRIORITY_FULL = 15


@dataclass(frozen=True)
class DiskInput:
    """What goes onto a disk."""

    profile: str
    version: str
    rollback_index: int
    sizes: DiskSizes
    file_time: int
    slot_image: Path
    loader: Path
    data: Path


def layout(sizes: DiskSizes, profile: str, identity: bytes) -> DiskTable:
    """The table: partitions one after another on 1 MiB, the backup table in the last 1 MiB."""
    rows = (
        ("esp", ESP_TYPE, sizes.esp_mib), ("bootctl", BOOTCTL_TYPE, sizes.bootctl_mib),
        ("base_a", BASE_TYPE, sizes.base_mib), ("base_b", BASE_TYPE, sizes.base_mib),
        ("pkgs", PKGS_TYPE, sizes.pkgs_mib), ("data", DATA_TYPE, sizes.data_mib),
    )
    partitions = []
    at = PARTITION_ALIGNMENT
    for index, (name, kind, mib) in enumerate(rows, start=1):
        guid = derive_uuid("swift-os partition guid", profile, identity, bytes([index]))
        first, length = at // SECTOR, mib * MIB // SECTOR
        partitions.append(Partition(type=kind, guid=guid, first=first, last=first + length - 1, name=name))
        at += mib * MIB
    guid = derive_uuid("swift-os disk guid", profile, identity, b"\0")
    return DiskTable(guid=guid, sectors=(at + PARTITION_ALIGNMENT) // SECTOR, partitions=tuple(partitions))


def build_disk(given: DiskInput, image: Path, summary: Path) -> None:
    """Writes the sparse image and what stands where."""
    slot = given.slot_image.read_bytes()
    digest = release.release_digest(slot)
    table = layout(given.sizes, given.profile, digest)
    pieces = gpt.encode(table)
    starts = {p.name: p.first * SECTOR for p in table.partitions}
    day = datetime.fromtimestamp(given.file_time, tz=UTC)
    pieces[starts["esp"]] = fat32.build(
        esp.loader_files(given.loader.read_bytes()),
        size=given.sizes.esp_mib * MIB,
        serial=int.from_bytes(derive("swift-os fat serial", given.profile, digest, b"\0")[:4], "big"),
        date=(day.year, day.month, day.day),
    )
    area = release.decode_signatures(slot[release.HEADER_SIZE : release.SECTIONS_START])
    keys = keyset.decode(area.key_set).key_set.version if area.key_set else 0
    good = SlotEntry(priority=PRIORITY_FULL, successful=1, rollback_index=given.rollback_index, release_digest=digest,
                     version=given.version, key_set=keys)
    block = BootControl(rollback_floor=given.rollback_index, key_set_floor=keys, key_set_seen=keys,
                        slots=(good, SlotEntry()))
    pieces |= {starts["bootctl"] + offset: raw for offset, raw in bootctl.encode_partition(block).items()}
    pieces[starts["base_a"]] = slot
    write_sparse(image, pieces, table.sectors * SECTOR)
    copy_sparse(given.data, image, at=starts["data"])
    summary.write_text(json.dumps({
        "disk_guid": str(table.guid),
        "release_digest": digest.hex(),
        "slots": {"a": {"version": given.version, "release_digest": digest.hex()}, "b": None},
        "partitions": [{"name": p.name, "guid": str(p.guid), "first": p.first, "sectors": p.sectors}
                       for p in table.partitions],
    }, sort_keys=True))


def write_sparse(image: Path, pieces: dict[int, bytes], size: int) -> None:
    """The pieces at their places, holes between them; runs of zeros in a piece become holes too."""
    with image.open("wb") as file:
        file.truncate(size)
        for offset, data in pieces.items():
            view = memoryview(data)
            for at in range(0, len(view), MIB):
                chunk = view[at : at + MIB]
                if any(chunk):
                    file.seek(offset + at)
                    file.write(chunk)
