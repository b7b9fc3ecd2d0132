"""`inspect`: a right image has no fault; each planted fault is found by name; comparison explains what keys change."""

from __future__ import annotations

import json
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
from swiftbuild.cli.app import app
from swiftbuild.model.release import SectionType
from swiftbuild.scenarios.inspection import differences, findings
from typer.testing import CliRunner

from tests.fakes import FakeSigner
from tests.images import BASE, GOOD, Parts, build, make_elf, make_loader, parts, section_of, start_of

Patch = Callable[[bytearray], None]
LAST = 512  # the backup header is the last sector


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    """The parts of a right image."""
    return parts(tmp_path_factory.mktemp("inspect"))


@pytest.fixture(scope="module")
def image(given: Parts) -> Path:
    """A right image."""
    return build(given, "right")


def codes(path: Path) -> set[str]:
    """The names of all faults."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pyfatfs warns of damage
        return {finding.code for finding in findings(path)}


@contextmanager
def changed(image: Path, offset: int, new: bytes) -> Iterator[Path]:
    """The image with other bytes at an offset (from the end when negative), for the length of a `with`."""
    with image.open("r+b") as file:
        file.seek(offset, 0 if offset >= 0 else 2)
        at = file.tell()
        old = file.read(len(new))
        file.seek(at)
        file.write(new)
        file.flush()
        try:
            yield image
        finally:
            file.seek(at)
            file.write(old)


def read(image: Path, offset: int, length: int) -> bytes:
    """Bytes of the image."""
    with image.open("rb") as file:
        file.seek(offset, 0 if offset >= 0 else 2)
        return file.read(length)


def flipped(image: Path, offset: int) -> bytes:
    """The byte there with one bit changed."""
    return bytes([read(image, offset, 1)[0] ^ 1])


def resealed(image: Path, edit: Patch, *, backup: bool) -> tuple[int, bytes]:
    """One copy's header and entries with an edit of the entries and both CRCs right again: (offset, bytes)."""
    header = bytearray(read(image, -LAST if backup else 512, 92))
    size = image.stat().st_size
    entries = bytearray(read(image, size - 33 * 512 if backup else 1024, 16384))
    edit(entries)
    header[88:92] = struct.pack("<I", zlib.crc32(entries))
    header[16:20] = bytes(4)
    header[16:20] = struct.pack("<I", zlib.crc32(header))
    sector = bytes(header).ljust(512, b"\0")
    return (size - 33 * 512, bytes(entries) + sector) if backup else (512, sector + bytes(entries))


@contextmanager
def both_edited(image: Path, edit: Patch) -> Iterator[Path]:
    """The same edit of the entries in primary and backup."""
    with changed(image, *resealed(image, edit, backup=False)), changed(image, *resealed(image, edit, backup=True)):
        yield image


def test_a_right_image_has_no_fault(image: Path) -> None:
    assert findings(image) == []


def test_a_right_slot_image_has_no_fault(given: Parts, image: Path) -> None:
    assert findings(image.parent / "slot") == []


@pytest.mark.parametrize(
    ("offset", "code"),
    [(512 + 56, "header-crc"), (-LAST + 56, "header-crc"), (1024 + 40, "array-crc"), (-33 * 512 + 40, "array-crc"),
     (512, "signature"), (-LAST, "signature")],
)  # fmt: skip
def test_a_flipped_bit_in_a_table_is_found(image: Path, offset: int, code: str) -> None:
    with changed(image, offset, flipped(image, offset)):
        assert code in codes(image)


def test_disagreeing_copies_are_found(image: Path) -> None:
    def rename(entries: bytearray) -> None:
        entries[56:58] = b"X\0"

    with changed(image, *resealed(image, rename, backup=True)):
        assert codes(image) == {"disagree"}


@pytest.mark.parametrize(
    ("new", "code"),
    [(bytes(512), "pmbr-missing"), (bytes(446) + b"\0\0\2\0\x83" + bytes(59) + b"\x55\xaa", "pmbr-missing"),
     (bytes(446) + b"\0\0\2\0\xee\xff\xff\xff" + struct.pack("<II", 1, 7) + bytes(48) + b"\x55\xaa", "pmbr-wrong")],
)  # fmt: skip
def test_a_missing_or_wrong_protective_mbr_is_found(image: Path, new: bytes, code: str) -> None:
    with changed(image, 0, new):
        assert codes(image) == {code}


def entry(entries: bytearray, index: int, at: int, form: str, value: object) -> None:
    """Changes a field of a partition entry."""
    struct.pack_into(form, entries, index * 128 + at, value)


