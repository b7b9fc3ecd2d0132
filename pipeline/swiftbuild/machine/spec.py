"""The one place that knows QEMU's command lines: which machines there are, and the arguments of each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from swiftbuild.core.names import choice
from swiftbuild.errors import UsageError
from swiftbuild.model.profile import Board

QEMU = "/usr/bin/qemu-system-aarch64"
QEMU_IMG = "/usr/bin/qemu-img"
FIRMWARE_CODE = Path("/usr/share/AAVMF/AAVMF_CODE.fd")
FIRMWARE_VARIABLES = Path("/usr/share/AAVMF/AAVMF_VARS.fd")
CPUS_MAX = 8
"""Processors of a GICv2, and of what is tested."""


class Way(StrEnum):
    """How the kernel is reached."""

    DIRECT = "direct"
    """`-kernel` with the flat Image, device tree, slot image as initrd."""
    UEFI_FDT = "uefi-fdt"
    """Firmware and our loader; the firmware hands over a device tree."""
    UEFI_ACPI = "uefi-acpi"
    """Firmware and our loader; the firmware hands over ACPI tables."""


@dataclass(frozen=True)
class Spec:
    """A machine: what `arguments` turns into a command line."""

    profile: str
    way: Way
    cpus: int
    gic: int
    cpu: str
    memory_mib: int
    disk: str
    """`virtio-blk`, or `virtio-scsi`: then every device is on PCI, as on the rented machine."""
    el2: bool = False
    """The kernel starts at EL2."""
    rng: bool = True
    """A virtio entropy device; without it the kernel has only what the firmware gives."""
    network: bool = True
    watchdog: bool = False
    """A watchdog on PCI (i6300esb), which resets a machine that does not feed it. Rented machines have none."""
    extra: tuple[str, ...] = ()

    def machine(self) -> str:
        """The value of `-M`."""
        parts = ["virt", f"gic-version={self.gic}"]
        if self.way is not Way.UEFI_ACPI:
            parts.append("acpi=off")
        if self.el2:
            parts.append("virtualization=on")
        return ",".join(parts)

    def hardware(self) -> list[str]:
        """The options that decide what the firmware's tables say."""
        return ["-M", self.machine(), "-cpu", self.cpu, "-smp", str(self.cpus), "-m", f"{self.memory_mib}M"]


@dataclass(frozen=True)
class Media:
    """What a machine is started from. Files named here are written to, except `kernel`, `initrd`."""

    disk: Path | None = None
    variables: Path | None = None
    kernel: Path | None = None
    initrd: Path | None = None
    command_line: str = ""
    firmware: Path = field(default=FIRMWARE_CODE)
    filters: tuple[Mapping[str, object], ...] = ()
    """QEMU block filters between the disk's file and its device, innermost first: `recorder`, `failing`."""


def recorder(log: Path) -> Mapping[str, object]:
    """A filter that writes every write and flush of the guest to `log`, in the format of Linux's dm-log-writes."""
    return {
        "driver": "blklogwrites", "log": {"driver": "file", "filename": str(log)}, "log-sector-size": 512,
        "log-super-update-interval": 1,
    }  # fmt: skip


def failing(*errors: Mapping[str, object]) -> Mapping[str, object]:
    """A filter that answers with errors, each as QEMU's blkdebug takes it (`event`, `errno`, `sector`, `once`)."""
    return {"driver": "blkdebug", "inject-error": [dict(error) for error in errors]}


WAYS = tuple(way.value for way in Way)


def spec(
    profile: str, board: Board, *, way: str | None = None, cpus: int | None = None, watchdog: bool = False
) -> Spec:
    """The machine of a profile's board, with another way in or number of processors, or a watchdog."""
    if way is not None and way not in WAYS:
        raise UsageError(f"no way in is called {way!r}{choice(way, WAYS)}")
    if cpus is not None and not 1 <= cpus <= CPUS_MAX:
        raise UsageError(f"{cpus} processors", hint=f"1 to {CPUS_MAX} are supported")
    usual = Way.UEFI_FDT if board.tables == "fdt" else Way.UEFI_ACPI
    return Spec(
        profile=profile,
        way=Way(way) if way else usual,
        cpus=cpus or board.cpus,
        gic=board.gic,
        cpu=board.cpu,
        memory_mib=board.memory_mib,
        disk=board.disk,
        watchdog=watchdog,
    )


def arguments(machine: Spec, media: Media, *, console: str, resets: bool = False) -> list[str]:
    """QEMU's command line; `console` is what the serial line is connected to. A reset by the guest ends the machine,
    unless it `resets`."""
    out = [QEMU, "-nodefaults", "-no-user-config", "-display", "none", *machine.hardware()]
    out += [*([] if resets else ["-no-reboot"]), "-serial", console]
    if machine.way is Way.DIRECT:
        out += ["-kernel", str(media.kernel), "-initrd", str(media.initrd)]
        if media.command_line:
            out += ["-append", media.command_line]
    else:
        out += ["-drive", f"if=pflash,format=raw,readonly=on,file={media.firmware}"]
        out += ["-drive", f"if=pflash,format=qcow2,file={media.variables}"]
    return out + _devices(machine, media) + list(machine.extra)


def _disk_nodes(file: Path, filters: tuple[Mapping[str, object], ...]) -> list[str]:
    """The node `disk`. Under a filter the file need not reach the host's disk: it is the filter that is looked at."""
    nodes: list[dict[str, object]] = [{
        "driver": "qcow2", "file": {"driver": "file", "filename": str(file)}, "cache": {"no-flush": bool(filters)},
        "discard": "unmap",
    }]  # fmt: skip
    nodes += [{**kind, ("image" if kind["driver"] == "blkdebug" else "file"): f"disk-{index}"}
              for index, kind in enumerate(filters)]
    names = [f"disk-{index}" for index in range(len(filters))] + ["disk"]
    return [word for name, node in zip(names, nodes, strict=True)
            for word in ("-blockdev", json.dumps({"node-name": name, **node}))]


def _devices(machine: Spec, media: Media) -> list[str]:
    """On virtio-mmio where a device tree describes that, else on PCI."""
    scsi = machine.disk == "virtio-scsi"
    bus = "pci" if scsi or machine.way is Way.UEFI_ACPI else "device"
    out = ["-device", "virtio-scsi-pci,id=scsi"] if scsi else []
    if media.disk is not None:
        out += _disk_nodes(media.disk, media.filters)
        drive = "scsi-hd,bus=scsi.0" if scsi else f"virtio-blk-{bus}"
        out += ["-device", f"{drive},drive=disk,id=boot-disk,bootindex=0"]
    if machine.network:
        no_rom = ",romfile=" if bus == "pci" else ""
        out += ["-netdev", "user,id=net", "-device", f"virtio-net-{bus},netdev=net{no_rom}"]
    if machine.rng:
        out += ["-device", f"virtio-rng-{bus}"]
    if machine.watchdog:
        out += ["-device", "i6300esb", "-action", "watchdog=reset"]
    return out
