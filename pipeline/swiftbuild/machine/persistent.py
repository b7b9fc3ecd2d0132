"""Machines that are kept between runs: a disk of their own, taken once from an image."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from swiftbuild.digest import sha256_file
from swiftbuild.effects.files import write_atomic
from swiftbuild.effects.lock import HeldError, alone
from swiftbuild.errors import BootError, CommandError, SpaceError, UsageError
from swiftbuild.machine.media import prepare
from swiftbuild.machine.spec import FIRMWARE_VARIABLES, QEMU_IMG, Media, Spec, Way
from swiftbuild.model.binary import Record

SIZE = re.compile(r"(\d+)([KMGT])\Z")
UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}

DISK, VARIABLES, ORIGIN, LOCK = "disk.qcow2", "variables.qcow2", "machine.json", "lock"
PART = ".part"


class Origin(Record):
    """What a machine was made from."""

    profile: str
    sha256: str


@dataclass(frozen=True)
class Kept:
    """A machine that is kept."""

    media: Media
    of_this_image: bool
    """It was made from the image that was named, as that is now."""


def disk_size(text: str) -> int:
    """`20G` in bytes."""
    match = SIZE.match(text.upper())
    if not match:
        raise UsageError(f"disk size {text!r}", hint="a number and K, M, G or T: --disk-size 20G")
    return int(match[1]) * UNITS[match[2]]


@contextmanager
def kept(machine: Spec, image: Path, folder: Path, *, size: int | None, fresh: bool) -> Iterator[Kept]:
    """The machine in its folder, made on the first run or when `fresh`, and nobody else's meanwhile.

    Nothing of it lies over another file: a newer image or firmware does not change it.
    """
    if machine.way is Way.DIRECT:
        raise UsageError("a direct boot takes its kernel from the image, not from a kept disk",
                         hint="use --way uefi-fdt or uefi-acpi with --persist")
    with owned(folder):
        disk, variables = folder / DISK, folder / VARIABLES
        if fresh:
            remove(folder)
        origin = Origin(profile=machine.profile, sha256=sha256_file(image))
        if not disk.exists():
            write_atomic(folder / ORIGIN, origin.model_dump_json().encode())
            _copy(image, disk)
        known = _origin(folder) or origin
        if known.profile != origin.profile:
            raise UsageError(f"machine {folder.name} was made for profile {known.profile}, not {origin.profile}",
                             hint=f"--profile {known.profile}, or another name behind --persist")
        if not variables.exists():
            _copy(FIRMWARE_VARIABLES, variables)
        if size:
            _grow(disk, size)
        yield Kept(Media(disk=disk, variables=variables), known == origin)


@contextmanager
def owned(folder: Path) -> Iterator[None]:
    """The machine is nobody else's for as long: two must not write one disk."""
    try:
        with alone(folder / LOCK):
            yield
    except HeldError as error:
        raise BootError(f"machine {folder.name} is running already (process {error.pid or 'unknown'})",
                        hint="end that one, or name another machine") from None


def remove(folder: Path) -> None:
    """Everything that a kept machine is, but its lock."""
    for name in (DISK, VARIABLES, ORIGIN):
        (folder / name).unlink(missing_ok=True)
        (folder / name).with_suffix(PART).unlink(missing_ok=True)


def _origin(folder: Path) -> Origin | None:
    """What the machine was made from; None when an older version made it, or the record was cut short."""
    try:
        return Origin.model_validate_json((folder / ORIGIN).read_bytes())
    except (OSError, ValueError):
        return None


def _copy(raw: Path, out: Path) -> None:
    """The file has its name when it is whole."""
    part = out.with_suffix(PART)
    _qemu_img("convert", "-f", "raw", "-O", "qcow2", str(raw), str(part))
    part.rename(out)


def once(machine: Spec, image: Path, folder: Path, *, size: int | None) -> Media:
    """Media of a machine that is forgotten at its end."""
    media = prepare(machine, image, folder)
    if size and media.disk:
        _grow(media.disk, size)
    return media


def _grow(disk: Path, size: int) -> None:
    there = int(json.loads(_qemu_img("info", "--output=json", str(disk)))["virtual-size"])
    if size < there:
        raise SpaceError(f"--disk-size: the image does not fit a disk of {size} bytes, it has {there}",
                         hint="name a larger size; a disk only grows")
    _qemu_img("resize", "-q", str(disk), str(size))


def _qemu_img(*arguments: str) -> str:
    done = subprocess.run([QEMU_IMG, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise CommandError("qemu-img failed", command=" ".join([QEMU_IMG, *arguments]), status=done.returncode,
                           output=done.stderr)
    return done.stdout
