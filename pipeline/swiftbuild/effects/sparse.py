"""Where a sparse file holds data: an image is mostly holes, and reading them is what would take the time."""

from __future__ import annotations

import errno
import os
from pathlib import Path


def data_extents(path: Path) -> list[tuple[int, int]]:
    """(start, end) of every run of data; all of it where the file system cannot tell."""
    size = path.stat().st_size
    extents = []
    with path.open("rb") as file:
        at = 0
        while at < size:
            try:
                start = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:  # only a hole is left
                    break
                return [(0, size)]
            at = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            extents.append((start, at))
    return extents