TABLE_FAULTS: dict[str, tuple[Patch, set[str]]] = {
    "overlap": (lambda e: entry(e, 1, 32, "<Q", 4096), {"overlap"}),
    "out of range": (lambda e: entry(e, 5, 40, "<Q", 1 << 40), {"partition-range"}),
    "backwards": (lambda e: entry(e, 5, 40, "<Q", 5), {"partition-range"}),
}
LAYOUT_FAULTS: dict[str, tuple[Patch, set[str]]] = {
    "duplicate GUIDs": (lambda e: e.__setitem__(slice(128 + 16, 128 + 32), e[16:32]), {"duplicate-guid"}),
    "no GUID": (lambda e: e.__setitem__(slice(16, 32), bytes(16)), {"zero-guid"}),
    "wrong type": (lambda e: e.__setitem__(slice(128, 144), UUID(int=5).bytes_le), {"layout-type"}),
    "too small": (lambda e: entry(e, 4, 40, "<Q", struct.unpack_from("<Q", e, 4 * 128 + 32)[0] + 2047),
                  {"layout-size"}),
    "not aligned": (lambda e: entry(e, 5, 40, "<Q", struct.unpack_from("<Q", e, 5 * 128 + 40)[0] - 1),
                    {"layout-size", "layout-alignment"}),
    "wrong name": (lambda e: e.__setitem__(slice(5 * 128 + 56, 5 * 128 + 58), b"x\0"), {"layout-names"}),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLE_FAULTS)
def test_a_fault_in_both_tables_is_found(image: Path, name: str) -> None:
    edit, wanted = TABLE_FAULTS[name]
    with both_edited(image, edit):
        assert codes(image) == wanted


@pytest.mark.parametrize("name", LAYOUT_FAULTS)
def test_a_fault_of_the_layout_is_found(image: Path, name: str) -> None:
    edit, wanted = LAYOUT_FAULTS[name]
    with both_edited(image, edit):
        assert codes(image) == wanted


@pytest.mark.parametrize(
    ("kind", "offset", "wanted"),
    [
        (SectionType.KERNEL, 200, {"digest"}),
        (SectionType.EROFS, 1024 + 16, {"digest", "verity", "erofs"}),
        (SectionType.VERITY, 4096, {"digest", "verity"}),
        (SectionType.VERITY, 200, {"digest", "verity"}),
        (SectionType.LOADER, 100, {"digest", "loader-differs"}),
        (SectionType.SYMBOLS, 0, {"digest", "symbols"}),
    ],
)
def test_damage_in_a_slot_is_found(image: Path, kind: SectionType, offset: int, wanted: set[str]) -> None:
    at = section_of(image, kind) + offset
    with changed(image, at, flipped(image, at)):
        assert codes(image) >= wanted


@pytest.mark.parametrize(
    ("loads", "machine", "wanted"),
    [([*GOOD, (7, BASE + 0x8000, b"x", 1)], 183, {"kernel", "kernel-lint"}), (GOOD, 62, {"kernel", "kernel-lint"})],
)
def test_a_kernel_that_must_not_boot_is_found(
    given: Parts, tmp_path: Path, loads: list[tuple[int, int, bytes, int]], machine: int, wanted: set[str]
) -> None:
    bad = replace(given, folder=tmp_path, kernel=make_elf(loads, machine=machine))
    assert codes(build(bad, "bad")) == wanted


@pytest.mark.parametrize(("at", "wanted"), [(0, {"bootctl-copy"}), (65536 + 2000, {"bootctl-copy"})])
def test_a_damaged_boot_control_copy_is_found(image: Path, at: int, wanted: set[str]) -> None:
    at += start_of(image, "bootctl")
    with changed(image, at, flipped(image, at)):
        assert codes(image) == wanted


def test_a_slot_with_another_release_than_recorded_is_found(image: Path) -> None:
    at = start_of(image, "base_a") + 120  # signed_at: the header is right, its digest is another
    with changed(image, at, flipped(image, at)):
        assert codes(image) == {"slot-digest", "signature-release"}


def test_a_slot_that_the_loader_of_the_esp_would_refuse_is_found(given: Parts, image: Path, tmp_path: Path) -> None:
    at = start_of(image, "base_a") + 4096 + 32 + 20  # in the key set
    with changed(image, at, flipped(image, at)):
        assert codes(image) & {"signature-key-set", "signature-root"}
    stranger = replace(given, folder=tmp_path, keys=2)  # signed by others than the loader's
    assert codes(build(stranger, "stranger")) == {"signature-root"}
    assert codes(tmp_path / "stranger" / "slot") == {"signature-root"}
    status, text = run(str(tmp_path / "stranger" / "disk.img"))
    assert status == 0 and "accepted       no: key set 1: signed by 0 of 1 root keys, 1 must" in text
    nobody = tmp_path / "stranger" / "unsigned"
    assert codes(nobody) == {"signature-key-set"}


def test_a_loader_without_root_keys_is_found(given: Parts, tmp_path: Path) -> None:
    keyless = tmp_path / "keyless.efi"
    keyless.write_bytes(given.loader.read_bytes().replace(b"SWROOTKY", b"SWROOTK?"))
    bad = replace(given, folder=tmp_path, loader=keyless)
    assert codes(build(bad, "keyless")) == {"root-keys"}


