"""The one place that knows QEMU's command lines: which machines there are, and the arguments of each."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from swiftbuild.errors import UsageError

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
    gic: int = 2
    cpu: str = "cortex-a72"
    memory_mib: int = 1024
    el2: bool = False
    """The kernel starts at EL2."""
    counted: bool = False
    """`-icount`: guest time is counted in instructions, one a nanosecond."""
    rng: bool = True
    """A virtio entropy device; without it the kernel has only what the firmware gives."""
    network: bool = True
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


PROFILES = {
    "qemu": Spec(profile="qemu", way=Way.UEFI_FDT, cpus=1),
    "hetzner": Spec(
        profile="hetzner", way=Way.UEFI_ACPI, cpus=2, gic=3, cpu="max,pauth-impdef=on", memory_mib=4096
    ),
}  # fmt: skip


def spec(profile: str, *, way: str | None = None, cpus: int | None = None) -> Spec:
    """A profile's machine, with another way in or number of processors."""
    if profile not in PROFILES:
        raise UsageError(f"no machine is known for profile {profile!r}", hint=f"known: {', '.join(PROFILES)}")
    base = PROFILES[profile]
    if way is not None:
        ways = [w.value for w in Way]
        if way not in ways:
            raise UsageError(f"no way in is called {way!r}", hint=f"known: {', '.join(ways)}")
        base = replace(base, way=Way(way))
    if cpus is not None:
        if not 1 <= cpus <= CPUS_MAX:
            raise UsageError(f"{cpus} processors", hint=f"1 to {CPUS_MAX} are supported")
        base = replace(base, cpus=cpus)
    return base


def arguments(machine: Spec, media: Media, *, console: str) -> list[str]:
    """QEMU's command line; `console` is what the serial line is connected to."""
    out = [QEMU, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", *machine.hardware()]
    out += ["-serial", console]
    if machine.counted:
        out += ["-icount", "shift=0,sleep=off", "-rtc", "clock=vm"]
    if machine.way is Way.DIRECT:
        out += ["-kernel", str(media.kernel), "-initrd", str(media.initrd)]
        if media.command_line:
            out += ["-append", media.command_line]
    else:
        out += ["-drive", f"if=pflash,format=raw,readonly=on,file={media.firmware}"]
        out += ["-drive", f"if=pflash,format=qcow2,file={media.variables}"]
    return out + _devices(machine, media) + list(machine.extra)


def _devices(machine: Spec, media: Media) -> list[str]:
    """Hetzner's devices on PCI; the board's on virtio-mmio where a device tree describes that, else on PCI."""
    bus = "device" if machine.way is not Way.UEFI_ACPI else "pci"
    out = []
    if machine.profile == "hetzner":
        bus = "pci"
        out += ["-device", "virtio-scsi-pci,id=scsi"]
    if media.disk is not None:
        out += ["-drive", f"if=none,id=disk,format=qcow2,file={media.disk}"]
        drive = "scsi-hd,bus=scsi.0" if machine.profile == "hetzner" else f"virtio-blk-{bus}"
        out += ["-device", f"{drive},drive=disk,bootindex=0"]
    if machine.network:
        no_rom = ",romfile=" if bus == "pci" else ""
        out += ["-netdev", "user,id=net", "-device", f"virtio-net-{bus},netdev=net{no_rom}"]
    if machine.rng:
        out += ["-device", f"virtio-rng-{bus}"]
    return out
