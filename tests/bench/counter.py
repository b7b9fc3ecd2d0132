"""Counts the instructions that a guest executes: a plugin of QEMU, `count.c`. An idle CPU executes none."""

from __future__ import annotations

import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("count.c")
_COUNTS = struct.Struct("<QQ")


@dataclass(frozen=True)
class Executed:
    """Instructions at the lower half of the address space (programs; before the kernel firmware and loader), and the
    kernel's."""

    user: int
    kernel: int


def build(folder: Path) -> Path:
    """The plugin, compiled."""
    out = folder / "count.so"
    subprocess.run(["/usr/bin/gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", str(out),
                    str(SOURCE)], check=True)  # fmt: skip
    return out


class Counter:
    """The counts of one run of QEMU."""

    def __init__(self, plugin: Path, folder: Path) -> None:
        self._file = folder / "counts"
        self._file.write_bytes(bytes(_COUNTS.size))
        self.option = ("-plugin", f"file={plugin},out={self._file}")

    @property
    def options(self) -> tuple[str, ...]:
        """Of a machine. Under `-icount` one thread runs all its CPUs, so none of the additions are lost."""
        return ("-icount", "shift=0", *self.option)

    def read(self) -> Executed:
        """So far."""
        return Executed(*_COUNTS.unpack(self._file.read_bytes()))
