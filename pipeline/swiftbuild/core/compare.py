"""Two disk images, part by part: what differs, and whether keys alone explain it.

With other key folders these may differ, and nothing else: the signature areas; the root keys in the loader
(docs/formats/release-header.md); and what follows from the loader's digest: its row in the header, the release digests
that boot control records, the checksums over those, and the identifiers derived from the release digest (GUIDs, FAT
serial).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from itertools import zip_longest

from swiftbuild.core.check import is_empty, partitions
from swiftbuild.limits import SECTOR
from swiftbuild.model.binary import Record
from swiftbuild.model.bootctl import BootControl
from swiftbuild.model.disk import DiskTable
from swiftbuild.model.release import SectionType
from swiftbuild.wire import bootctl, erofs, fat32, gpt, release, rootkeys
from swiftbuild.wire.view import Buffer, take

DIFFERENCES_MAX = 1000
CHUNK = 1 << 20


class Difference(Record):
    """One part that is not the same in both images. `by_keys`: other keys explain it."""

    where: str
    text: str
    by_keys: bool = False


def without_keys(raw: Buffer) -> bytearray:
    """The bytes with every block of root keys blanked."""
    out = bytearray(raw)
    for at in rootkeys.places(raw):
        out[at : at + rootkeys.SIZE] = bytes(rootkeys.SIZE)
    return out


def compare_disks(
    one: Buffer,
    two: Buffer,
    esp_files: tuple[Mapping[str, bytes], Mapping[str, bytes]],
    extents: Sequence[tuple[int, int]],
) -> list[Difference]:
    """Every part that differs. `extents`: where either image holds data; elsewhere both are zero."""
    if len(one) != len(two):
        return [Difference(where="disk", text=f"{len(one)} bytes and {len(two)} bytes")]
    changed = different_chunks(one, two, extents)
    if not changed:
        return []
    tables = gpt.read(one), gpt.read(two)
    places = _fields("GPT", _places(tables[0]), _places(tables[1]))
    if places:
        return places  # the rest would be compared at places that do not correspond
    left, right = partitions(one, tables[0]), partitions(two, tables[1])
    other_keys = _only_keys_differ(left["base_a"], right["base_a"]) if "base_a" in left else False
    guids = _identifiers(tables[0]), _identifiers(tables[1])
    starts = {p.name: p.first * SECTOR for p in tables[0].partitions}
    found = _fields("GPT", *guids, frozenset(guids[0]) if other_keys else frozenset())
    for name in left:
        start = starts[name]
        inside = [at - start for at in changed if start - CHUNK < at < start + len(left[name])]
        if not inside:
            continue
        if name == "esp":
            found += _esp(left[name], right[name], esp_files, other_keys=other_keys)
        elif name == "bootctl":
            found += _bootctl(left[name], right[name])
        elif name.startswith("base_"):
            found += compare_slots(name, left[name], right[name], inside)
        else:
            found.append(_bytes(name, left[name], right[name]))
    found += _outside((one, two), tables)
    return found[:DIFFERENCES_MAX]


def _places(table: DiskTable) -> dict[str, object]:
    fields: dict[str, object] = {"partitions": [p.name for p in table.partitions]}
    for p in table.partitions:
        fields |= {f"{p.name} {key}": value for key, value in p.model_dump(exclude={"guid"}).items()}
    return fields


def _identifiers(table: DiskTable) -> dict[str, object]:
    return {"disk GUID": table.guid, **{f"{p.name} GUID": p.guid for p in table.partitions}}


def _only_keys_differ(one: Buffer, two: Buffer) -> bool:
    """The slots' loaders are not the same, but for their keys they are."""
    if is_empty(one) or is_empty(two):
        return False
    loaders = [bytes(release.read_slot(slot).section(SectionType.LOADER)) for slot in (one, two)]
    return loaders[0] != loaders[1] and without_keys(loaders[0]) == without_keys(loaders[1])


