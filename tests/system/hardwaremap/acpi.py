"""Facts from ACPI tables, by way of what iasl prints about them (ACPI Specification 6.5, chapter 5.2)."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.system.hardwaremap.facts import Fact, Facts, collect, fact

IASL = "/usr/bin/iasl"
# [02Ch 0044   1]   Subtable Type : 0C [Generic Interrupt Distributor]; decoded flags have no place before them
LINE = re.compile(r"(?:\[[0-9A-F]+h [0-9]+ +[0-9]+\])?\s*(\S.*?) : (.*)$")
Fields = list[tuple[str, str]]


def disassemble(signature: str, table: bytes) -> Fields:
    """Every field that iasl names, in order."""
    with tempfile.TemporaryDirectory(prefix="swiftbuild-acpi-") as folder:
        path = Path(folder) / f"{signature.lower()}.dat"
        path.write_bytes(table)
        subprocess.run([IASL, "-d", path.name], cwd=folder, capture_output=True, timeout=60, check=True)
        text = path.with_suffix(".dsl").read_text()
    body = text.split("Raw Table Data")[0]
    return [(match[1], match[2].strip()) for line in body.splitlines() if (match := LINE.match(line.strip()))]


def _one(fields: Fields, name: str) -> int:
    """The hexadecimal value of the first field of that name."""
    return int(next(value for key, value in fields if key == name).split()[0], 16)


def _after(fields: Fields, marker: str) -> Fields:
    return fields[next(at for at, (key, _) in enumerate(fields) if key == marker) :]


def _sections(fields: Fields, marker: str) -> list[Fields]:
    """The fields from each `marker` to the next."""
    starts = [at for at, (key, _) in enumerate(fields) if key == marker]
    return [fields[start:end] for start, end in zip(starts, [*starts[1:], None], strict=True)]


def read(tables: Mapping[str, bytes]) -> Facts:
    """Every fact that the events tell too. What only AML describes is in neither."""
    text = {name: disassemble(name, tables[name]) for name in ("APIC", "GTDT", "FACP", "SPCR", "MCFG", "IORT")}
    madt = _sections(text["APIC"], "Subtable Type")
    return collect({
        "platform.uart": _uart(text["SPCR"]),
        "platform.gic": [_gic(madt)],
        "platform.timer": [_timer(text["GTDT"])],
        "platform.psci": _psci(text["FACP"]),
        "platform.cpu": [
            fact(mpidr=_one(entry, "ARM MPIDR"), enabled=_one(entry, "Processor Enabled")) for entry in _of(madt, 0x0B)
        ],
        "platform.ecam": _ecams(text["MCFG"]),
        "platform.msi_map": _msi_maps(text["IORT"]),
    })  # fmt: skip


def _of(madt: list[Fields], kind: int) -> list[Fields]:
    return [entry for entry in madt if _one(entry, "Subtable Type") == kind]


def _uart(spcr: Fields) -> list[Fact]:
    kinds = {0x03: "pl011", 0x0D: "sbsa", 0x0E: "sbsa"}
    # SPCR does not say how the line triggers; a PL011's is level-sensitive (Arm DDI 0183, 2.8)
    return [fact(kind=kinds[_one(spcr, "Interface Type")], base=_one(spcr, "Address"), irq=_one(spcr, "Interrupt"),
                 trigger="level")]  # fmt: skip


def _gic(madt: list[Fields]) -> Fact:
    distributor = _of(madt, 0x0C)[0]
    version, base = _one(distributor, "Version"), _one(distributor, "Base Address")
    if version >= 3:
        regions = [_after(entry, "Base Address") for entry in _of(madt, 0x0E)]
        spans = tuple(f"{_one(region, 'Base Address'):#x}+{_one(region, 'Length'):#x}" for region in regions)
        places = tuple(f"{_one(e, 'Base Address'):#x}" for e in _of(madt, 0x0F))
        return fact(version=3, distributor=base, redistributors=spans, its=places)
    frames = tuple(f"{_one(e, 'Base Address'):#x}" for e in _of(madt, 0x0D))
    interface = {_one(entry, "Base Address") for entry in _of(madt, 0x0B)}
    return fact(version=2, distributor=base, cpu_interface=interface.pop(), v2m=frames)


def _timer(gtdt: Fields) -> Fact:
    found: dict[str, int | str] = {}
    for name, marker in (("virtual", "Virtual Timer Interrupt"), ("physical", "Non-Secure EL1 Interrupt")):
        fields = _after(gtdt, marker)
        found[f"{name}_irq"] = _one(fields, marker)
        found[f"{name}_trigger"] = "edge" if _one(fields, "Trigger Mode") else "level"
    return fact(**found)


def _psci(fadt: Fields) -> list[Fact]:
    if not _one(fadt, "PSCI Compliant"):
        return []
    return [fact(conduit="hvc" if _one(fadt, "Must use HVC for PSCI") else "smc")]


def _ecams(mcfg: Fields) -> list[Fact]:
    found = []
    for entry in _sections(mcfg, "Base Address"):
        first = _one(entry, "Start Bus Number")
        found.append(fact(base=_one(entry, "Base Address") + (first << 20), segment=_one(entry, "Segment Group Number"),
                          bus_start=first, bus_end=_one(entry, "End Bus Number")))  # fmt: skip
    return found


def _msi_maps(iort: Fields) -> list[Fact]:
    """The maps of root complexes (nodes of type 2) that lead to an ITS group (type 0) without an SMMU between."""
    nodes = _sections(_after(iort, "Type"), "Type")
    offset, kinds = _one(iort, "Node Offset"), {}
    for node in nodes:
        kinds[offset] = _one(node, "Type")
        offset += _one(node, "Length")
    found = []
    for node in (node for node in nodes if _one(node, "Type") == 2):
        for mapping in _sections(_after(node, "Input base"), "Input base") if _one(node, "Mapping Count") else []:
            assert kinds[_one(mapping, "Output Reference")] == 0
            first = _one(mapping, "Input base")
            found.append(fact(segment=_one(node, "PCI Segment Number"), first=first,
                              last=first + _one(mapping, "ID Count"), output=_one(mapping, "Output Base")))  # fmt: skip
    return found
