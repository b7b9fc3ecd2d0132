"""The plugin that counts a guest's instructions, in QEMU's user mode on a program of a known number of them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.bench.counter import Counter, Executed, build
from tests.guests import QEMU

PROGRAM = """
.globl _start
_start: mov x1, #{rounds}
1:      sub x1, x1, #1
        cbnz x1, 1b
        mov x0, #0
        mov x8, #93
        svc #0
"""


def counted(folder: Path, rounds: int) -> Executed:
    """Instructions that a run of the program took."""
    (folder / "program.s").write_text(PROGRAM.format(rounds=rounds))
    subprocess.run(["/usr/bin/aarch64-linux-gnu-gcc", "-nostdlib", "-static", "-o", "program", "program.s"], cwd=folder,
                   check=True)  # fmt: skip
    counter = Counter(build(folder), folder)
    subprocess.run([QEMU, *counter.option, "program"], cwd=folder, check=True, timeout=60)
    return counter.read()


@pytest.mark.parametrize("rounds", [1, 1000])
def test_every_instruction_is_counted_once(tmp_path: Path, rounds: int) -> None:
    assert counted(tmp_path, rounds) == Executed(user=1 + 2 * rounds + 3, kernel=0)
