"""Facts from a DTB, by way of what dtc prints about it. Bindings: Documentation/devicetree/bindings of Linux."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.system.hardwaremap.facts import Fact, Facts, collect, fact

DTC = "/usr/bin/dtc"
NODE = re.compile(r"([^\s{}=;]+) \{$")
PROPERTY = re.compile(r"([^\s={};]+)(?: = (.*))?;$")
EDGE_FLAGS = 1 | 2
SPACES = {1: "io", 2: "mem32", 3: "mem64"}


@dataclass
class Node:
    """A node of the tree: the text of each property's value, and the children."""

    name: str
    properties: dict[str, str] = field(default_factory=dict)
    children: list[Node] = field(default_factory=list)

    def cells(self, name: str) -> list[int]:
        parts = re.findall(r"<([^>]*)>", self.properties.get(name, ""))
        return [int(cell, 16) for part in parts for cell in part.split()]

    def strings(self, name: str) -> list[str]:
        quoted: list[str] = re.findall(r'"([^"]*)"', self.properties.get(name, ""))
        return [part for text in quoted for part in text.split(r"\0")]

    def is_a(self, *compatible: str) -> bool:
        return any(name in self.strings("compatible") for name in compatible)

    def regions(self, parent: Node) -> list[tuple[int, int]]:
        """`reg` as (base, size), by the parent's cells."""
        cells, address = self.cells("reg"), parent.cells("#address-cells")[0]
        step = address + parent.cells("#size-cells")[0]
        return [(_number(cells[at : at + address]), _number(cells[at + address : at + step]))
                for at in range(0, len(cells), step)]  # fmt: skip

    def interrupt(self, index: int) -> tuple[int, str]:
        """Number at the GIC, and how it triggers: cells are class (0 SPI, 1 PPI), number, flags."""
        kind, number, flags = self.cells("interrupts")[3 * index : 3 * index + 3]
        return number + (16 if kind else 32), "edge" if flags & EDGE_FLAGS else "level"


def _number(cells: list[int]) -> int:
    return sum(cell << 32 * at for at, cell in enumerate(reversed(cells)))


def tree(dtb: bytes) -> Node:
    """The root node, read from dtc's text."""
    done = subprocess.run([DTC, "-q", "-I", "dtb", "-O", "dts"], input=dtb, capture_output=True, timeout=60, check=True)
    above: list[Node] = []
    for raw in done.stdout.decode().splitlines():
        line = raw.strip()
        if match := NODE.match(line):
            node = Node(match[1])
            if above:
                above[-1].children.append(node)
            above.append(node)
        elif line == "};":
            closed = above.pop()
            if not above:
                return closed
        elif above and (match := PROPERTY.match(line)):
            above[-1].properties[match[1]] = match[2] or ""
    raise ValueError("dtc's text has no end of the root node")


def read(dtb: bytes) -> Facts:
    """Every fact that the events tell too."""
    root = tree(dtb)
    found: dict[str, list[Fact]] = {}
    for name, one in _facts(root):
        found.setdefault(name, []).append(one)
    return collect(found)


def _facts(root: Node) -> Iterator[tuple[str, Fact]]:
    chosen = next(node for node in root.children if node.name == "chosen")
    console = chosen.strings("stdout-path")[0].split(":")[0].lstrip("/")
    for node in root.children:
        if node.strings("status") not in ([], ["okay"], ["ok"]):
            continue
        if node.name == console:
            irq, trigger = node.interrupt(0)
            kind = "pl011" if node.is_a("arm,pl011") else "sbsa"
            yield "platform.uart", fact(kind=kind, base=node.regions(root)[0][0], irq=irq, trigger=trigger)
        elif node.is_a("arm,gic-v3", "arm,cortex-a15-gic"):
            yield "platform.gic", _gic(node, root)
        elif node.is_a("arm,armv8-timer"):
            (physical, physical_trigger), (virtual, virtual_trigger) = node.interrupt(1), node.interrupt(2)
            yield "platform.timer", fact(virtual_irq=virtual, virtual_trigger=virtual_trigger,
                                         physical_irq=physical, physical_trigger=physical_trigger)  # fmt: skip
        elif node.is_a("arm,psci-0.2"):
            version = "1.0" if node.is_a("arm,psci-1.0") else "0.2"
            yield "platform.psci", fact(conduit=node.strings("method")[0], version=version)
        elif node.name == "cpus":
            for cpu in (child for child in node.children if child.strings("device_type") == ["cpu"]):
                enabled = int(cpu.strings("status") in ([], ["okay"], ["ok"]))
                yield "platform.cpu", fact(mpidr=_number(cpu.cells("reg")), enabled=enabled)
        elif node.is_a("virtio,mmio"):
            (base, size), (irq, trigger) = node.regions(root)[0], node.interrupt(0)
            yield "platform.virtio_mmio", fact(base=base, size=size, irq=irq, trigger=trigger)
        elif node.is_a("pci-host-ecam-generic"):
            yield from _pci(node, root)


def _gic(node: Node, root: Node) -> Fact:
    regions = node.regions(root)
    frames = [child.regions(node)[0][0] for child in node.children if child.is_a("arm,gic-v3-its", "arm,gic-v2m-frame")]
    places = tuple(f"{base:#x}" for base in frames)
    if node.is_a("arm,gic-v3"):
        spans = tuple(f"{base:#x}+{size:#x}" for base, size in regions[1 : 1 + node.cells("#redistributor-regions")[0]])
        return fact(version=3, distributor=regions[0][0], redistributors=spans, its=places)
    return fact(version=2, distributor=regions[0][0], cpu_interface=regions[1][0], v2m=places)


def _pci(node: Node, root: Node) -> Iterator[tuple[str, Fact]]:
    first, last = node.cells("bus-range")
    segment = node.cells("linux,pci-domain")[0]
    yield "platform.ecam", fact(base=node.regions(root)[0][0], segment=segment, bus_start=first, bus_end=last)
    ranges = node.cells("ranges")
    for at in range(0, len(ranges), 7):
        flags, *cells = ranges[at : at + 7]
        yield "platform.pci_window", fact(
            segment=segment, space=SPACES[flags >> 24 & 3],
            pci=_number(cells[:2]), cpu=_number(cells[2:4]), size=_number(cells[4:]),
        )  # fmt: skip
    maps = node.cells("msi-map")
    for at in range(0, len(maps), 4):
        first, _controller, output, count = maps[at : at + 4]
        yield "platform.msi_map", fact(segment=segment, first=first, last=first + count - 1, output=output)
    yield from _lines(node, root, segment)


def _lines(node: Node, root: Node, segment: int) -> Iterator[tuple[str, Fact]]:
    """An entry: address of the function (3), pin, controller, its unit address, class, number, flags."""
    cells, irqs = node.cells("interrupt-map"), []
    while cells:
        controller = next(child for child in root.children if child.cells("phandle") == [cells[4]])
        at = 5 + controller.cells("#address-cells")[0]
        irqs.append(str(cells[at + 1] + 32))
        cells = cells[at + 3 :]
    if irqs:
        yield "platform.pci_lines", fact(segment=segment, irqs=tuple(irqs))
