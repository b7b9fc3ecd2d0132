"""Every way in with 1 to 8 processors, both GICs, EL2, the rented machine's devices: boots to a login prompt, and what
each boot must have shown on its way."""

from __future__ import annotations

import pytest
from swiftbuild.machine.spec import Spec, Way

from tests.system.conftest import Boot, Boots, spec

pytestmark = pytest.mark.system
WAYS = [way.value for way in Way]
CPUS = [1, 2, 4, 8]


def grouped(machine: Spec) -> pytest.MarkDecorator:
    """Tests of one boot run in one worker."""
    return pytest.mark.xdist_group(f"{machine.profile}-{machine.way.value}-{machine.cpus}-{machine.gic}-{machine.el2}")


def check(boot: Boot, machine: Spec) -> None:
    """What holds of every boot."""
    assert boot.report.malformed == ()
    times = [event.time for event in boot.report.events]
    assert times == sorted(times), "the time of events never falls"
    assert boot.one("kernel.entry").get("way") == ("image" if machine.way is Way.DIRECT else "loader")
    assert boot.one("kernel.entry").get("el") == ("2" if machine.el2 else "1")
    tables = "acpi" if machine.way is Way.UEFI_ACPI else "fdt"
    assert boot.one("platform.source").get("tables") == tables
    assert boot.one("irq.ready").get("gic") == str(machine.gic)
    assert int(boot.one("memory.ready").get("ram")) <= machine.memory_mib << 20
    assert boot.one("base.mounted").get("source") == "ram"
    assert boot.one("entropy.ready") and not boot.all("entropy.none")
    assert int(boot.one("boot.ready").get("services")) >= 1
    check_processors(boot, machine.cpus)
    check_disk(boot, machine)


def check_disk(boot: Boot, machine: Spec) -> None:
    """The disk was found on its bus and interrupts, and is the one that was booted from: its table has been read."""
    bus = "pci" if machine.disk == "virtio-scsi" or machine.way is Way.UEFI_ACPI else "mmio"
    disk = boot.one("block.ready")
    assert disk.get("driver") == f"{machine.disk}-{bus}"
    assert disk.get("read_only") == "0" and disk.get("write_cache") == "1"
    messages = machine.gic == 3 and bus == "pci"
    assert int(disk.get("irq")) in (range(8192, 16384) if messages else range(32, 1020)), "never 'poll'"
    found = boot.one("disk.boot")
    assert found.get("name") == disk.get("name")
    assert found.get("by") == ("partitions" if machine.way is Way.DIRECT else "loader")
    assert not [event for event in boot.report.events if event.name in {"block.error", "irq.error", "gpt.error"}]


def check_processors(boot: Boot, cpus: int) -> None:
    """Each listed processor came online under a number of its own and takes its own timer's interrupts."""
    online = boot.all("cpu.online")
    assert sorted(int(e.get("cpu")) for e in online) == list(range(cpus))
    assert len({e.get("mpidr") for e in online}) == cpus
    ticking = {int(e.get("cpu")): int(e.get("ticks")) for e in boot.all("cpu.ticking")}
    assert sorted(ticking) == list(range(cpus))
    assert all(ticks > 0 for ticks in ticking.values()), ticking


@pytest.mark.boot_test
@pytest.mark.parametrize(
    "machine", [pytest.param(m, marks=grouped(m), id=f"{way}-{cpus}")
                for way in WAYS for cpus in CPUS for m in [spec("qemu", way=way, cpus=cpus)]]
)  # fmt: skip
def test_boots_to_a_login_prompt(boots: Boots, machine: Spec) -> None:
    check(boots(machine), machine)


GIC3 = spec("qemu", way="direct", cpus=4, gic=3)
GIC3_EL2 = spec("qemu", way="direct", cpus=2, gic=3, el2=True)
GIC2_EL2 = spec("qemu", way="uefi-fdt", cpus=2, el2=True)


@pytest.mark.gicv3_test
@pytest.mark.parametrize("machine", [pytest.param(m, marks=grouped(m), id=name)
                                     for name, m in [("el1", GIC3), ("el2", GIC3_EL2)]])  # fmt: skip
def test_gicv3(boots: Boots, machine: Spec) -> None:
    """Timer interrupts on every processor, which were started and woken by PSCI and software-generated interrupts."""
    boot = boots(machine)
    check(boot, machine)
    assert boot.one("platform.gic").get("version") == "3"
    assert boot.one("platform.gic").get("redistributors")


@pytest.mark.boot_test
@grouped(GIC2_EL2)
def test_a_loader_at_el2(boots: Boots) -> None:
    boot = boots(GIC2_EL2)
    check(boot, GIC2_EL2)
    assert boot.one("platform.psci").get("conduit") == "smc"


HETZNER = spec("hetzner")


@pytest.mark.hetzner_run
@grouped(HETZNER)
def test_hetzner_device_model(boots: Boots) -> None:
    """Firmware with ACPI, GICv3, disk on virtio-scsi, everything on PCI."""
    boot = boots(HETZNER)
    check(boot, HETZNER)
    assert boot.one("loader.slot").get("slot") == "a"
    assert "root" in boot.text and "login:" in boot.text  # the banner of a dev image names its users


@pytest.mark.h5_acpi_test
@grouped(HETZNER)
def test_everything_is_derived_from_acpi(boots: Boots) -> None:
    boot = boots(HETZNER)
    assert boot.one("platform.source").get("tables") == "acpi"
    assert boot.one("platform.gic").get("version") == "3"
    assert int(boot.one("platform.uart").get("base"), 16) == 0x0900_0000
    assert int(boot.one("platform.ecam").get("base"), 16) == 0x40_1000_0000
    assert boot.one("platform.psci").get("conduit") in {"hvc", "smc"}
    assert boot.one("platform.timer").get("virtual_irq") or boot.one("platform.timer").get("physical_irq")
    enabled = [e for e in boot.all("platform.cpu") if e.get("enabled") == "1"]
    assert len(enabled) == HETZNER.cpus


ACPI4 = spec("qemu", way="uefi-acpi", cpus=4)
VIRTIO = {"net": {0x1000, 0x1041}, "blk": {0x1001, 0x1042}, "rng": {0x1005, 0x1044}, "scsi": {0x1004, 0x1048}}


@pytest.mark.virtio_pci_test
@pytest.mark.parametrize(
    ("machine", "devices"),
    [pytest.param(HETZNER, ("net", "rng", "scsi"), marks=grouped(HETZNER), id="hetzner"),
     pytest.param(ACPI4, ("net", "rng", "blk"), marks=grouped(ACPI4), id="qemu")],
)  # fmt: skip
def test_pci_devices_are_listed_and_entropy_comes_over_one(
    boots: Boots, machine: Spec, devices: tuple[str, ...]
) -> None:
    boot = boots(machine)
    found = {int(e.get("device"), 16) for e in boot.all("pci.device") if int(e.get("vendor"), 16) == 0x1AF4}
    for device in devices:
        assert found & VIRTIO[device], f"no virtio {device} among {found}"
    # an I/O BAR may lie at port 0
    bars = [int(e.get("base"), 16) for e in boot.all("pci.bar") if e.get("kind") != "io"]
    assert bars and all(bars), "every memory BAR has an address"
    carried = [int(e.get("bytes")) for e in boot.all("entropy.source") if "pci" in e.get("source")]
    assert carried and min(carried) > 0, [e.line() for e in boot.all("entropy.source")]
