"""What the kernel derived from the firmware's tables equals an independent reading of the tables of the same machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from swiftbuild.machine.spec import Spec, Way, spec
from swiftbuild.scenarios.boot import booting

from tests.system.hardwaremap import acpi, devicetree
from tests.system.hardwaremap.facts import Facts, differences, from_events
from tests.system.hardwaremap.firmware import dump_acpi, dump_dtb

pytestmark = [pytest.mark.hardware_map_test, pytest.mark.system]
IMAGES = Path(__file__).resolve().parents[2] / "build" / "images"
DEADLINE_SECONDS = 90.0

BOARD = replace(spec("qemu", way="direct"), gic=3)
MACHINES = {
    "board-gic2": replace(BOARD, gic=2),
    "board-gic3": BOARD,
    "board-el2": replace(BOARD, el2=True),
    "board-uefi": spec("qemu", way="uefi-fdt"),
    "board-acpi": spec("qemu", way="uefi-acpi"),
    "hetzner": spec("hetzner"),
}
# every number of processors where a boot is quick; through the firmware, which takes most of a boot, the two that differ
CASES = [(name, cpus) for name in ("board-gic2", "board-gic3") for cpus in (1, 2, 4, 8)]
CASES += [("board-el2", 2), ("board-uefi", 1), ("board-acpi", 8)]
CASES += [("hetzner", cpus) for cpus in (1, 2, 4, 8)]


def tables(machine: Spec, scratch: Path) -> Facts:
    """The independent reading."""
    if machine.way is Way.UEFI_ACPI:
        return acpi.read(dump_acpi(machine.hardware(), scratch).tables())
    return devicetree.read(dump_dtb(machine.hardware(), scratch / "machine.dtb"))


def derived(machine: Spec, image: Path, folder: Path) -> Facts:
    """What a boot on that machine says."""
    with booting(machine, image, folder=folder) as running:
        running.console.event("irq.ready", seconds=DEADLINE_SECONDS)
        assert running.console.malformed == []
        return from_events(running.console.events)


@pytest.mark.parametrize(("name", "cpus"), CASES, ids=[f"{name}-{cpus}" for name, cpus in CASES])
def test_kernel_derives_what_the_tables_say(name: str, cpus: int, tmp_path: Path) -> None:
    machine = replace(MACHINES[name], cpus=cpus)
    expected = tables(machine, tmp_path)
    assert len(expected["platform.cpu"]) == cpus
    assert differences(derived(machine, IMAGES / f"{machine.profile}.img", tmp_path), expected) == []
