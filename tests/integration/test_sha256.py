"""The kernel's SHA-256 instructions, run by qemu-aarch64: right hashes, and no register that is not as it was."""

from __future__ import annotations

import hashlib
import struct
import subprocess
from pathlib import Path

import pytest

from tests.fakes import ROOT
from tests.guests import QEMU

INITIAL = "6a09e667bb67ae853c6ef372a54ff53a510e527f9b05688c1f83d9ab5be0cd19"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`blocks.s` with a program around it that looks at every vector register."""
    out = tmp_path_factory.mktemp("sha256") / "program"
    subprocess.run(["/usr/bin/aarch64-linux-gnu-gcc", "-O1", "-static", "-o", str(out),
                    str(ROOT / "tests/integration/sha256_blocks.c"), str(ROOT / "kernel/sha256/src/blocks.s")],
                   check=True)  # fmt: skip
    return out


def state(program: Path, blocks: bytes) -> str:
    """The hash's state after these blocks."""
    done = subprocess.run([QEMU, str(program)], input=blocks, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout.decode()


@pytest.mark.parametrize("length", [0, 3, 55, 56, 64, 4096, 4128, 1_000_000])
def test_hashes_are_those_of_another_library(program: Path, length: int) -> None:
    text = bytes(i * 31 >> 3 & 0xFF for i in range(length))
    padded = text + b"\x80" + bytes(-(length + 9) % 64) + struct.pack(">Q", 8 * length)
    assert state(program, padded) == hashlib.sha256(text).hexdigest()


def test_no_blocks_change_nothing(program: Path) -> None:
    assert state(program, b"") == INITIAL
