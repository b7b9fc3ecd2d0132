"""What runs the scenarios, in digests: another harness may see other things, so its results are not kept as ours."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import swiftbuild
from swiftbuild.digest import sha256_file
from swiftbuild.effects.process import Runner
from swiftbuild.errors import CommandError
from swiftbuild.machine.spec import FIRMWARE_CODE, FIRMWARE_VARIABLES, QEMU, Spec
from swiftbuild.model.proof import Harness
from swiftbuild.scenarios.variants import FSCK
from swiftbuild.stages.root import MKFS

PACKAGE = Path(swiftbuild.__file__).parent
TOOLS = (QEMU, str(FIRMWARE_CODE), str(FIRMWARE_VARIABLES), MKFS, FSCK)


def harness(runner: Runner) -> Harness:
    """Of this machine and this package."""
    tools = {path: sha256_file(Path(path)) for path in TOOLS}
    digest = _digest(PACKAGE.rglob("*.py"), *tools.values())
    return Harness(commit=_commit(runner), digest=digest, scenario_set=scenario_set(),
                   qemu=runner.run([QEMU, "--version"]).split("\n", 1)[0], qemu_sha256=tools[QEMU],
                   firmware_sha256=tools[str(FIRMWARE_CODE)])


def scenario_set() -> str:
    """What is asked of a release: two sets with one digest ask the same, for it covers what the scenarios do."""
    return _digest((PACKAGE / "scenarios").rglob("*.py"))


def hardware(machine: Spec) -> str:
    """The board that a run is on."""
    return " ".join([*machine.hardware(), machine.way.value, machine.disk])


def _digest(files: Iterable[Path], *more: str) -> str:
    code = hashlib.sha256(" ".join(more).encode())
    for path in sorted(files):
        code.update(f"{path.relative_to(PACKAGE)} {sha256_file(path)}\n".encode())
    return code.hexdigest()


def _commit(runner: Runner) -> str:
    try:
        return runner.run(["/usr/bin/git", "-C", str(PACKAGE), "describe", "--always", "--abbrev=40", "--dirty",
                           "--match="]).strip()
    except CommandError:
        return ""  # a tree without its history
