"""Disks beside the one that a machine boots from: files whose every byte the host knows, and filters that fail."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from swiftbuild.limits import MIB
from swiftbuild.machine.spec import failing


@dataclass(frozen=True)
class Kind:
    """One disk. Its size, which no other has, is the name by which the guest finds it."""

    name: str
    mib: int
    filter: Mapping[str, object] | None = None
    options: str = ""
    """More for its device."""
    read_only: bool = False

    def contents(self) -> bytes:
        """What it holds at first: anything, but the same each time."""
        return random.Random(self.mib).randbytes(self.mib * MIB)  # noqa: S311 - no secret

    def make(self, folder: Path) -> Path:
        """Its file."""
        path = folder / f"{self.name}.raw"
        path.write_bytes(self.contents())
        return path

    def arguments(self, path: Path, device: str) -> list[str]:
        """QEMU's options. `device` is what drives it, up to the disk's own name."""
        node: dict[str, object] = {"driver": "raw", "node-name": self.name, "read-only": self.read_only,
                                   "discard": "unmap", "file": {"driver": "file", "filename": str(path)}}  # fmt: skip
        nodes = [node]
        if self.filter is not None:
            below = "image" if self.filter["driver"] == "blkdebug" else "file"
            nodes = [{**node, "node-name": f"{self.name}-file"},
                     {**self.filter, "node-name": self.name, below: f"{self.name}-file"}]  # fmt: skip
        words = [word for each in nodes for word in ("-blockdev", json.dumps(each))]
        options = f",{self.options}" if self.options else ""
        return [*words, "-device", f"{device},drive={self.name},id={self.name}{options}"]


READ_FAILS, WRITE_FAILS = 1024, 2048
"""Sectors."""


def error(kind: str, **more: object) -> Mapping[str, object]:
    """EIO for a kind of request (`read`, `write`, `flush`)."""
    return {"event": "none", "iotype": kind, "errno": 5, **more}


PLAIN = Kind("plain", 4)
BAD_SECTORS = Kind("bad-sectors", 5, failing(error("read", sector=READ_FAILS), error("write", sector=WRITE_FAILS)))
NO_FLUSH = Kind("no-flush", 6, failing(error("flush")))
DEAD = Kind("dead", 7, failing(error("read"), error("write"), error("flush")))
SEALED = Kind("sealed", 8, read_only=True)
LARGE_BLOCKS = Kind("large-blocks", 9, options="logical_block_size=4096,physical_block_size=4096")
REMOVED = Kind("removed", 10)
SILENT = Kind("silent", 11, {"driver": "throttle", "throttle-group": "silent"})
ALL = (PLAIN, BAD_SECTORS, NO_FLUSH, DEAD, SEALED, LARGE_BLOCKS)
