"""The vectors of partition tables, release headers and boot control: see README.md. Shares no code with the readers
that it tests."""

import hashlib
import json
import struct
import uuid
import zlib
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
Patches = list[tuple[int, bytes]]


def write(folder: str, base: bytes, cases: list[dict[str, object]], **index: object) -> None:
    """One folder: base.bin and index.json, one case per line."""
    out = HERE / folder
    (out / "base.bin").write_bytes(base)
    rows = ",\n".join("  " + json.dumps(case) for case in cases)
    head = "".join(f" {json.dumps(key)}: {json.dumps(value)},\n" for key, value in {"base": "base.bin", **index}.items())
    (out / "index.json").write_text(f'{{\n{head} "cases": [\n{rows}\n ]\n}}\n')


def case(name: str, expect: str, patches: Patches = [], **more: object) -> dict[str, object]:  # noqa: B006
    return {"name": name, "expect": expect, **more, "patches": [[at, data.hex()] for at, data in patches]}


def changed(base: bytes, new: bytes) -> Patches:
    """The patches that turn `base` into `new`, one per run of bytes that differ."""
    assert len(base) == len(new)
    patches: Patches = []
    for at, (old, byte) in enumerate(zip(base, new, strict=True)):
        if old == byte:
            continue
        if patches and patches[-1][0] + len(patches[-1][1]) == at:
            patches[-1] = (patches[-1][0], patches[-1][1] + bytes([byte]))
        else:
            patches.append((at, bytes([byte])))
    return patches


# --- GPT ---------------------------------------------------------------------------------------------------------------

SECTORS = 65536
TYPES = {
    "esp": "c12a7328-f81f-11d2-ba4b-00a0c93ec93b",
    "bootctl": "2fac1cdd-2005-8e58-8c5a-785f3e2452a5",
    "base_a": "e5cd2363-558c-8e75-a344-f411b58bcbf9",
    "base_b": "e5cd2363-558c-8e75-a344-f411b58bcbf9",
    "pkgs": "e00ce0e3-2b4a-84a2-97d7-aa91bfc9c34c",
    "data": "1cbba837-1be8-8d12-8154-2cb55ace8277",
}
RANGES = [(2048, 10239), (10240, 12287), (12288, 22527), (22528, 32767), (32768, 40959), (40960, 63487)]
HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")


def entry(name: str, number: int, first: int, last: int) -> bytes:
    own = uuid.UUID(int=0xD15C_0000_0000_8000_8000_0000_0000_0000 + number)
    return struct.pack("<16s16sQQQ72s", uuid.UUID(TYPES[name]).bytes_le, own.bytes_le, first, last, 0, name.encode("utf-16-le"))


def entries(**ranges: tuple[int, int]) -> bytes:
    rows = zip(TYPES, RANGES, strict=True)
    packed = (entry(name, i, *ranges.get(name, where)) for i, (name, where) in enumerate(rows))
    return b"".join(packed).ljust(16384, b"\0")


def gpt_header(entries: bytes, backup: bool, **fields: int) -> bytes:
    last = SECTORS - 1
    value = {
        "revision": 0x10000, "size": 92, "mine": last if backup else 1, "other": 1 if backup else last, "first": 34,
        "last": last - 33, "array": last - 32 if backup else 2, "count": 128, "entry": 128, "crc": zlib.crc32(entries), **fields,
    }  # fmt: skip
    guid = uuid.UUID(int=0xD15C_0000_0000_8000_8000_0000_0000_FFFF).bytes_le

    def pack(crc: int) -> bytes:
        return HEADER.pack(
            b"EFI PART", value["revision"], value["size"], crc, 0, value["mine"], value["other"], value["first"], value["last"],
            guid, value["array"], value["count"], value["entry"], value["crc"],
        ).ljust(512, b"\0")  # fmt: skip

    size = value["size"] if 92 <= value["size"] <= 512 else 92
    return pack(zlib.crc32(pack(0)[:size]))


