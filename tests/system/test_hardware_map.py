"""What the kernel derived from the firmware's tables equals an independent reading of the tables of the same machine.

That an altered field shows is tests/unit/test_hardware_map.py's business: it needs no boot.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from swiftbuild.machine.spec import Spec, Way

from tests.system.conftest import Boots, spec
from tests.system.hardwaremap import acpi, devicetree
from tests.system.hardwaremap.facts import Facts, differences, from_events
from tests.system.hardwaremap.firmware import dump_acpi, dump_dtb
from tests.system.test_boot import CPUS, GIC2_EL2, GIC3, GIC3_EL2, WAYS, grouped

pytestmark = [pytest.mark.hardware_map_test, pytest.mark.system]

# the boots of test_boot.py, and the rented machine with every number of processors
MACHINES = [spec("qemu", way=way, cpus=cpus) for way in WAYS for cpus in CPUS]
MACHINES += [GIC3, GIC3_EL2, GIC2_EL2]
MACHINES += [spec("hetzner", cpus=cpus) for cpus in CPUS]


def name(machine: Spec) -> str:
    el = "-el2" if machine.el2 else ""
    return f"{machine.profile}-{machine.way.value}-gic{machine.gic}{el}-{machine.cpus}"


def tables(machine: Spec, scratch: Path) -> Facts:
    """The independent reading."""
    if machine.way is Way.UEFI_ACPI:
        return acpi.read(dump_acpi(machine.hardware(), scratch).tables())
    return devicetree.read(dump_dtb(machine.hardware(), scratch / "machine.dtb"))


@pytest.mark.parametrize("machine", [pytest.param(m, marks=grouped(m), id=name(m)) for m in MACHINES])
def test_kernel_derives_what_the_tables_say(machine: Spec, boots: Boots, tmp_path: Path) -> None:
    expected = tables(machine, tmp_path)
    assert len(expected["platform.cpu"]) == machine.cpus
    assert differences(from_events(boots(machine).report.events), expected) == []
