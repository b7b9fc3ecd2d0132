"""Persistent data: what is written to /data is found by the next boot; what was synced, also after a machine that just
ends; and the volume is whole each time."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from swiftbuild.machine.media import mapped
from swiftbuild.machine.spec import QEMU_IMG
from swiftbuild.model.disk import DiskTable
from swiftbuild.scenarios.session import Person
from swiftbuild.wire import gpt

from tests.system.conftest import BOOT_SECONDS, image_of
from tests.system.datadisk import MACHINES, NODE, Disk
from tests.system.test_session import SCRIPT_SECONDS, SCRIPTS, run_script

pytestmark = [pytest.mark.system, pytest.mark.parametrize("profile", MACHINES)]


def free_kib(person: Person) -> int:
    """What df says."""
    return int(person.output("df -k /data | tail -n 1 | awk '{ print $4 }'"))


TREE = """mkdir -p /data/tree/deep && cd /data/tree && seq 100000 >numbers && seq 100000 | tail -n 50000 >>numbers &&
ln numbers deep/again && ln -s deep/again link && chmod 640 numbers && mkfifo pipe && : >empty &&
head -c 300 /dev/zero | tr '\\0' x >small && printf y | dd of=sparse bs=1 seek=3000000 2>/dev/null"""
LOOK = """cd /data/tree && find . | sort | tr '\\n' ' '; md5sum <link; stat -c '%s %h %a' numbers; cat small | wc -c;
stat -c %s sparse; tr -d '\\0' <sparse; readlink link; ls -l pipe | cut -c 1"""


@pytest.mark.data_persist_test
def test_files_are_found_by_the_next_boot(profile: str, tmp_path: Path) -> None:
    disk = Disk(profile, tmp_path)
    with disk.boot() as person:
        mounted = disk.events("data.mounted")
        assert [(event["name"], event["read_only"]) for event in mounted] == [(NODE[profile], "0")]
        assert person.output("grep /data /proc/mounts") == f"/dev/{NODE[profile]} /data datafs rw,relatime 0 0"
        person.output(TREE.replace("\n", " "))
        seen = person.output(LOOK.replace("\n", " "))
        assert "\n888896 2 640\n300\n3000001\ny" in seen
        person.output("sync")
        disk.stop(person, "reboot", "guest-reset")
    disk.check()
    with disk.boot() as person:
        assert disk.events("data.replayed") == [], "it was left properly"
        assert person.output(LOOK.replace("\n", " ")) == seen
        # What nobody synced is written when the machine stops.
        person.output("cd /data && mv tree/deep moved && rm tree/small tree/link && echo late >late")
        disk.stop(person, "poweroff", "guest-shutdown")
    disk.check()
    with disk.boot() as person:
        assert disk.events("data.replayed") == []
        assert person.output("cd /data && cat late && find . -name var -prune -o -print | sort | tr '\\n' ' '") == (
            "late\n. ./late ./moved ./moved/again ./tree ./tree/empty ./tree/numbers ./tree/pipe ./tree/sparse ")
        free = free_kib(person)
        person.output("rm -r /data/moved /data/tree /data/late; sync")
        assert free_kib(person) >= free + 868, "the numbers alone"
        disk.stop(person, "poweroff", "guest-shutdown")
    disk.check()


@pytest.mark.datafs_test
def test_a_file_system_for_all_purposes(profile: str, tmp_path: Path) -> None:
    """The scripts that a Linux host runs alike (tests/integration/test_guest_scripts.py), on /data."""
    disk = Disk(profile, tmp_path)
    with disk.boot() as person:
        person.unpack("/tmp/scripts", SCRIPTS)
        person.output("export TMPDIR=/data")
        failures = [run_script(person, name) for name in ("files.sh", "data.sh", "root.sh")]
        assert "".join(failures) == ""
        assert person.output("ls -A /data | grep -v '^var$' || true") == "", "var is healthd's"
        disk.stop(person, "poweroff", "guest-shutdown")
    disk.check()


@pytest.mark.data_persist_test
def test_partition_and_volume_grow_with_their_disk_once(profile: str, tmp_path: Path) -> None:
    disk = Disk(profile, tmp_path)
    image = image_of(profile)
    before = table_of(image)
    sectors = (before.sectors * 512 + (1 << 30)) // 512
    assert disk.media.disk
    subprocess.run([QEMU_IMG, "resize", "-q", str(disk.media.disk), str(sectors * 512)], check=True)
    with disk.boot() as person:
        [grown] = disk.events("gpt.grown")
        [volume] = disk.events("data.grown")
        assert len(disk.events("data.mounted")) == 1
        assert int(person.output("df -k /data | tail -n 1 | awk '{ print $2 }'")) > 1_000_000
        person.output("echo kept >/data/file")
        disk.stop(person, "poweroff", "guest-shutdown")
    disk.check()
    after = table_of(tmp_path / "disk.img")
    old, new = before.named("data"), after.named("data")
    assert old
    assert new
    assert (grown["from"], grown["to"]) == (str(old.sectors), str(new.sectors))
    assert (volume["from"], volume["to"]) == (str(old.sectors // 8), str(new.sectors // 8))
    with mapped(tmp_path / "disk.img") as data:
        assert gpt.read_header(data, before.sectors - 1, after.sectors)[1] != [], "the old backup lies in the volume"
    assert new.last == sectors - 2048 - 1
    assert after.guid != before.guid
    assert str(after.guid) == grown["guid"]
    assert new.guid != old.guid
    with disk.boot() as person:
        assert disk.events("gpt.grown") == disk.events("gpt.repaired") == disk.events("data.grown") == []
        assert person.output("cat /data/file") == "kept"
        disk.stop(person, "poweroff", "guest-shutdown")


def table_of(image: Path) -> DiskTable:
    """The partition table, both copies of which are whole."""
    with mapped(image) as data:
        table = gpt.read(data)
        for sector in (1, table.sectors - 1):
            assert gpt.read_header(data, sector, len(data) // 512)[1] == []
        return table


@pytest.mark.datafs_test
def test_a_full_volume_says_so_and_goes_on(profile: str, tmp_path: Path) -> None:
    disk = Disk(profile, tmp_path)
    with disk.boot() as person:
        answer = person.run("dd if=/dev/zero of=/data/big bs=1M count=500")
        assert answer.status == 1
        assert "No space left on device" in answer.text
        assert person.output("sync; stat -c %s /data/big | grep -c '^[0-9]*$'") == "1"
        assert person.run("cp /data/big /data/more").status == 1
        person.output("rm /data/big /data/more && seq 100000 >/data/again && sync && seq 100000 | cmp - /data/again")
        disk.stop(person, "poweroff", "guest-shutdown")
    disk.check()


@pytest.mark.datafs_fsync_test
def test_what_was_synced_is_there_after_a_machine_that_just_ends(profile: str, tmp_path: Path) -> None:
    disk = Disk(profile, tmp_path)
    for boot in (1, 2, 3):
        with disk.boot() as person:
            if boot > 1:
                assert len(disk.events("data.replayed")) == 1, "the log was not empty"
                person.output(f"seq {boot - 1}00000 | cmp - /data/d/synced")
                assert person.output("cat /data/d/all-synced") == f"{boot - 1}"
            # dd's fsync, for the file alone; then sync, for what was only written.
            person.output("mkdir -p /data/d && rm -f /data/d/synced && sync")
            person.output(f"seq {boot}00000 | dd of=/data/d/synced bs=65536 iflag=fullblock conv=fsync 2>/dev/null")
            person.output(f"echo {boot} >/data/d/all-synced && sync && echo unsynced >/data/d/unsynced-{boot}")
            disk.cut()
        # The log has what is not at its place: the check says so only of damage.
        disk.check()


ROWS = "select count(*) from t; pragma integrity_check; pragma journal_mode"


def sql(person: Person, mode: str, statements: str) -> str:
    return person.output(f"sqlite3 /data/{mode}.db '{statements}'", seconds=SCRIPT_SECONDS)


@pytest.mark.datafs_sqlite_test
def test_sqlite_on_persistent_data(profile: str, tmp_path: Path) -> None:
    """Journals, locks, shared memory of the log; databases that a reboot and a cut leave whole."""
    disk = Disk(profile, tmp_path, "sqlite3")
    with disk.boot() as person:
        person.unpack("/tmp/scripts", {name: SCRIPTS[name] for name in ("lib.sh", "sqlite.sh")})
        person.output("export TMPDIR=/data")
        assert run_script(person, "sqlite.sh") == ""
        for mode in ("delete", "wal"):
            assert sql(person, mode, f"pragma journal_mode = {mode}; create table t(a)") == mode
            sql(person, mode, "insert into t select value from generate_series(1, 5000)")
        disk.stop(person, "reboot", "guest-reset")
    disk.check()
    with disk.boot() as person:
        for mode in ("delete", "wal"):
            assert sql(person, mode, ROWS) == f"5000\nok\n{mode}"
            # One transaction each; the last that was told is there after the cut.
            person.output(f"for i in $(seq 20); do sqlite3 /data/{mode}.db 'insert into t values(0)'; done",
                          seconds=SCRIPT_SECONDS)
        # And one that is being written.
        person.console.send("sqlite3 /data/delete.db 'with recursive n(x) as (values(1) union all select x + 1 from n) "
                            "insert into t select x from n'\n")
        person.console.expect("select x from n'", seconds=BOOT_SECONDS)
        person.console.pump(3)
        disk.cut()
    disk.check()
    with disk.boot() as person:
        for mode in ("delete", "wal"):
            assert sql(person, mode, ROWS) == f"5020\nok\n{mode}"
        disk.stop(person, "poweroff", "guest-shutdown")
    disk.check()