def gpt_disk(array: bytes | None = None, primary: dict[str, int] | None = None, backup: dict[str, int] | None = None) -> bytes:
    """Sectors 0 to 33 and the last 33."""
    array = entries() if array is None else array
    mbr = bytearray(512)
    mbr[446:462] = struct.pack("<B3sB3sII", 0, b"\0\2\0", 0xEE, b"\xff\xff\xff", 1, SECTORS - 1)
    mbr[510:512] = b"\x55\xaa"
    return bytes(mbr) + gpt_header(array, False, **primary or {}) + array + array + gpt_header(array, True, **backup or {})


def gpt() -> None:
    base = gpt_disk()
    backup_array, backup_header = 34 * 512, 66 * 512

    def both(name: str, error: str, array: bytes | None = None, **fields: int) -> dict[str, object]:
        """The same fault in both tables."""
        return case(name, error, changed(base, gpt_disk(array, fields, fields)))

    def first(name: str, fault: str, **fields: int) -> dict[str, object]:
        """A fault in the primary table only."""
        return case(name, "ok", changed(base, gpt_disk(None, fields)), source="backup", primary=fault)

    def flip(at: int) -> Patches:
        return [(at, bytes([base[at] ^ 1]))]

    cases = [
        case("good", "ok", source="primary"),
        case("no protective mbr", "ok", changed(base, bytes(512) + base[512:]), source="primary"),
        case("backup header lost", "ok", changed(base, base[:backup_header] + bytes(512)), source="primary"),
        case("primary signature", "ok", flip(512), source="backup", primary="signature"),
        case("primary header crc", "ok", flip(512 + 56), source="backup", primary="header-crc"),
        case("primary entry changed", "ok", flip(1024 + 40), source="backup", primary="array-crc"),
        case("primary entry beyond the used ones", "ok", flip(1024 + 16383), source="backup", primary="array-crc"),
        case("both signatures", "signature", flip(512) + flip(backup_header)),
        case("primary header and backup entries", "array-crc", flip(512 + 56) + flip(backup_array + 40)),
        case("all zero", "signature", changed(base, bytes(len(base)))),
        first("primary revision 2", "revision", revision=0x20000),
        first("primary header of 91 bytes", "header-size", size=91),
        first("primary header of 513 bytes", "header-size", size=513),
        case("header of 512 bytes", "ok", changed(base, gpt_disk(None, {"size": 512})), source="primary"),
        first("primary says it is elsewhere", "header-place", mine=2),
        first("usable sectors past the end", "usable-range", last=SECTORS),
        first("usable sectors empty", "usable-range", first=SECTORS - 33),
        first("entries of 127 bytes", "array-shape", entry=127),
        first("entries of 384 bytes", "array-shape", entry=384),
        first("no entries", "array-shape", count=0),
        first("too many entries", "array-shape", count=129),
        first("array length wraps", "array-shape", count=0xFFFF_FFFF, entry=0x8000_0000),
        first("array in sector 1", "array-place", array=1),
        first("array past the end", "array-place", array=SECTORS - 31),
        first("array place wraps", "array-place", array=2**64 - 1),
        both("partition ends before it starts", "partition-range", entries(base_a=(22527, 12288))),
        both("partition before the usable sectors", "partition-range", entries(esp=(33, 10239))),
        both("partition past the usable sectors", "partition-range", entries(data=(40960, SECTORS - 1))),
        both("partition at the end of numbers", "partition-range", entries(data=(40960, 2**64 - 1))),
        both("slots overlap by a sector", "overlap", entries(base_b=(22527, 32767))),
        both("one partition inside another", "overlap", entries(bootctl=(2048, 2049))),
    ]
    write("gpt", base, cases, sectors=SECTORS)


# --- release header ----------------------------------------------------------------------------------------------------

