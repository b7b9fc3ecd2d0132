"""Disks on each bus, read and written raw: every byte, interrupts, and what goes wrong: errors and removal."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

import pytest
from swiftbuild.limits import MIB, SECTOR

from tests.system import disks
from tests.system.blockguests import BUSES, Guest, started
from tests.system.conftest import BOOT_SECONDS

pytestmark = [pytest.mark.system, pytest.mark.block_test]


@pytest.fixture(scope="module", params=[pytest.param(b, marks=pytest.mark.xdist_group(f"block-{b}")) for b in BUSES])
def guest(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    """One boot for each bus."""
    bus = BUSES[request.param]
    folder = tmp_path_factory.mktemp(f"block-{request.param}")
    kinds = (*disks.ALL, *([disks.REMOVED] if bus.first else []))
    files = {kind.name: kind.make(folder) for kind in kinds}
    options = [*bus.first, *(word for kind in kinds for word in kind.arguments(files[kind.name], bus.device))]
    with started(bus, options, folder) as (running, person):
        yield Guest(bus, running, person, files)


def counted(guest: Guest, irq: int) -> int:
    """How often an interrupt has come."""
    rows = [row.split() for row in guest.person.output("cat /proc/interrupts").splitlines()]
    [counts] = [row[1:3] for row in rows if row[0] == f"{irq}:"]
    return sum(int(count) for count in counts)


def test_a_disk_interrupts(guest: Guest) -> None:
    node = guest.node(disks.PLAIN)
    [ready] = guest.events("block.ready", node)
    assert f"driver={guest.bus.driver} " in ready
    irq = re.search(r" irq=(\w+)", ready)
    assert irq
    if not guest.bus.interrupts:
        assert irq[1] == "poll"
        return
    assert int(irq[1]) in guest.bus.interrupts, ready
    before = counted(guest, int(irq[1]))
    guest.person.output(f"blockdev --flushbufs /dev/{node} && dd if=/dev/{node} of=/dev/null bs=64k count=8")
    assert counted(guest, int(irq[1])) > before


@pytest.mark.parametrize("disk", [disks.PLAIN, disks.SEALED, disks.LARGE_BLOCKS], ids=lambda disk: disk.name)
def test_every_byte_is_the_disks(guest: Guest, disk: disks.Kind) -> None:
    node = guest.node(disk)
    expected = hashlib.sha256(guest.files[disk.name].read_bytes()).hexdigest()
    assert guest.person.output(f"sha256sum /dev/{node}").split()[0] == expected
    size, block = (guest.person.output(f"blockdev {what} /dev/{node}") for what in ("--getsize64", "--getss"))
    assert (int(size), int(block)) == (disk.mib * MIB, 4096 if disk is disks.LARGE_BLOCKS else SECTOR)


@pytest.mark.parametrize("disk", [disks.PLAIN, disks.LARGE_BLOCKS], ids=lambda disk: disk.name)
def test_what_was_written_and_synced_is_on_the_disk(guest: Guest, disk: disks.Kind) -> None:
    """Neither its start nor its end lies on a block, and what is around it stays."""
    node, at = guest.node(disk), 12345
    data = "".join(f"{number}\n" for number in range(1, 30001)).encode()
    expected = bytearray(guest.files[disk.name].read_bytes())
    expected[at : at + len(data)] = data
    guest.person.output(f"seq 1 30000 | dd of=/dev/{node} ibs=64k obs={at} seek=1 conv=notrunc 2>/dev/null && sync")
    assert guest.files[disk.name].read_bytes() == expected
    guest.person.output(f"seq 1 30000 >/tmp/seq; blockdev --flushbufs /dev/{node}")
    guest.person.output(f"tail -c +{at + 1} /dev/{node} | head -c {len(data)} | cmp - /tmp/seq")
    # at the disk's end there is no room
    guest.fails(f"dd if=/dev/zero of=/dev/{node} bs=1M seek={disk.mib} count=1", "No space left")


def test_what_is_thrown_away_is_free(guest: Guest) -> None:
    """A discard makes a hole in the disk's file; neighbours stay."""
    node, file = guest.node(disks.PLAIN), guest.files["plain"]
    before = file.read_bytes()
    guest.person.output(f"blkdiscard -o {2 * MIB} -l {MIB} /dev/{node}")
    after = file.read_bytes()
    assert after[2 * MIB : 3 * MIB] == bytes(MIB)
    assert (after[: 2 * MIB], after[3 * MIB :]) == (before[: 2 * MIB], before[3 * MIB :])


