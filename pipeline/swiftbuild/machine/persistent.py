"""Machines that are kept between runs: a disk of their own, taken once from an image."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from swiftbuild.errors import CommandError, UsageError
from swiftbuild.machine.media import overlay, prepare
from swiftbuild.machine.spec import FIRMWARE_VARIABLES, QEMU_IMG, Media, Spec, Way

SIZE = re.compile(r"(\d+)([KMGT])\Z")
UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def disk_size(text: str) -> int:
    """`20G` in bytes."""
    match = SIZE.match(text.upper())
    if not match:
        raise UsageError(f"disk size {text!r}", hint="a number and K, M, G or T: --disk-size 20G")
    return int(match[1]) * UNITS[match[2]]


def keep(machine: Spec, image: Path, folder: Path, *, size: int | None, fresh: bool) -> Media:
    """The machine's media in its folder, made on the first run or when `fresh`. A newer image does not change it."""
    if machine.way is Way.DIRECT:
        raise UsageError("a direct boot takes its kernel from the image, not from a kept disk",
                         hint="use --way uefi-fdt or uefi-acpi with --persist")
    if fresh and folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    disk = folder / "disk.qcow2"
    if not disk.exists():
        part = disk.with_suffix(".part")
        _qemu_img("convert", "-f", "raw", "-O", "qcow2", str(image), str(part))
        part.rename(disk)
    if size:
        _qemu_img("resize", "-q", str(disk), str(size))
    return Media(disk=disk, variables=overlay(FIRMWARE_VARIABLES, folder / "variables.qcow2"))


def once(machine: Spec, image: Path, folder: Path, *, size: int | None) -> Media:
    """Media of a machine that is forgotten at its end."""
    media = prepare(machine, image, folder)
    if size and media.disk:
        _qemu_img("resize", "-q", str(media.disk), str(size))
    return media


def _qemu_img(*arguments: str) -> None:
    done = subprocess.run([QEMU_IMG, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise CommandError("qemu-img failed", command=" ".join([QEMU_IMG, *arguments]), status=done.returncode,
                           output=done.stderr)