FIXED = struct.Struct("<8sHHI32s32s32sQQQQQIIQQQII32s88sII")
SECTION = struct.Struct("<IIQQ32sQ")
MIB = 1 << 20


def section(kind: int, offset: int, length: int, flags: int | None = None, reserved: int = 0) -> bytes:
    flags = int(kind <= 4) if flags is None else flags
    return SECTION.pack(kind, flags, offset, length, hashlib.sha256(b"section %d" % kind).digest(), reserved)


KERNEL = section(1, 16384, 900_001)
EROFS = section(2, 917_504, 2_000_000)
VERITY = section(3, 2_920_448, 24_576)
LOADER = section(4, 2_945_024, 80_000)
SYMBOLS = section(5, 3_026_944, 60_000)


def release_area(sections: list[bytes] | None = None, signatures: bytes = b"", **fields: object) -> bytes:
    rows = [KERNEL, EROFS, VERITY, LOADER, SYMBOLS] if sections is None else sections
    value = {
        "magic": b"SWIFTREL", "major": 1, "minor": 0, "length": 320 + 64 * len(rows), "product": b"swift-os", "profile": b"qemu",
        "version": b"0.1.0", "rollback": 7, "signed_at": 1_790_000_000, "critical": 1, "optional": 2**63, "size": 16 * MIB,
        "layout": 1, "loader": 1, "compat": 0, "ro_compat": 0, "incompat": 0, "abi_min": 1, "abi_max": 1,
        "root": hashlib.sha256(b"root").digest(), "reserved": bytes(88), "count": len(rows), "entry": 64, "tail": b"", **fields,
    }  # fmt: skip
    tail = value.pop("tail")
    header = FIXED.pack(*value.values()) + b"".join(rows)
    assert isinstance(tail, bytes)
    return (header.ljust(4096 - len(tail), b"\0") + tail + (signatures or signature_area())).ljust(16384, b"\0")


