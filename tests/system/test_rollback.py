"""Releases that fail are given up: N, then the variant, then N again, and the reason is kept."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest
from swiftbuild.core import keysets
from swiftbuild.core.keysets import Change
from swiftbuild.effects.keys import KeyFolder, Terms, make_folder, sign
from swiftbuild.model.release import Section, SectionType
from swiftbuild.model.signing import Role
from swiftbuild.wire import elf, keyset, release, symbols

from tests.system.conftest import BOOT_SECONDS, ROOT, image_of
from tests.system.test_signatures import Signers
from tests.system.updates import Updating, following
from tests.variants import rebuilt, signed, slot_image, with_area, with_files

pytestmark = [pytest.mark.system, pytest.mark.rollback_test]
BREAK = struct.pack("<I", 0xD4200020)
"""`brk #1` (Arm ARM, C6.2)."""


def with_code(raw: bytes, function: str, code: bytes) -> bytes:
    """N+1 with other first instructions of a kernel function: one marked patch."""
    old = release.read_slot(raw)
    names = symbols.decode(bytes(old.section(SectionType.SYMBOLS)))
    (address,) = {at for at, name in names if name == function}
    kernel = bytearray(old.section(SectionType.KERNEL))
    segments = elf.read(kernel, "kernel").segments
    (segment,) = [s for s in segments if s.virtual <= address < s.virtual + s.file_size]
    at = segment.offset + address - segment.virtual
    kernel[at : at + len(code)] = code
    return rebuilt(raw, {SectionType.KERNEL: bytes(kernel)}, version="0.1.1", rollback_index=2)


def without_init(raw: bytes, folder: Path) -> bytes:
    """N+1 whose base has the places to mount on and no program."""
    root, out = folder / "root", folder / "empty.erofs"
    for name in ("dev", "proc", "run", "sys", "tmp", "data"):
        (root / name).mkdir(parents=True)
    subprocess.run(["/usr/bin/mkfs.erofs", "--quiet", str(out), str(root)], check=True, capture_output=True)
    return rebuilt(raw, {SectionType.EROFS: out.read_bytes()}, version="0.1.1", rollback_index=2)


def test_a_kernel_that_panics_at_boot(tmp_path: Path) -> None:
    base = slot_image(image_of("qemu"))
    given_up(tmp_path, with_code(base, "swift_kernel::fs::data::mount", BREAK), ends="kernel.panic")


def test_a_release_without_init(tmp_path: Path) -> None:
    given_up(tmp_path, without_init(slot_image(image_of("qemu")), tmp_path), ends="init.failed")


def test_a_release_whose_check_fails(tmp_path: Path) -> None:
    """A check that it brings itself never holds: bad at the deadline, three times, and the reason is kept."""
    variant = with_files(slot_image(image_of("qemu")), tmp_path, {
        "/etc/health.d/broken.check": "kind = command\nexec = /usr/bin/false\n",
        "/etc/health.conf": "settle = 2s\ndeadline = 6s\n",
    }, version="0.1.1", rollback_index=2)  # fmt: skip
    machine = Updating("qemu", tmp_path, variant)
    with machine.running_from("a", "0.1.0") as person:
        person.output(f"update install {machine.path}", seconds=120)
        machine.restarts(person, "reboot")
    for _ in range(3):
        with machine.started() as running:
            assert running.ended(seconds=BOOT_SECONDS) == "guest-reset"
            bad = next(event for event in running.console.events if event.name == "update.bad")
            assert (bad.get("slot"), bad.get("kept"), "broken" in bad.get("why")) == ("b", "1", True)
    with machine.running_from("a", "0.1.0") as person:
        b = machine.status(person)["slots"]["b"]
        assert (b["state"], b["reason"], "broken" in b["why"]) == ("unbootable", "health", True), b
        machine.cut()


def given_up(folder: Path, variant: bytes, *, ends: str) -> None:
    """The variant has its three boots, each of which ends so; then N boots, tells why, and does not take it again."""
    machine = Updating("qemu", folder, variant)
    with machine.running_from("a", "0.1.0") as person:
        person.output("echo kept >/data/file && sync")
        person.output(f"update install {machine.path}", seconds=120)
        machine.restarts(person, "reboot")
    for _ in range(3):
        with machine.started() as running:
            assert running.ended(seconds=BOOT_SECONDS) == "guest-reset"
            names = [event.name for event in running.console.events]
            loaded = next(event for event in running.console.events if event.name == "loader.slot")
            assert (loaded.get("slot"), loaded.get("version")) == ("b", "0.1.1")
            assert ends in names and names[-1] == "system.reboot" and "boot.ready" not in names, names
    with machine.running_from("a", "0.1.0") as person:
        status = machine.status(person)
        b = status["slots"]["b"]
        assert (b["state"], b["reason"], b["tries"]) == ("unbootable", "tries-used-up", 0)
        assert status["failed_releases"] == [b["release"]]
        assert person.output("cat /data/file") == "kept"
        refused = person.run(f"update install {machine.path} 2>&1")
        assert (refused.status, "(failed-here)" in refused.text) == (1, True), refused.text
        machine.cut()


def test_a_bit_that_flips_in_the_slot_before_anybody_reads_it(tmp_path: Path) -> None:
    """It boots; who would mark it good reads all of it first, and goes back."""
    machine = Updating("qemu", tmp_path, following("qemu"))
    with machine.running_from("a", "0.1.0") as person:
        person.output(f"update install {machine.path}", seconds=120)
        machine.restarts(person, "reboot")
    machine.flip("base_b", SectionType.LOADER)
    with machine.running_from("b", "0.1.1") as person:
        assert "the SHA-256 of the loader" in person.run("update verify 2>&1").text
        machine.restarts(person, "update mark-good")
    with machine.running_from("b", "0.1.1") as person:
        b = machine.status(person)["slots"]["b"]
        assert (b["reason"], b["tries"]) == ("verification", 1)
        assert "loader" in b["why"]
        machine.cut()


@pytest.mark.parametrize("part", ["header", "kernel"])
def test_a_bit_that_flips_where_the_loader_looks(part: str, tmp_path: Path) -> None:
    machine = Updating("qemu", tmp_path, following("qemu"))
    with machine.running_from("a", "0.1.0") as person:
        person.output(f"update install {machine.path}", seconds=120)
        machine.restarts(person, "reboot")
    machine.flip("base_b", SectionType.KERNEL if part == "kernel" else None)
    with machine.running_from("a", "0.1.0") as person:
        b = machine.status(person)["slots"]["b"]
        assert (b["state"], b["reason"], {"header": "signed by 0", "kernel": "kernel"}[part] in b["why"]) == (
            "bad", "verification", True), b  # fmt: skip
        machine.cut()


def test_refusals_that_need_no_restart(tmp_path: Path) -> None:
    """Each with its own class, and the block unchanged."""
    base = slot_image(image_of("qemu"))
    good = following("qemu")
    header = release.read_slot(good).header
    flipped = {name: _flipped(good, header.section(kind)) for name, kind in (
        ("kernel", SectionType.KERNEL), ("erofs", SectionType.EROFS), ("verity", SectionType.VERITY))}
    people = Signers(tmp_path / "people")
    stranger = make_folder(tmp_path / "other", name="", terms=Terms(dev=True, signed_at=0), passphrase=None)
    cases = {
        "threshold": (people.signed(good, "bob"), "release"),
        "twice the same key": (people.signed(good, "bob", "bob"), "release"),
        "another root": (signed(good, stranger.path), "root"),
        "expired": (with_expired_keys(good), "expired"),
        "profile": (following("qemu", profile="hetzner"), "profile"),
        "floor": (following("qemu", rollback_index=0), "below-floor"),
        "downgrade": (following("qemu", version="0.0.9"), "downgrade"),
        "same": (base, "same"),
        "unsigned": (rebuilt(base, {}, version="0.1.1", rollback_index=2)[:4096].ljust(len(base), b"\0"), None),
        "header": (bytes([*good[:200], good[200] ^ 1, *good[201:]]), None),
        **{f"bit in {name}": (raw, "failed") for name, raw in flipped.items()},
        "truncated": (good[: len(good) // 2], "failed"),
    }
    machine = Updating("qemu", tmp_path, good)
    with machine.running_from("a", "0.1.0") as person:
        before = machine.status(person)
        for name, (raw, wanted) in cases.items():
            machine.swap(person, raw)
            answer = person.run(f"update install {machine.path} 2>&1", seconds=120)
            assert answer.status == 1, (name, answer.text)
            if wanted:
                assert f"({wanted})" in answer.text, (name, answer.text)
            after = machine.status(person)
            assert after["next"] == "a", name
        assert {**machine.status(person), "slots": None} == {**before, "slots": None}
        machine.swap(person, good)
        person.output(f"update install {machine.path}", seconds=120)
        machine.cut()


def with_expired_keys(raw: bytes) -> bytes:
    """The release under a key set whose time is over: the next version, by the same root and the same keys."""
    dev = KeyFolder(ROOT / "keys" / "dev")
    old = keyset.decode(dev.key_set() or b"").key_set
    over = keysets.following(old, Change(Role.RELEASE, expires=1), signed_at=1)
    message = keyset.signed_message(keyset.digest(keyset.encode_signed(over)))
    area = release.decode_signatures(raw[release.HEADER_SIZE : release.SECTIONS_START])
    signatures = [sign(root, message, lambda _: b"") for root in dev.listed("root")]
    return with_area(raw, area.model_copy(update={"key_set": keyset.encode(over, signatures)}))


def _flipped(raw: bytes, section: Section | None) -> bytes:
    assert section
    at = section.offset + section.length // 2
    return raw[:at] + bytes([raw[at] ^ 4]) + raw[at + 1 :]

