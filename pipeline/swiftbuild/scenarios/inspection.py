"""Checks and comparisons of images with every judge there is: our own readers, pyfatfs, fsck.fat and lief."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from swiftbuild.core import check
from swiftbuild.core.check import Finding
from swiftbuild.core.compare import Difference, compare_disks
from swiftbuild.effects import fat, lint
from swiftbuild.effects.sparse import data_extents
from swiftbuild.errors import DamageError, SwiftbuildError
from swiftbuild.limits import SECTOR
from swiftbuild.machine.media import contents, mapped
from swiftbuild.model.disk import LOADER_PATH
from swiftbuild.model.release import SectionType
from swiftbuild.model.signing import Roots
from swiftbuild.wire import gpt, release, rootkeys


def findings(path: Path) -> list[Finding]:
    """Every fault of a disk image or a slot image."""
    with mapped(path) as data:
        if bytes(data[:8]) == b"SWIFTREL":
            return check.check_slot("slot", data) + _lint("slot", data) + _signatures(own_roots(data), {"slot": data})
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
        slots = {name: parts[name] for name in check.SLOTS if name in parts}
        found += check.check_esp(parts["esp"], files, list(slots.values()))
    except SwiftbuildError:
        return found  # the slot's own fault is already found
    return found + _signatures(loader_roots(files), slots)


def loader_roots(files: Mapping[str, bytes]) -> Roots | DamageError | None:
    """The root keys of the loader that the firmware starts; None: there is no loader."""
    if LOADER_PATH not in files:
        return None
    try:
        return rootkeys.find(files[LOADER_PATH])
    except DamageError as error:
        return error


def own_roots(slot: memoryview) -> Roots | DamageError | None:
    """The root keys of the loader that a slot image carries itself; None: it cannot be read."""
    try:
        loader = release.read_slot(slot).section(SectionType.LOADER)
    except SwiftbuildError:
        return None
    try:
        return rootkeys.find(loader)
    except DamageError as error:
        return error


def _signatures(roots: Roots | DamageError | None, slots: Mapping[str, memoryview]) -> list[Finding]:
    """9: each release is signed by those who must have, as the loader will judge."""
    if roots is None:
        return []  # already found
    if isinstance(roots, DamageError):
        return [Finding(where="loader", code="root-keys", text=roots.message)]
    found = []
    for name, slot in slots.items():
        try:
            release.decode_header(slot)
        except SwiftbuildError:
            continue  # empty, or already found
        found += check.check_signatures(name, slot, roots)
    return found


def roots_of(path: Path) -> Roots | DamageError | None:
    """The root keys that a disk image's slots are held to, or those that a slot image carries."""
    with mapped(path) as data:
        if bytes(data[:8]) == b"SWIFTREL":
            return own_roots(data)
    try:
        return loader_roots(fat.read_files(path, _offset(path)))
    except DamageError as error:
        return error


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
