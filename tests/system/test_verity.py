"""The verified base: whatever bit of it changes, a program gets an error, an event says so, no byte of it is wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from swiftbuild.errors import BootError
from swiftbuild.limits import PAGE
from swiftbuild.machine.console import Console
from swiftbuild.machine.media import direct
from swiftbuild.machine.qemu import Machine, machine
from swiftbuild.machine.spec import Spec
from swiftbuild.model.release import SectionType
from swiftbuild.scenarios.boot import booting, wait_ready
from swiftbuild.scenarios.session import Person

from tests import bases
from tests.bases import DIGESTS_PER_BLOCK, LONG_NAME, Base
from tests.system.conftest import BOOT_SECONDS, as_root, image_of, spec
from tests.variants import installed

pytestmark = [pytest.mark.system, pytest.mark.verity_test]

IN_MEMORY = spec("qemu", way="direct", cpus=2, network=False)
ON_DISK = [spec("qemu", cpus=2, network=False), spec("hetzner", cpus=2, network=False)]
GOOD_IN_MEMORY = [IN_MEMORY, spec("hetzner", cpus=2, network=False)]
COMPRESSED = ("-zlz4hc", "-C65536", "--max-extent-bytes=262144")
EIO = "Input/output error"
BUS_ERROR = 128 + 7
"""What a shell says of a program that SIGBUS ended."""
DAMAGED_PAGE = 5
DAMAGED_TREE = 3


@contextmanager
def started(wanted: Spec, raw: bytes, folder: Path) -> Iterator[Machine]:
    """A machine with this slot image: as its initrd, or in slot A of its disk."""
    if wanted.way == IN_MEMORY.way:
        media = direct(raw, folder, what="test")
        with machine(wanted, lambda _: media, folder=folder) as running:
            yield running
        return
    disk = installed(image_of(wanted.profile), folder / "disk.img", raw)
    with booting(wanted, disk, folder=folder) as running:
        yield running


@contextmanager
def logged_in(wanted: Spec, raw: bytes, folder: Path) -> Iterator[tuple[Machine, Person]]:
    """The same, with a person at its console."""
    with started(wanted, raw, folder) as running:
        yield running, as_root(running)


def told(person: Person) -> dict[str, str]:
    """/proc/verity."""
    return dict(line.split(" ", 1) for line in person.output("cat /proc/verity").splitlines())


def check_good(person: Person, base: Base, source: str) -> None:
    """Every file is what was built, and the kernel has verified what was read and nothing else."""
    console = person.console
    before = told(person)
    assert (before["source"], before["root"], before["errors"]) == (source, base.root.hex(), "0")
    assert 10 < int(before["verified"]) < int(before["blocks"]) // 2, before
    ready = next(event for event in console.events if event.name == "verity.ready")
    assert (ready.get("source"), ready.get("root")) == (source, base.root.hex())
    mounted = next(event for event in console.events if event.name == "base.mounted")
    assert mounted.get("source") == source
    person.output("find / -xdev -type f -exec sha256sum {} + >/tmp/sums", seconds=300)
    lines = sorted(f"{hashlib.sha256(contents).hexdigest()}  {path}\n" for path, contents in base.files.items())
    found = person.output("sort /tmp/sums | sha256sum").split()[0]
    assert found == hashlib.sha256("".join(lines).encode()).hexdigest(), person.output("head -n 50 /tmp/sums")
    after = told(person)
    assert int(before["verified"]) < int(after["verified"]) <= int(after["blocks"])
    assert after["errors"] == "0"
    assert not any(event.name == "verity.error" for event in console.events)


@pytest.mark.parametrize("wanted", GOOD_IN_MEMORY, ids=[wanted.profile for wanted in GOOD_IN_MEMORY])
@pytest.mark.parametrize("options", [(), COMPRESSED], ids=["plain", "lz4"])
def test_a_good_base_in_memory(wanted: Spec, options: tuple[str, ...], tmp_path: Path) -> None:
    base = bases.build(image_of(wanted.profile), tmp_path, *options)
    with logged_in(wanted, base.raw, tmp_path) as (_, person):
        check_good(person, base, "ram")


@pytest.mark.parametrize("wanted", ON_DISK, ids=[wanted.profile for wanted in ON_DISK])
@pytest.mark.parametrize("options", [(), COMPRESSED], ids=["plain", "lz4"])
def test_a_good_base_on_the_disk(wanted: Spec, options: tuple[str, ...], tmp_path: Path) -> None:
    base = bases.build(image_of(wanted.profile), tmp_path, *options, on_disk=True)
    with logged_in(wanted, base.raw, tmp_path) as (_, person):
        check_good(person, base, "disk")


def error_event(console: Console, what: str, block: int, level: int) -> None:
    """The kernel has said so."""
    event = console.event("verity.error", seconds=60, block=str(block))
    assert (event.get("what"), event.get("level")) == (what, str(level))


def check_refused(person: Person, command: str) -> None:
    """The command cannot read what it is to read."""
    assert person.run(f"{command} 2>/tmp/why").status != 0
    assert EIO in person.output("cat /tmp/why")


def digest(person: Person, command: str) -> str:
    """SHA-256 of what a command prints. Events of its errors come between, so it is asked for afterwards."""
    person.run(f"{command} 2>/tmp/why | sha256sum >/tmp/digest")
    return person.output("cat /tmp/digest").split()[0]


def check_damaged(person: Person, base: Base, blocks: dict[str, int]) -> None:
    """Each damaged block is an error for who needs it, and nothing else is touched."""
    console, data = person.console, base.files["/extra/data"]
    assert told(person)["errors"] == "0"
    # file data: what lies before it is read, not a byte of it
    sound = data[: DAMAGED_PAGE * PAGE]
    assert digest(person, "cat /extra/data") == hashlib.sha256(sound).hexdigest()
    assert EIO in person.output("cat /tmp/why")
    error_event(console, "block", blocks["data"], 0)
    # a hash above data that are as they were
    start = blocks["tree"] * DIGESTS_PER_BLOCK - base.nodes["/extra/data"].raw
    check_refused(person, f"dd if=/extra/data bs={PAGE} skip={start + 7} count=1 of=/tmp/part")
    error_event(console, "tree", base.nodes["/extra/data"].raw + start + 7, 1)
    behind = data[(start + DIGESTS_PER_BLOCK) * PAGE :][: 4 * PAGE]
    part = digest(person, f"dd if=/extra/data bs={PAGE} skip={start + DIGESTS_PER_BLOCK} count=4")
    assert part == hashlib.sha256(behind).hexdigest()
    # a directory, an inode, a page that is mapped
    check_refused(person, f"cat /extra/names/{LONG_NAME}000")
    error_event(console, "block", blocks["directory"], 0)
    check_refused(person, f"cat {base.lone_inode()[0]}")
    error_event(console, "block", blocks["inode"], 0)
    assert person.run("/extra/program true").status == BUS_ERROR
    error_event(console, "block", blocks["program"], 0)
    # again, and it is no better; the system is
    check_refused(person, f"dd if=/extra/data bs={PAGE} skip={DAMAGED_PAGE} count=1 of=/tmp/part")
    assert person.output("wc -c </tmp/part") == "0"
    assert digest(person, "cat /bin/busybox") == hashlib.sha256(base.files["/usr/bin/busybox"]).hexdigest()
    assert int(told(person)["errors"]) >= len(blocks)


def damaged(base: Base) -> tuple[bytes, dict[str, int]]:
    """The slot image with a bit changed in each kind of block but those that nothing works without."""
    first = base.nodes["/extra/data"].raw
    region = -(-first // DIGESTS_PER_BLOCK) + DAMAGED_TREE
    assert (region + 2) * DIGESTS_PER_BLOCK < first + len(base.files["/extra/data"]) // PAGE
    blocks = {
        "data": first + DAMAGED_PAGE, "directory": base.nodes["/extra/names"].raw, "inode": base.lone_inode()[1],
        "program": base.entry_block("/extra/program"),
    }  # fmt: skip
    assert len(set(blocks.values())) == len(blocks)
    # behind the superblock and the one block of the upper level
    planted = base.with_tree((2 + region) * PAGE + 7 * 32)
    bits = [(SectionType.EROFS, block * PAGE + 100) for block in blocks.values()]
    return planted.flipped(*bits), {**blocks, "tree": region}


def check_unhealthy(running: Machine) -> None:
    """Who asks for health is told."""
    with pytest.raises(BootError, match=r"its base is damaged: .*verity\.error"):
        wait_ready(running, seconds=BOOT_SECONDS)


def test_flipped_bits_in_memory(tmp_path: Path) -> None:
    base = bases.build(image_of("qemu"), tmp_path)
    raw, blocks = damaged(base)
    with logged_in(IN_MEMORY, raw, tmp_path) as (running, person):
        check_damaged(person, base, blocks)
        check_unhealthy(running)


@pytest.mark.parametrize("wanted", ON_DISK, ids=[wanted.profile for wanted in ON_DISK])
def test_flipped_bits_on_the_disk(wanted: Spec, tmp_path: Path) -> None:
    base = bases.build(image_of(wanted.profile), tmp_path, on_disk=True)
    raw, blocks = damaged(base)
    with logged_in(wanted, raw, tmp_path) as (running, person):
        check_damaged(person, base, blocks)
        check_unhealthy(running)


def refusal(wanted: Spec, raw: bytes, folder: Path) -> tuple[str, Console]:
    """Why this slot image does not boot."""
    with started(wanted, raw, folder) as running, pytest.raises(BootError) as raised:
        wait_ready(running, seconds=BOOT_SECONDS)
    message = raised.value.message.splitlines()[0]
    assert "in vain" not in message, raised.value.message
    return message, running.console


UUID_AT, SALT_AT, RESERVED_AT, ROOT_AT, LEVEL_0_AT = 16, 88, 3000, PAGE, 2 * PAGE
"""In superblock and tree."""
EROFS_UUID_AT = 1024 + 60
CANNOT_BE_READ = "EROFS image cannot be read: EIO"
NOT_THE_SECTION = "SHA-256 of the verity section"
FATAL: dict[str, tuple[Callable[[Base], bytes], str, int]] = {
    "superblock": (lambda base: base.flipped((SectionType.EROFS, EROFS_UUID_AT)), CANNOT_BE_READ, 1),
    "upper level": (lambda base: base.with_tree(ROOT_AT + 3).raw, CANNOT_BE_READ, 1),
    "salt": (lambda base: base.with_tree(SALT_AT).raw, CANNOT_BE_READ, 1),
    "reserved": (lambda base: base.with_tree(RESERVED_AT).raw, "verity superblock: bytes that must be zero", 0),
    # the root hash does not cover the superblock; the release header does
    "UUID without digest": (lambda base: base.flipped((SectionType.VERITY, UUID_AT)), NOT_THE_SECTION, 0),
    "level 0 without digest": (lambda base: base.flipped((SectionType.VERITY, LEVEL_0_AT)), NOT_THE_SECTION, 0),
}
"""What is changed, what the kernel says, and how many blocks failed."""


@pytest.mark.parametrize("place", FATAL)
def test_what_nothing_works_without_is_refused_in_memory(place: str, tmp_path: Path) -> None:
    damage, why, count = FATAL[place]
    message, console = refusal(IN_MEMORY, damage(bases.build(image_of("qemu"), tmp_path)), tmp_path)
    assert "base.failed" in message and why in message, message
    assert len([event for event in console.events if event.name == "verity.error"]) == count
    assert not any(event.name == "base.mounted" for event in console.events)


@pytest.mark.parametrize("wanted", ON_DISK, ids=[wanted.profile for wanted in ON_DISK])
def test_what_nothing_works_without_is_refused_on_the_disk(wanted: Spec, tmp_path: Path) -> None:
    base = bases.build(image_of(wanted.profile), tmp_path, on_disk=True)
    message, console = refusal(wanted, base.flipped((SectionType.EROFS, EROFS_UUID_AT)), tmp_path)
    assert "base.failed" in message and CANNOT_BE_READ in message, message
    failed = console.event("verity.error", seconds=1)
    assert (failed.get("source"), failed.get("block")) == ("disk", "0")


def test_a_flipped_tree_is_refused_by_the_loader(tmp_path: Path) -> None:
    wanted = ON_DISK[0]
    base = bases.build(image_of(wanted.profile), tmp_path, on_disk=True)
    raw = base.flipped((SectionType.VERITY, UUID_AT))
    message, console = refusal(wanted, raw, tmp_path)
    assert "loader.error" in message
    first = console.event("loader.error", seconds=1, where="a")
    assert first.get("what") == "verity" and "SHA-256" in first.get("why")