def signature(algorithm: int, length: int) -> bytes:
    body = bytes(range(64)) * 3
    return struct.pack("<HHI32s", algorithm, 0, length, bytes([algorithm]) * 32) + body[:length].ljust(-(-length // 8) * 8, b"\0")


def signature_area(
    key_set: bytes = b"key set 1",
    rows: tuple[bytes, ...] = (signature(1, 64), signature(2, 71)),
    **fields: object,
) -> bytes:
    body = key_set.ljust(-(-len(key_set) // 8) * 8, b"\0") + b"".join(rows)
    value = {"magic": b"SWIFTSIG", "version": 1, "length": 32 + len(body), "keys": len(key_set), "count": len(rows), "zero": 0, **fields}
    return struct.pack("<8sIIIIQ", *value.values()) + body


def release() -> None:
    base = release_area()

    def header(name: str, expect: str, sections: list[bytes] | None = None, **fields: Any) -> dict[str, object]:
        return case(name, expect, changed(base, release_area(sections, **fields)), partition_size=128 * MIB)

    def area(name: str, expect: str, *args: object, **fields: object) -> dict[str, object]:
        new = release_area(signatures=signature_area(*args, **fields))  # type: ignore[arg-type]
        return case(name, expect, changed(base, new), partition_size=128 * MIB)

    def rows(**replaced: bytes | None) -> list[bytes]:
        all_rows = {"kernel": KERNEL, "erofs": EROFS, "verity": VERITY, "loader": LOADER, "symbols": SYMBOLS, **replaced}
        return [row for row in all_rows.values() if row is not None]

    other = section(77, 4 * MIB, 1, flags=0)
    cases = [
        header("good", "ok"),
        header("no symbols", "ok", rows(symbols=None)),
        header("an unknown section that is not critical", "ok", rows(other=other)),
        header("sixteen sections", "ok", rows() + [section(100 + i, (5 + i) * MIB, 1, flags=0) for i in range(11)]),
        header("newer minor", "ok", minor=1),
        header("newer minor with fields that we do not know", "ok", minor=1, reserved=b"\1" * 88),
        header("a section that ends at the slot size", "ok", size=3_086_944),
        header("largest numbers", "ok", rollback=2**64 - 1, signed_at=2**64 - 1, loader=2**32 - 1, compat=2**64 - 1, abi_max=2**32 - 1),
        header("magic", "magic", magic=b"SWIFTREX"),
        header("nothing but zeros at the start", "magic", [], **dict.fromkeys(("magic", "product", "profile", "version", "root"), b""), major=0, length=0),
        header("major 2", "major", major=2),
        header("major 0", "major", major=0),
        header("no sections", "section-count", []),
        header("seventeen sections", "section-count", rows() + [section(100 + i, (5 + i) * MIB, 1, flags=0) for i in range(12)]),
        header("section count without the sections", "header-length", count=16),
        header("section count at the end of numbers", "section-count", count=2**32 - 1),
        header("section entries of 72 bytes", "section-count", entry=72),
        header("header length one short", "header-length", length=320 + 64 * 5 - 1),
        header("reserved bytes", "reserved", reserved=b"\1".ljust(88, b"\0")),
        header("bytes behind the header", "reserved", tail=b"\1"),
        header("unknown critical flag", "flags", critical=4),
        header("both critical flags", "ok", critical=3),
        header("product empty", "text", product=b""),
        header("product not ascii", "text", product="swïft-os".encode()),
        header("version with a space", "text", version=b"0 1"),
        header("version that goes on after its end", "text", version=b"0.1.0\0x"),
        header("version of 32 bytes", "ok", version=b"1" * 32),
        header("another product", "product", product=b"swift-ox"),
        header("product with a longer name", "product", product=b"swift-os2"),
        header("another profile", "profile", profile=b"hetzner"),
        header("disk layout 2", "disk-layout", layout=2),
        header("package abi range reversed", "package-abi", abi_min=2, abi_max=1),
        header("slot too small", "slot-size", size=128 * MIB + 1),
        header("slot just large enough", "ok", size=128 * MIB),
        header("kernel missing", "missing-section", rows(kernel=None)),
        header("loader missing", "missing-section", rows(loader=None)),
        header("kernel twice", "duplicate-section", [KERNEL, section(1, 917_504, 4096), section(2, 921_600, 1), VERITY, LOADER]),
        header("symbols twice", "duplicate-section", [*rows(), section(5, 4 * MIB, 1)]),
        header("kernel not critical", "section-flags", rows(kernel=section(1, 16384, 900_001, flags=0))),
        header("symbols critical", "section-flags", rows(symbols=section(5, 3_026_944, 60_000, flags=1))),
        header("unknown section flag", "section-flags", rows(symbols=section(5, 3_026_944, 60_000, flags=2))),
        header("reserved bytes of a section", "reserved", rows(symbols=section(5, 3_026_944, 60_000, reserved=1))),
        header("unknown critical section", "unknown-critical", rows(other=section(77, 4 * MIB, 1, flags=1))),
        header("section in the header area", "section-range", rows(kernel=section(1, 12288, 900_001))),
        header("section not on a page", "section-range", rows(kernel=section(1, 16385, 900_001))),
        header("section of no bytes", "section-range", rows(kernel=section(1, 16384, 0))),
        header("sections overlap by a byte", "section-range", rows(kernel=section(1, 16384, 901_121))),
        header("sections touch", "ok", rows(kernel=section(1, 16384, 901_120))),
        header("sections out of order", "section-range", [EROFS, KERNEL, VERITY, LOADER]),
        header("section past the slot size", "section-range", size=3_086_943),
        header("section that wraps", "section-range", rows(symbols=section(5, 3_026_944, 2**64 - 1))),
        area("no signatures", "ok", b"", ()),
        area("an unknown algorithm", "ok", b"", (signature(9, 3),)),
        area("sixteen signatures", "ok", b"", (signature(1, 64),) * 16),
        area("seventeen signatures", "signature-area", b"", (signature(1, 64),) * 17),
        area("signature area magic", "signature-area", magic=b"SWIFTSIX"),
        area("signature area version 2", "signature-area", version=2),
        area("signature area shorter than its header", "signature-area", length=31),
        area("signature area past its end", "signature-area", length=12289),
        area("key set past the end", "signature-area", keys=2**32 - 1),
        area("more signatures than bytes", "signature-area", count=3),
        area("bytes after the last signature", "signature-area", count=1),
        area("signature past the end", "signature-area", rows=(struct.pack("<HHI32s", 1, 0, 2**32 - 1, bytes(32)),)),
        area("reserved bytes of the signature area", "signature-area", zero=1),
        {**case("cut in the header", "truncated"), "length": 4095, "partition_size": 128 * MIB},
        {**case("cut in the signature area", "truncated"), "length": 16383, "partition_size": 128 * MIB},
    ]  # fmt: skip
    write("release", base, cases)


# --- boot-control block ------------------------------------------------------------------------------------------------


def slot(
    priority: int = 0, tries: int = 0, successful: int = 0, bad: int = 0, rollback: int = 7, version: bytes = b"0.1.0",
    reason: int = 0, why: bytes = b"", unfinished: int = 0, key_set: int = 3,
) -> bytes:  # fmt: skip
    head = struct.pack("<BBBBB3sQ32s32sH2sIQ96s", priority, tries, successful, bad, unfinished, b"\xa5" * 3, rollback,
                       bytes(32), version, reason, b"\xa5" * 2, key_set, 0, why)  # fmt: skip
    return head.ljust(256, b"\xa5")


GOOD_A = slot(15, 0, 1)
NEW_B = slot(14, 3, 0, version=b"0.2.0", rollback=8)


def bootctl_copy(sequence: int, a: bytes = GOOD_A, b: bytes = NEW_B, major: int = 1, minor: int = 0, length: int = 736,
                 floor: int = 7, magic: bytes = b"SWIFTBCT", loader: bytes = b"", tries: int = 0) -> bytes:  # fmt: skip
    head = struct.pack("<8sHHIQQQ", magic, major, minor, length, sequence, floor, 1_790_000_000)
    head = (head.ljust(52, b"\0") + struct.pack("<I", tries)).ljust(80, b"\0")
    head = (head + b"\0").ljust(96, b"\xa5")
    body = (head + a + b).ljust(736, b"\0")
    if length >= 776:
        body += loader.ljust(40, b"\0")
    body = body.ljust(4064, b"\x5a")
    return body + hashlib.sha256(body).digest()


def bootctl() -> None:
    base = bootctl_copy(5) + bootctl_copy(4)

    def blocks(name: str, expect: str, zero: bytes, one: bytes, **more: object) -> dict[str, object]:
        return case(name, expect, changed(base, zero + one), **more)

    def choose(name: str, order: list[str], refused: dict[str, str], a: bytes, b: bytes, floor: int = 7) -> dict[str, object]:
        zero = bootctl_copy(5, a, b, floor=floor)
        return blocks(name, "ok", zero, bootctl_copy(4), copy=0, sequence=5, order=order, refused=refused)

    broken = bootctl_copy(6)[:-1] + b"\0"
    assert broken != bootctl_copy(6)
    loader = struct.pack("<32sII", b"\xc7" * 32, 198656, 3)
    both: dict[str, Any] = {"order": ["a", "b"], "refused": {}}
    cases = [
        case("good", "ok", copy=0, sequence=5, **both),
        blocks("copy 1 is newer", "ok", bootctl_copy(4), bootctl_copy(5), copy=1, sequence=5, **both),
        blocks("equal sequences", "ok", bootctl_copy(5), bootctl_copy(5), copy=0, sequence=5, **both),
        blocks("copy 0 damaged", "ok", broken, bootctl_copy(5), copy=1, sequence=5, **both),
        blocks("copy 1 damaged and newer", "ok", bootctl_copy(5), broken, copy=0, sequence=5, **both),
        blocks("largest sequence", "ok", bootctl_copy(2**64 - 1), bootctl_copy(1), copy=0, sequence=2**64 - 1, **both),
        blocks("newer minor", "ok", bootctl_copy(5, minor=1, length=800), bootctl_copy(4), copy=0, sequence=5, **both),
        blocks("length 4064", "ok", bootctl_copy(5, length=4064), bootctl_copy(4), copy=0, sequence=5, **both),
        blocks("newer copy with length 4065", "ok", bootctl_copy(5, length=4065), bootctl_copy(4), copy=1, sequence=4, **both),
        blocks("newer copy with major 2", "ok", bootctl_copy(5, major=2), bootctl_copy(4), copy=1, sequence=4, **both),
        blocks("newer copy with another magic", "ok", bootctl_copy(5, magic=b"SWIFTBCX"), bootctl_copy(4), copy=1, sequence=4, **both),
        blocks("a loader on trial", "ok", bootctl_copy(5, length=776, loader=loader, tries=2), bootctl_copy(4), copy=0, sequence=5,
               loader={"digest": "c7" * 32, "length": 198656, "security": 3, "tries": 2}, **both),
        blocks("a loader of no bytes", "ok", bootctl_copy(5, length=776, loader=loader[:32], tries=2), bootctl_copy(4), copy=0,
               sequence=5, **both),
        blocks("a block that ends before loaders", "ok", bootctl_copy(5, length=775), bootctl_copy(4), copy=0, sequence=5, **both),
        blocks("both damaged", "no-copy", broken, broken),
        blocks("both empty", "no-copy", bytes(4096), bytes(4096)),
        choose("larger priority first", ["b", "a"], {}, slot(14, 0, 1), slot(15, 3, 0)),
        choose("equal: good before trial", ["b", "a"], {}, slot(15, 3, 0), slot(15, 0, 1)),
        choose("equal and both good: a", ["a", "b"], {}, slot(15, 0, 1), slot(15, 0, 1)),
        choose("equal and both on trial: a", ["a", "b"], {}, slot(15, 1, 0), slot(15, 1, 0)),
        choose("good and stuck: behind all others", ["b", "a"], {}, slot(15, 0, 1, unfinished=5), slot(1, 3, 0)),
        choose("good and nearly stuck", ["a", "b"], {}, slot(15, 0, 1, unfinished=4), slot(1, 3, 0)),
        choose("on trial, whatever is counted", ["a", "b"], {}, slot(15, 3, 0, unfinished=9), slot(1, 3, 0)),
        choose("priority 0", ["b"], {"a": "unbootable"}, slot(0, 3, 1), slot(1, 1, 0)),
        choose("bad", ["b"], {"a": "bad"}, slot(15, 3, 1, bad=1), slot(1, 1, 0)),
        choose("tries used up", ["b"], {"a": "tries-used-up"}, slot(15, 0, 0), slot(1, 0, 1)),
        choose("below the floor", ["b"], {"a": "below-floor"}, slot(15, 0, 1, rollback=6), slot(1, 0, 1)),
        choose("on the floor", ["a", "b"], {}, slot(15, 0, 1, rollback=9), slot(1, 0, 1, rollback=9), floor=9),
        choose("no candidate", [], {"a": "tries-used-up", "b": "bad"}, slot(15, 0, 0), slot(0, 0, 0, bad=1, reason=2, why=b"kernel digest")),
        {**case("cut in copy 1", "ok", copy=0, sequence=5, **both), "length": 8191},
        {**case("cut in copy 0", "no-copy"), "length": 4095},
    ]  # fmt: skip
    write("bootctl", base, cases)
