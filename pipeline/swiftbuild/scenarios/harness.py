"""What runs the scenarios, in digests: another harness may see other things, so its results are not kept as ours."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import swiftbuild
from swiftbuild.digest import sha256, sha256_file
from swiftbuild.effects.process import Runner
from swiftbuild.errors import CommandError
from swiftbuild.machine.spec import FIRMWARE_CODE, QEMU
from swiftbuild.model.proof import Harness
from swiftbuild.scenarios.catalogue import Scenario

PACKAGE = Path(swiftbuild.__file__).parent
PARTS = ("scenarios", "machine", "wire", "core", "model")
"""Folders of this package that a scenario's result depends on."""


def harness(root: Path, entries: Iterable[Scenario], runner: Runner) -> Harness:
    """Of this machine and this tree."""
    qemu, firmware = sha256_file(Path(QEMU)), sha256_file(FIRMWARE_CODE)
    code = hashlib.sha256(f"{qemu} {firmware}".encode())
    for part in PARTS:
        for path in sorted((PACKAGE / part).rglob("*.py")):
            code.update(f"{path.relative_to(PACKAGE)} {sha256_file(path)}\n".encode())
    return Harness(commit=_commit(root, runner), digest=code.hexdigest(), scenario_set=scenario_set(entries),
                   qemu=runner.run([QEMU, "--version"]).split("\n", 1)[0], qemu_sha256=qemu, firmware_sha256=firmware)


def scenario_set(entries: Iterable[Scenario]) -> str:
    """What is asked of a release, by name and in words: two sets with one digest ask the same."""
    return sha256("".join(f"{entry.name}\t{entry.summary}\t{entry.cpus}\n" for entry in entries).encode())


def _commit(root: Path, runner: Runner) -> str:
    try:
        return runner.run(["/usr/bin/git", "-C", str(root), "describe", "--always", "--abbrev=40", "--dirty",
                           "--match="]).strip()
    except CommandError:
        return ""  # a tree without its history
