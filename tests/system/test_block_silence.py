"""A disk that does not answer. A file of its own: a machine of test_block.py would keep a slot that this waits for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system import disks
from tests.system.blockguests import BUSES, Guest, started

pytestmark = [pytest.mark.system, pytest.mark.block_test]


@pytest.mark.parametrize(
    "name", [pytest.param(b, marks=pytest.mark.xdist_group(f"silent-{b}")) for b in ("mmio", "pci", "scsi")]
)
def test_a_disk_that_says_nothing_is_given_up(tmp_path: Path, name: str) -> None:
    """Its second request would take minutes. The machine boots, the disk is errors, its device has been reset."""
    bus = BUSES[name]
    file = disks.SILENT.make(tmp_path)
    options = ["-object", "throttle-group,id=silent,x-bps-total=1", *bus.first]
    options += disks.SILENT.arguments(file, bus.device)
    with started(bus, options, tmp_path, "swift.block.deadline=5") as (running, person):
        guest = Guest(bus, running, person, {"silent": file})
        node = guest.node(disks.SILENT)
        [error] = guest.events("block.error", "scsi1" if bus.first else node)
        assert 'why="no answer for 5 s"' in error and " reset=done" in error
        guest.fails(f"dd if=/dev/{node} of=/dev/null bs=4k count=1")
        guest.fails(f"dd if=/dev/zero of=/dev/{node} bs=4k count=1 conv=fsync")
        person.output("sync && dd if=/dev/disk/by-partlabel/bootctl of=/dev/null bs=64k")