def _fields(
    where: str, one: Mapping[str, object], two: Mapping[str, object], by_keys: frozenset[str] = frozenset()
) -> list[Difference]:
    return [
        Difference(
            where=where, text=f"{key}: {_shown(one.get(key))} and {_shown(two.get(key))}", by_keys=key in by_keys
        )
        for key in dict.fromkeys([*one, *two])
        if one.get(key) != two.get(key)
    ]


def _shown(value: object) -> object:
    return value.hex() if isinstance(value, bytes) else value


def different_chunks(one: Buffer, two: Buffer, extents: Sequence[tuple[int, int]]) -> list[int]:
    """The starts of the chunks that are not the same."""
    starts = sorted({at for start, end in extents for at in range(start // CHUNK * CHUNK, end, CHUNK)})
    # as bytes: a comparison of memoryviews goes item by item
    return [at for at in starts if bytes(one[at : at + CHUNK]) != bytes(two[at : at + CHUNK])]


def _bytes(where: str, one: Buffer, two: Buffer) -> Difference:
    if len(one) != len(two):
        return Difference(where=where, text=f"{len(one)} bytes and {len(two)} bytes")
    start = next(i for i in range(0, len(one), CHUNK) if bytes(one[i : i + CHUNK]) != bytes(two[i : i + CHUNK]))
    chunks = zip(one[start : start + CHUNK], two[start : start + CHUNK], strict=True)
    at = start + next(i for i, (a, b) in enumerate(chunks) if a != b)
    return Difference(where=where, text=f"the bytes differ from offset {at:#x} on")


def compare_slots(where: str, one: Buffer, two: Buffer, changed: Sequence[int]) -> list[Difference]:
    """Two slot images: header fields, signature area, each section, and what lies between and behind them."""
    if is_empty(one) or is_empty(two):
        return [Difference(where=where, text="one is empty, the other is not")]
    left, right = release.read_slot(one), release.read_slot(two)
    skip = {"sections"}
    found = _fields(where, left.header.model_dump(exclude=skip), right.header.model_dump(exclude=skip))
    if take(one, release.HEADER_SIZE, release.SIGNATURE_AREA_SIZE, where) != take(
        two, release.HEADER_SIZE, release.SIGNATURE_AREA_SIZE, where
    ):
        found.append(Difference(where=f"{where}: signature area", text="key set or signatures", by_keys=True))
    for a, b in zip_longest(left.header.sections, right.header.sections):
        if a is None or b is None or (a.type, a.offset, a.length) != (b.type, b.offset, b.length):
            found.append(Difference(where=where, text=f"section table: {a} and {b}"))
            continue
        if a.digest != b.digest:
            sections = (take(raw, a.offset, a.length, a.name) for raw in (one, two))
            found += _section(f"{where}: {a.name}", a.type, *map(bytes, sections))
    edges = [release.SECTIONS_START]
    for s in left.header.sections:
        edges += [s.offset, s.offset + s.length]
    edges.append(len(one))
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        for at in changed:
            gap = slice(max(start, at), min(end, at + CHUNK))
            if gap.start < gap.stop and bytes(one[gap]) != bytes(two[gap]):
                found.append(Difference(where=where, text=f"bytes from {gap.start:#x} on differ, in no section"))
    return found


def _section(where: str, kind: int, one: bytes, two: bytes) -> list[Difference]:
    if kind == SectionType.EROFS:
        return compare_trees(where, erofs.Erofs(one), erofs.Erofs(two))
    return [_keyed(where, one, two) if kind == SectionType.LOADER else _bytes(where, one, two)]


def compare_trees(where: str, one: erofs.Erofs, two: erofs.Erofs) -> list[Difference]:
    """Two EROFS images, file by file."""
    left, right = _files(one), _files(two)
    found = []
    for path in sorted(left.keys() | right.keys()):
        a, b = left.get(path), right.get(path)
        if a is None or b is None:
            found.append(Difference(where=where, text=f"{path} is only in the {'second' if a is None else 'first'}"))
        else:
            found += _fields(f"{where}: {path}", a, b)
    if one.uuid != two.uuid:
        found.append(Difference(where=where, text=f"UUID: {one.uuid} and {two.uuid}"))
    return found or [Difference(where=where, text="the files are the same, their layout is not")]


def _files(image: erofs.Erofs) -> dict[str, dict[str, object]]:
    return {
        path: {
            "mode": node.rights, "owner": (node.uid, node.gid), "time": node.mtime, "size": node.size,
            "contents": hashlib.sha256(image.contents(node)).hexdigest() if node.size and node.mode >> 12 != 4 else "",
        }
        for path, node in image.walk()
    }  # fmt: skip


def _bootctl(one: Buffer, two: Buffer) -> list[Difference]:
    found: list[Difference] = []
    copies = zip(bootctl.read_copies(one), bootctl.read_copies(two), strict=True)
    for number, (a, b) in enumerate(copies):
        where = f"bootctl: copy {number}"
        if not isinstance(a, BootControl) or not isinstance(b, BootControl):
            found.append(Difference(where=where, text=f"{a} and {b}"))
            continue
        found += _fields(where, a.model_dump(exclude={"slots"}), b.model_dump(exclude={"slots"}))
        for name, x, y in zip("ab", a.slots, b.slots, strict=True):
            by_keys = frozenset({"release_digest"})
            found += _fields(f"{where}: slot {name}", x.model_dump(), y.model_dump(), by_keys)
    if _without_digests(one) != _without_digests(two) and all(d.by_keys for d in found):
        found.append(Difference(where="bootctl", text="bytes that no field stands for"))
    return found


def _without_digests(partition: Buffer) -> bytearray:
    """The partition with what follows from keys blanked: release digests, and the copies' own digests."""
    out = bytearray(partition)
    for copy in bootctl.COPY_OFFSETS:
        slots = (copy + bootctl.HEAD.size + i * bootctl.SLOT.size + 16 for i in range(2))
        for at in (*slots, copy + bootctl.DIGEST_AT):
            out[at : at + 32] = bytes(32)
    return out


def _esp(
    one: Buffer, two: Buffer, files: tuple[Mapping[str, bytes], Mapping[str, bytes]], *, other_keys: bool
) -> list[Difference]:
    left, right = files
    blanked = without_keys(one), without_keys(two)
    if other_keys:
        for raw in blanked:
            for at in fat32.SERIAL_PLACES:
                raw[at : at + 4] = bytes(4)
    found = []
    for path in sorted(left.keys() | right.keys()):
        where = f"esp: {path}"
        if path not in left or path not in right:
            found.append(Difference(where=where, text=f"only in the {'second' if path not in left else 'first'}"))
        elif left[path] != right[path]:
            found.append(_keyed(where, left[path], right[path]))
    if blanked[0] != blanked[1] and all(d.by_keys for d in found):
        found.append(_bytes("esp: bytes outside its files", *blanked))
    return found


def _keyed(where: str, one: bytes, two: bytes) -> Difference:
    """A file that differs, perhaps only in the root keys it carries."""
    if without_keys(one) == without_keys(two):
        return Difference(where=where, text="embedded root keys", by_keys=True)
    return _bytes(where, one, two)


def _outside(disks: tuple[Buffer, Buffer], tables: tuple[DiskTable, DiskTable]) -> list[Difference]:
    """What lies in no partition. The tables were compared by their fields, so here each must be just what they say."""
    edges = [0]
    for p in sorted(tables[0].partitions, key=lambda p: p.first):
        edges += [p.first * SECTOR, (p.last + 1) * SECTOR]
    edges.append(len(disks[0]))
    rests = []
    for disk, table in zip(disks, tables, strict=True):
        rest = {start: bytearray(disk[start:end]) for start, end in zip(edges[::2], edges[1::2], strict=True)}
        for offset, written in gpt.encode(table).items():
            start = max(s for s in rest if s <= offset)
            here = slice(offset - start, offset - start + len(written))
            if rest[start][here] == written:
                rest[start][here] = bytes(len(written))
        rests.append(rest)
    return [
        Difference(where="outside every partition", text=f"bytes from {start:#x} on differ")
        for start in rests[0]
        if rests[0][start] != rests[1][start]
    ]
