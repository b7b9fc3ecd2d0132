"""The independent reader of firmware tables: it agrees with the kernel's log, and any altered field shows.

The vectors are QEMU's own tables, and the `platform.*` events of a kernel that read the same (tests/vectors/platform).
"""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from swiftbuild.wire.event import parse

from tests.system.hardwaremap import acpi, devicetree
from tests.system.hardwaremap.facts import Facts, differences, from_events
from tests.system.hardwaremap.firmware import TABLES_BASE, AcpiImage

pytestmark = pytest.mark.hardware_map_test
VECTORS = Path(__file__).resolve().parents[1] / "vectors" / "platform"


def recorded(name: str) -> Facts:
    lines = (VECTORS / f"{name}.events").read_text().splitlines()
    return from_events(event for line in lines if (event := parse(line)))


def acpi_tables(name: str) -> dict[str, bytes]:
    return AcpiImage(TABLES_BASE, TABLES_BASE, (VECTORS / f"{name}.acpi").read_bytes()).tables()


def test_kernel_and_dtc_agree() -> None:
    assert differences(recorded("gic3-2.fdt"), devicetree.read((VECTORS / "gic3-2.dtb").read_bytes())) == []


def test_kernel_and_iasl_agree() -> None:
    assert differences(recorded("gic3-2.acpi"), acpi.read(acpi_tables("gic3-2"))) == []


def test_other_machines_differ() -> None:
    """Two processors are not eight, and a GICv2 is not a GICv3."""
    kernel = recorded("gic3-2.fdt")
    eight = differences(kernel, devicetree.read((VECTORS / "gic3-8.dtb").read_bytes()))
    assert len(eight) == 6
    assert all(line.startswith("platform.cpu: only the tables say") for line in eight)
    names = {line.split(":")[0] for line in differences(kernel, devicetree.read((VECTORS / "gic2-1.dtb").read_bytes()))}
    assert names == {"platform.gic", "platform.cpu"}


@pytest.mark.parametrize(
    ("path", "name", "cells", "event"),
    [
        ("/pl011@9000000", "reg", "0 0x9001000 0 0x1000", "platform.uart"),
        ("/pl011@9000000", "interrupts", "0 2 4", "platform.uart"),
        ("/pl011@9000000", "interrupts", "0 1 1", "platform.uart"),
        ("/intc@8000000", "reg", "0 0x8000000 0 0x10000 0 0x80c0000 0 0xf60000", "platform.gic"),
        ("/intc@8000000/its@8080000", "reg", "0 0x8090000 0 0x20000", "platform.gic"),
        ("/timer", "interrupts", "1 13 4 1 14 4 1 12 4 1 10 4", "platform.timer"),
        ("/cpus/cpu@1", "reg", "0x101", "platform.cpu"),
        ("/virtio_mmio@a000000", "reg", "0 0xa004000 0 0x200", "platform.virtio_mmio"),
        ("/virtio_mmio@a003e00", "interrupts", "0 0x30 1", "platform.virtio_mmio"),
        ("/pcie@10000000", "reg", "0x40 0x20000000 0 0x10000000", "platform.ecam"),
        ("/pcie@10000000", "bus-range", "0 0x7f", "platform.ecam"),
    ],
)
def test_an_altered_property_shows(tmp_path: Path, path: str, name: str, cells: str, event: str) -> None:
    altered = tmp_path / "altered.dtb"
    shutil.copy(VECTORS / "gic3-2.dtb", altered)
    values = cells.replace("0x", "").split()
    subprocess.run(["/usr/bin/fdtput", "-t", "x", str(altered), path, name, *values], check=True)
    found = differences(recorded("gic3-2.fdt"), devicetree.read(altered.read_bytes()))
    assert {line.split(":")[0] for line in found} == {event}


def test_an_altered_psci_method_shows(tmp_path: Path) -> None:
    altered = tmp_path / "altered.dtb"
    shutil.copy(VECTORS / "gic3-2.dtb", altered)
    subprocess.run(["/usr/bin/fdtput", "-t", "s", str(altered), "/psci", "method", "smc"], check=True)
    assert differences(recorded("gic3-2.fdt"), devicetree.read(altered.read_bytes())) == [
        "platform.psci: only the kernel says conduit=hvc version=1.0",
        "platform.psci: only the tables say conduit=smc version=1.0",
    ]


@pytest.mark.parametrize(
    ("table", "offset", "value", "event"),
    [
        ("SPCR", 44, struct.pack("<Q", 0x0901_0000), "platform.uart"),
        ("SPCR", 54, struct.pack("<I", 34), "platform.uart"),
        ("APIC", 0x34, struct.pack("<Q", 0x0801_0000), "platform.gic"),
        ("APIC", 0xE8, struct.pack("<Q", 0x080C_0000), "platform.gic"),
        ("APIC", 0xF0, struct.pack("<I", 0x4_0000), "platform.gic"),
        ("APIC", 0xFC, struct.pack("<Q", 0x0809_0000), "platform.gic"),
        ("APIC", 0xD8, struct.pack("<Q", 0x101), "platform.cpu"),
        ("APIC", 0xA0, struct.pack("<I", 0), "platform.cpu"),
        ("GTDT", 64, struct.pack("<I", 28), "platform.timer"),
        ("GTDT", 68, struct.pack("<I", 1), "platform.timer"),
        ("GTDT", 56, struct.pack("<I", 29), "platform.timer"),
        ("FACP", 129, struct.pack("<H", 1), "platform.psci"),
        ("FACP", 129, struct.pack("<H", 0), "platform.psci"),
        ("MCFG", 44, struct.pack("<Q", 0x3F00_0000), "platform.ecam"),
        ("MCFG", 54, b"\x01", "platform.ecam"),
        ("MCFG", 55, b"\x10", "platform.ecam"),
    ],
)
def test_an_altered_table_shows(table: str, offset: int, value: bytes, event: str) -> None:
    tables = acpi_tables("gic3-2")
    body = bytearray(tables[table])
    assert body[offset : offset + len(value)] != value
    body[offset : offset + len(value)] = value
    found = differences(recorded("gic3-2.acpi"), acpi.read({**tables, table: bytes(body)}))
    assert {line.split(":")[0] for line in found} == {event}