def test_who_signed_is_shown(image: Path) -> None:
    signer = FakeSigner(1)
    key, root = signer.keys[0].hex(), signer.roots.keys[0].key_id.hex()
    text = run(str(image))[1]
    assert f"  signed by      {key[:16]} (1 must), key set 1" in text
    assert f"  root           1 of 1 must sign the key set; signed by {root[:16]}" in text
    assert "  accepted       yes" in text
    told = json.loads(run("--json", str(image))[1])["slots"]["base_a"]["trust"]
    assert told["accepted"] and told["signed_by"] == [key] and told["root"] == [{"threshold": 1, "keys": [root]}]
    assert told["key_set"]["dev"] is False


def test_damage_of_the_fat_is_found(image: Path) -> None:
    at = start_of(image, "esp") + 32 * 512 + 4 * 5
    with changed(image, at, b"\xff\xff\xff\x0f"):
        assert "fsck" in codes(image)


def test_loader_files_that_cannot_be_exchanged_are_found(image: Path) -> None:
    start = start_of(image, "esp")
    at = start + image.read_bytes()[start : start + (4 << 20)].index(b"SECOND  EFI")
    with changed(image, at, b"SECONX"):
        assert codes(image) == {"loader-missing"}
    with changed(image, at + 28, (512).to_bytes(4, "little")):
        assert "loader-files" in codes(image)


def test_no_disk_is_no_disk(tmp_path: Path) -> None:
    path = tmp_path / "junk"
    path.write_bytes(b"junk" * 1000)
    assert codes(path) == {"size"}


def run(*arguments: str) -> tuple[int, str]:
    """The command's exit status and output."""
    done = CliRunner().invoke(app, ["inspect", *arguments])
    return done.exit_code, done.stdout


def test_the_command_shows_and_judges(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # the volume's judge is a program to be built: tests/integration/test_data.py
    monkeypatch.setattr("swiftbuild.cli.inspect._volume_findings", lambda _session, _path: [])
    status, text = run(str(image))
    assert status == 0
    for part in ("base_a", "swift-os boot control", "rollback floor 1; boots next: a", "base: 4 paths"):
        assert part in text
    assert "/etc/motd" in run("--tree", str(image))[1]
    status, text = run("--json", str(image))
    document = json.loads(text)
    assert document["slots"]["base_b"] == {"state": "empty"}
    assert {"path": "/etc/motd", "mode": "100644", "uid": 0, "gid": 0, "size": 8} in (
        document["slots"]["base_a"]["erofs"]["files"]
    )
    assert run("--check", str(image))[0] == 0
    with changed(image, 600, flipped(image, 600)):
        status, text = run("--check", "--json", str(image))
        assert status == 6
        assert json.loads(text)["findings"][0]["code"] == "header-crc"


def test_the_same_image_is_the_same(given: Parts, image: Path) -> None:
    again = build(given, "again")
    assert differences(image, again) == []
    assert run("--compare", str(image), str(again)) == (0, "same: every byte\n")


def test_other_keys_explain_what_follows_from_them(given: Parts, image: Path) -> None:
    other = build(replace(given, loader=make_loader(given.folder, 2), keys=2), "keys")
    found = differences(image, other)
    assert found
    assert all(d.by_keys for d in found), found
    status, text = run("--compare", str(image), str(other))
    assert status == 0
    assert "same but for signatures" in text
    assert "base_a: loader: embedded root keys" in text


def test_a_changed_file_is_named(given: Parts, image: Path) -> None:
    (given.root / "etc" / "motd").write_text("changed\n")
    try:
        other = build(replace(given, loader=make_loader(given.folder, 2), keys=2), "file")
    finally:
        (given.root / "etc" / "motd").write_text("welcome\n")
    unexplained = [d for d in differences(image, other) if not d.by_keys]
    assert "base_a: erofs: /etc/motd" in {d.where for d in unexplained}
    assert run("--compare", str(image), str(other))[0] == 1


@pytest.mark.parametrize(
    ("where", "at"),
    [("esp: bytes outside its files", 40 << 20), ("bootctl", 9000), ("base_a", 100 << 20), ("pkgs", 77), ("data", 5),
     ("outside every partition", None)],
)  # fmt: skip
def test_a_byte_anywhere_is_found(given: Parts, image: Path, where: str, at: int | None) -> None:
    other = given.folder / "keys" / "disk.img"
    if not other.exists():
        other = build(replace(given, loader=make_loader(given.folder, 2), keys=2), "keys")
    offset = 40 * 512 if at is None else at + start_of(other, where.split(":", maxsplit=1)[0])
    with changed(other, offset, b"\x01"):
        assert where in {d.where for d in differences(image, other) if not d.by_keys}
