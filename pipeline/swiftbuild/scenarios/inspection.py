"""Checks and comparisons of images with every judge there is: our own readers, pyfatfs, fsck.fat and lief."""

from __future__ import annotations

from pathlib import Path

from swiftbuild.core import check
from swiftbuild.core.check import Finding
from swiftbuild.core.compare import Difference, compare_disks
from swiftbuild.effects import fat, lint
from swiftbuild.effects.sparse import data_extents
from swiftbuild.errors import DamageError, SwiftbuildError
from swiftbuild.limits import SECTOR
from swiftbuild.machine.media import contents, mapped
from swiftbuild.model.release import SectionType
from swiftbuild.wire import gpt, release


def findings(path: Path) -> list[Finding]:
    """Every fault of a disk image or a slot image."""
    with mapped(path) as data:
        if bytes(data[:8]) == b"SWIFTREL":
            return check.check_slot("slot", data) + _lint("slot", data)
        found = check.check_disk(data)
        try:
            parts = check.partitions(data, gpt.read(data))
        except DamageError:
            return found  # without a table nothing more can be found
        for name in check.SLOTS:
            if name in parts and not check.is_empty(parts[name]):
                found += _lint(name, parts[name])
        if "esp" in parts:
            found += _esp(path, parts)
        return found


def _lint(where: str, slot: memoryview) -> list[Finding]:
    try:
        image = release.read_slot(slot)
    except SwiftbuildError:
        return []  # already found
    kernel, loader = (bytes(image.section(kind)) for kind in (SectionType.KERNEL, SectionType.LOADER))
    return [
        *(Finding(where=where, code="kernel-lint", text=f"kernel: {fault}") for fault in lint.kernel_faults(kernel)),
        *(Finding(where=where, code="loader-lint", text=f"loader: {fault}") for fault in lint.loader_faults(loader)),
    ]


def _esp(path: Path, parts: dict[str, memoryview]) -> list[Finding]:
    found = []
    if said := fat.fsck(parts["esp"]):
        found.append(Finding(where="esp", code="fsck", text=said))
    try:
        files = fat.read_files(path, _offset(path))
    except DamageError as error:
        return [*found, Finding(where="esp", code="fat", text=error.message)]
    try:
        return found + check.check_esp(files, parts.get("base_a", memoryview(bytes(release.HEADER_SIZE))))
    except SwiftbuildError:
        return found  # the slot's own fault is already found


def differences(one: Path, two: Path) -> list[Difference]:
    """What differs between two disk images."""
    files = fat.read_files(one, _offset(one)), fat.read_files(two, _offset(two))
    return compare_disks(contents(one), contents(two), files, [*data_extents(one), *data_extents(two)])


def _offset(path: Path) -> int:
    with mapped(path) as data:
        esp = gpt.read(data).named("esp")
        if esp is None:
            raise DamageError(f"{path} has no partition esp", hint="was it made by swiftbuild image?")
        return esp.first * SECTOR
