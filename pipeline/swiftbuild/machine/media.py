"""What a machine starts from: overlays over a disk image that is never written, or kernel and base taken out of it."""

from __future__ import annotations

import mmap
import os
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from swiftbuild.core.names import close
from swiftbuild.errors import CommandError, DamageError, InputError, UsageError
from swiftbuild.limits import SECTOR
from swiftbuild.machine.spec import FIRMWARE_VARIABLES, QEMU_IMG, Media, Spec, Way
from swiftbuild.model.release import SectionType
from swiftbuild.wire import elf, gpt, release
from swiftbuild.wire.view import Buffer, take

BUILT = "built images lie in build/images; swiftbuild image lists what can be built"


@contextmanager
def mapped(path: Path) -> Iterator[memoryview]:
    """An image's bytes. What is found to be damaged within has the image's name in its message."""
    data = contents(path)
    try:
        yield data
    except DamageError as error:
        if str(path) in error.message:
            raise
        raise DamageError(f"{path}: {error.message}", hint=error.hint) from error


def contents(path: Path) -> memoryview:
    """An image's bytes, read only as far as they are looked at."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        beside = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
        near = close(path.name, beside, before=str(path).removesuffix(path.name))
        raise UsageError(f"there is no file {path}{near}", hint=BUILT) from None
    if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
        raise UsageError(f"{path} is {'a folder' if stat.S_ISDIR(mode) else 'no ordinary file'}, not an image",
                         hint=BUILT)
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        if not size:
            raise DamageError(f"{path} is empty, not an image", hint="build or download it again")
        return memoryview(mmap.mmap(file.fileno(), size, prot=mmap.PROT_READ))


def prepare(machine: Spec, image: Path, folder: Path, *, slot: str = "base_a", command_line: str = "") -> Media:
    """Everything that the machine needs, in `folder`; `image` is only read."""
    if machine.way is Way.DIRECT:
        with mapped(image) as disk:
            base = bytes(_slot_image(disk, slot))
        media = direct(base, folder, what=f"{image.name}, {slot}", command_line=command_line)
        return replace(media, disk=overlay(image, folder / "disk.qcow2"))
    return Media(
        disk=overlay(image, folder / "disk.qcow2"), variables=overlay(FIRMWARE_VARIABLES, folder / "variables.qcow2")
    )


def direct(base: Buffer, folder: Path, *, what: str, command_line: str = "") -> Media:
    """Kernel and initrd of a direct boot, from a slot image."""
    image = release.read_slot(base)
    kernel = elf.read(image.section(SectionType.KERNEL), f"kernel of {what}")
    (folder / "Image").write_bytes(elf.flat_image(kernel, f"kernel of {what}"))
    (folder / "base.img").write_bytes(image.body)
    return Media(kernel=folder / "Image", initrd=folder / "base.img", command_line=command_line)


def _slot_image(disk: Buffer, slot: str) -> memoryview:
    partition = gpt.read(disk).named(slot)
    if partition is None:
        raise InputError(f"the image has no partition {slot}", hint="was it made by swiftbuild image?")
    whole = take(disk, partition.first * SECTOR, partition.sectors * SECTOR, slot)
    return memoryview(release.read_slot(whole).body)


def overlay(base: Path, out: Path, *, size: int | None = None) -> Path:
    """A copy-on-write file over `base`, or the one that is there."""
    if out.exists():
        return out
    base_format = "qcow2" if base.suffix == ".qcow2" else "raw"
    argv = [QEMU_IMG, "create", "-q", "-f", "qcow2", "-F", base_format, "-b", str(base.resolve()), str(out)]
    done = subprocess.run([*argv, *([str(size)] if size else [])], capture_output=True, text=True, check=False)
    if done.returncode:
        raise CommandError("cannot make an overlay", command=" ".join(argv), status=done.returncode, output=done.stderr)
    return out
