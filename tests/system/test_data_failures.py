"""A disk that fails under persistent data: a clear errno, nothing lost that was synced, and the machine stays up."""

from __future__ import annotations

from pathlib import Path

import pytest
from swiftbuild.limits import MIB, PAGE, SECTOR
from swiftbuild.scenarios.session import Person

from tests.system.conftest import BOOT_SECONDS
from tests.system.datadisk import MACHINES, NODE, Disk
from tests.system.disks import error

pytestmark = [pytest.mark.system, pytest.mark.datafs_test]
on_both = pytest.mark.parametrize("profile", MACHINES)

EIO, READ_ONLY = "Input/output error", "Read-only file system"
SAVE = "dd of=/data/{} bs=65536 iflag=fullblock conv=fsync 2>/tmp/why"


def fails(person: Person, command: str, *why: str) -> None:
    """The command fails, for one of these reasons."""
    answer = person.run(f"({command}) 2>&1")
    assert answer.status != 0 and any(reason in answer.text for reason in why), answer


def is_up(person: Person) -> None:
    """Whatever does not need the disk goes on; sync returns."""
    person.output("sync; seq 1000 >/tmp/up && seq 1000 | cmp - /tmp/up && test -x /usr/bin/busybox")


def kept(disk: Disk, *, files: int = 1) -> None:
    """After a reboot with a disk that works all that was synced is there, and /data takes more."""
    disk.check()
    with disk.boot() as person:
        for number in range(1, files + 1):
            person.output(f"seq {number}00000 | cmp - /data/kept-{number}")
        person.output("echo again >/data/again && sync && rm -r /data/*")
        disk.stop(person, "poweroff", "guest-shutdown")
    disk.check()


@on_both
def test_writes_that_fail_in_the_middle(profile: str, tmp_path: Path) -> None:
    disk = Disk(profile, tmp_path)
    with disk.boot() as person:
        person.output(f"seq 100000 | {SAVE.format('kept-1')}")
        disk.errors(error("write"))
        fails(person, f"seq 200000 | {SAVE.format('lost')}; cat /tmp/why; test ! -s /tmp/why", EIO, READ_ONLY)
        assert disk.events("block.error") and disk.events("data.error")
        person.output("seq 100000 | cmp - /data/kept-1")
        is_up(person)
        # The log could not be written, so nothing is changed any more, also on a disk that works again.
        disk.errors()
        fails(person, "echo more >/data/more && sync /data/more", EIO, READ_ONLY)
        person.output("seq 100000 | cmp - /data/kept-1")
        person.console.send("reboot\n")
        assert disk.running.ended(seconds=BOOT_SECONDS) == "guest-reset"
    kept(disk)


@on_both
def test_flushes_that_fail_are_told_by_fsync(profile: str, tmp_path: Path) -> None:
    disk = Disk(profile, tmp_path)
    with disk.boot() as person:
        person.output(f"seq 100000 | {SAVE.format('kept-1')}")
        disk.errors(error("flush"))
        fails(person, "echo late >/data/late && sync /data/late", EIO)
        is_up(person)
        disk.cut()
    kept(disk)


@on_both
def test_a_disk_of_errors(profile: str, tmp_path: Path) -> None:
    """As a virtio-blk device is, of which the host has taken away the disk."""
    disk = Disk(profile, tmp_path)
    with disk.boot() as person:
        person.output(f"seq 100000 | {SAVE.format('kept-1')} && echo unread >/data/small && sync")
        person.output("seq 200000 >/data/dirty")
        disk.errors(error("read"), error("write"), error("flush"))
        fails(person, "sync /data/dirty", EIO)
        fails(person, f"blockdev --flushbufs /dev/{NODE[profile]}; cat /dev/{NODE[profile]}", EIO)
        is_up(person)
        person.console.send("poweroff\n")
        assert disk.running.ended(seconds=BOOT_SECONDS) == "guest-shutdown"
    kept(disk)


def test_a_scsi_disk_is_taken_away(tmp_path: Path) -> None:
    """While it is written; what is left are errors."""
    disk = Disk("hetzner", tmp_path)
    with disk.boot() as person:
        person.output(f"seq 100000 | {SAVE.format('kept-1')}")
        person.output("while seq 200000 >/data/busy && sync /data/busy; do :; done >/tmp/log 2>&1 &")
        disk.running.monitor().execute("device_del", id="boot-disk")
        person.output("wait", seconds=BOOT_SECONDS)
        log = person.output("cat /tmp/log")
        assert EIO in log or READ_ONLY in log, log
        person.output("grep ' block.removed ' /proc/events | grep 'name=sda '")
        fails(person, "echo more >/data/more && sync /data/more", EIO, READ_ONLY)
        is_up(person)
        person.console.send("poweroff\n")
        assert disk.running.ended(seconds=BOOT_SECONDS) == "guest-shutdown"
    kept(disk)


def sector_of(disk: Disk, lines: bytes) -> int:
    """Where on the disk bytes are that are there once."""
    data = (disk.folder / "disk.img").read_bytes()
    assert data.count(lines) == 1
    return data.index(lines) // SECTOR


@on_both
def test_bad_sectors_of_a_file(profile: str, tmp_path: Path) -> None:
    """They are the errors of that file alone."""
    disk = Disk(profile, tmp_path)
    with disk.boot() as person:
        for number in (1, 2):
            person.output(f"seq {number}00000 | {SAVE.format(f'kept-{number}')}")
        person.output(f"yes read | head -c {MIB} >/data/unreadable; echo THE SECTOR >>/data/unreadable")
        person.output(f"yes write | head -c {MIB} >/data/unwritable; echo ANOTHER ONE >>/data/unwritable")
        disk.stop(person, "poweroff", "guest-shutdown")
    disk.check()
    read, write = (sector_of(disk, line) for line in (b"read\nrTHE SECTOR\n", b"write\nwritANOTHER ONE\n"))
    with disk.boot() as person:
        disk.errors(error("read", sector=read), error("write", sector=write))
        fails(person, "cat /data/unreadable >/tmp/part", EIO)
        # What lies before it is read, in whole pages.
        before = MIB - PAGE
        assert person.output(f"yes read | head -c {before} | cmp - /tmp/part; wc -c </tmp/part") == f"{before}"
        person.output("seq 100000 | cmp - /data/kept-1")
        fails(person, f"echo written | dd of=/data/unwritable bs=1 seek={MIB - 8} conv=notrunc,fsync", EIO)
        person.output(f"seq 200000 | {SAVE.format('kept-2')}")
        assert {event["operation"] for event in disk.events("block.error")} == {"read", "write"}
        is_up(person)
        disk.cut()
    kept(disk, files=2)


@on_both
def test_no_inode_is_left(profile: str, tmp_path: Path) -> None:
    disk = Disk(profile, tmp_path)
    with disk.boot() as person:
        person.output(f"seq 100000 | {SAVE.format('kept-1')}; mkdir /data/many; sync")
        answer = person.run("i=0; while true >/data/many/$i; do i=$((i + 1)); done; echo $i", seconds=BOOT_SECONDS)
        assert "No space left on device" in answer.text
        count = int(answer.text.splitlines()[-1])
        assert person.output("ls /data/many | wc -l") == str(count)
        assert person.output("df -i /data | tail -n 1 | awk '{ print $4 }'") == "0"
        # There is room for what files hold.
        person.output("seq 1000 >/data/many/0 && sync && seq 1000 | cmp - /data/many/0 && rm /data/many/1")
        person.output("echo new >/data/many/new && rm -r /data/many && sync")
        disk.stop(person, "poweroff", "guest-shutdown")
    kept(disk)