def test_only_root_has_the_nodes_and_partitions_have_names(guest: Guest) -> None:
    node = guest.node(disks.PLAIN)
    assert guest.person.output(f"stat -c '%A %U' /dev/{node}") == "brw------- root"
    guest.fails(f"su guest -c 'dd if=/dev/{node} of=/dev/null count=1'", "Permission denied")
    pkgs = guest.person.output("readlink -f /dev/disk/by-partlabel/pkgs")
    assert re.fullmatch(r"/dev/[sv]d[a-z]5", pkgs)
    guest.fails(f"dd if=/dev/zero of={pkgs} bs=4k count=1 conv=notrunc", "Operation not permitted")
    guest.fails(f"blkdiscard {pkgs}", "Operation not permitted")


def test_lines_of_any_length_are_written_and_read_again(guest: Guest) -> None:
    node = f"/dev/{guest.node(disks.PLAIN)}"
    guest.person.output(f"dd if={node} of=/tmp/before bs=64k count=1 2>/dev/null")
    guest.person.output(f"seq 1 9999 >/tmp/lines && dd if=/tmp/lines of={node} bs=1000 conv=fsync,notrunc 2>/dev/null")
    guest.person.output(f"blockdev --flushbufs {node} && head -c $(stat -c %s /tmp/lines) {node} | cmp - /tmp/lines")
    guest.person.output(f"dd if=/tmp/before of={node} bs=64k conv=fsync,notrunc 2>/dev/null")


def test_a_disk_that_is_read_only_stays_as_it_is(guest: Guest) -> None:
    node = guest.node(disks.SEALED)
    guest.fails(f"dd if=/dev/zero of=/dev/{node} bs=4k count=1 conv=fsync", "Read-only file system")
    assert guest.person.output(f"blockdev --getro /dev/{node}") == "1"


def test_a_bad_sector_is_an_error_and_its_neighbours_are_not(guest: Guest) -> None:
    node, disk = guest.node(disks.BAD_SECTORS), disks.BAD_SECTORS
    contents = disk.contents()
    page = disks.READ_FAILS * SECTOR // 4096
    guest.fails(f"dd if=/dev/{node} of=/dev/null bs=4k skip={page} count=1")
    read = guest.person.output(f"dd if=/dev/{node} bs=4k count={page} 2>/dev/null | sha256sum").split()[0]
    assert read == hashlib.sha256(contents[: page * 4096]).hexdigest()
    errors = guest.events("block.error", node)
    assert any(f" operation=read sector={page * 8} " in error for error in errors), errors


def test_a_write_that_fails_is_told_by_fsync(guest: Guest) -> None:
    node = guest.node(disks.BAD_SECTORS)
    page = disks.WRITE_FAILS * SECTOR // 4096
    guest.fails(f"dd if=/dev/zero of=/dev/{node} bs=4k seek={page} count=1 conv=fsync,notrunc")
    assert any(" operation=write " in error for error in guest.events("block.error", node))
    file = guest.files["bad-sectors"].read_bytes()
    assert file[page * 4096 :][:4096] == disks.BAD_SECTORS.contents()[page * 4096 :][:4096]


def test_a_flush_that_fails_is_told_by_fsync(guest: Guest) -> None:
    node = guest.node(disks.NO_FLUSH)
    guest.fails(f"dd if=/dev/zero of=/dev/{node} bs=4k count=1 conv=fsync,notrunc")
    assert any(" operation=flush " in error for error in guest.events("block.error", node))


def test_a_disk_of_errors_harms_nobody(guest: Guest) -> None:
    """Its table could not be read at boot; everything else goes on."""
    node = guest.node(disks.DEAD)
    guest.fails(f"dd if=/dev/{node} of=/dev/null bs=4k count=1")
    guest.fails(f"dd if=/dev/zero of=/dev/{node} bs=4k count=1 conv=fsync")
    assert guest.events("block.error", node)
    guest.person.output("sync && dd if=/dev/disk/by-partlabel/bootctl of=/dev/null bs=64k")


@pytest.mark.parametrize("guest", [pytest.param("scsi", marks=pytest.mark.xdist_group("block-scsi"))], indirect=True)
def test_a_disk_that_is_taken_away_is_errors_from_then_on(guest: Guest) -> None:
    """While it is written; the others, of the same host too, go on."""
    node, console = guest.node(disks.REMOVED), guest.running.console
    write = f"dd if=/dev/zero of=/dev/{node} bs=64k count=16 conv=fsync,notrunc"
    guest.person.output(f"while {write}; do :; done >/tmp/log 2>&1 &")
    guest.running.monitor().execute("device_del", id="removed")
    guest.person.output("wait", seconds=BOOT_SECONDS)
    assert "Input/output error" in guest.person.output("cat /tmp/log")
    [removed] = guest.events("block.removed", node)
    assert "why=" in removed
    for _ in range(2):
        guest.fails(f"dd if=/dev/{node} of=/dev/null bs=4k count=1")
        guest.fails(f"dd if=/dev/zero of=/dev/{node} bs=4k count=1 conv=fsync,notrunc")
    guest.person.output(f"sync && dd if=/dev/{guest.node(disks.PLAIN)} of=/dev/null bs=64k count=1")
    assert not console.closed
