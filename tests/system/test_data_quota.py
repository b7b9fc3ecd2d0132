"""A quota that is full: who has it is refused, nobody else, and the next boot knows it still."""

from __future__ import annotations

from pathlib import Path

import pytest
from swiftbuild.limits import MIB

from tests.system.conftest import password
from tests.system.datadisk import MACHINES, Disk

pytestmark = [pytest.mark.system, pytest.mark.datafs_test]
LIMIT, FILES = 4 * MIB, 8
REFUSED = "Disk quota exceeded"


@pytest.mark.parametrize("profile", MACHINES)
def test_a_quota_that_is_full(profile: str, tmp_path: Path) -> None:
    disk = Disk(profile, tmp_path)
    with disk.boot() as person:
        person.output("mkdir -p /data/cell/below && echo before >/data/cell/below/file && ln -s below /data/cell/link")
        assert "counts for no quota" in person.run("quota -b 1M /data/cell 2>&1").text
        person.output(f"quota -s 7 -b 4M -n {FILES} /data/cell")
        answer = person.run("dd if=/dev/zero of=/data/cell/big bs=1M count=8 2>&1")
        assert answer.status == 1
        assert REFUSED in answer.text
        # Room: three directories' blocks of names and a file are not the big file's.
        assert LIMIT - 16 * 4096 <= int(person.output("stat -c %s /data/cell/big")) < LIMIT
        assert REFUSED in person.run("dd if=/dev/zero of=/data/cell/below/file bs=4k seek=1 count=1 2>&1").text
        many = person.run("for n in 1 2 3 4 5 6; do touch /data/cell/$n || break; done 2>&1; ls /data/cell")
        assert REFUSED in many.text
        assert sorted(many.text.split()[-6:]) == ["1", "2", "3", "below", "big", "link"]
        # Nobody else is refused.
        person.output("dd if=/dev/zero of=/data/other bs=1M count=8 2>/dev/null && sync")
        full = person.output("quota /data/cell | tail -n 1").split()
        assert full == ["7", "4M", "4M", str(FILES), str(FILES), "/data/cell"]
        assert person.output("quota /data | tail -n 1").split() == ["-"] * 5 + ["/data"]
        assert "has no quotas" in person.run("quota /proc 2>&1").text
        disk.stop(person, "poweroff", "guest-shutdown")
    disk.check()
    with disk.boot() as person:
        assert person.output("quota /data/cell | tail -n 1").split() == full
        # A file from elsewhere is copied into the tree, or not.
        assert REFUSED in person.run("mv /data/other /data/cell 2>&1").text
        assert person.output("stat -c %s /data/other") == str(8 * MIB)
        person.output("rm /data/cell/big && dd if=/dev/zero of=/data/cell/big bs=1M count=3 conv=fsync 2>/dev/null")
        person.output("quota -b 0 -n 0 /data/cell && cp /data/other /data/cell/more && sync")
        person.output("quota -s 0 /data/cell && test $(quota /data/cell | tail -n 1 | cut -c 10) = -")
        disk.cut()
    disk.check()


@pytest.mark.parametrize("profile", ["qemu"])
def test_only_root_sets_and_sees_quotas(profile: str, tmp_path: Path) -> None:
    disk = Disk(profile, tmp_path)
    with disk.boot() as person:
        person.output("mkdir /data/cell && chown guest /data/cell && quota -s 7 -b 4M /data/cell")
        person.console.send("exit\n")
        person.log_in("guest", password(profile, "guest"))
        for words in ("/data/cell", "-s 0 /data/cell", "-b 0 /data/cell"):
            answer = person.run(f"quota {words} 2>&1")
            assert (answer.status, "only root" in answer.text) == (1, True), words
        person.output("echo own >/data/cell/file")
        disk.cut()
