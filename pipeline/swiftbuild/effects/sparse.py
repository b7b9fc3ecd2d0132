"""Sparse files: an image is mostly holes, and reading and writing them is what would take the time."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from swiftbuild.errors import SpaceError
from swiftbuild.limits import MIB

COPY_CHUNK = 4 * MIB


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


def copy_sparse(source: Path, target: Path, *, at: int = 0) -> None:
    """Copies a file to offset `at` of one that is there and holds zeros from there on; holes stay holes."""
    with source.open("rb") as read, target.open("r+b") as write:
        write.truncate(max(at + source.stat().st_size, target.stat().st_size))
        for start, end in data_extents(source):
            read.seek(start)
            write.seek(at + start)
            for chunk in _chunks(read, end - start):
                write.write(chunk)


def copy_onto(source: Path, device: Path) -> None:
    """Copies a file onto a block device that may hold anything: the holes, too, become zeros there. When it does not
    fit, nothing is written."""
    with source.open("rb") as read, device.open("r+b") as write:
        needed, there = source.stat().st_size, write.seek(0, os.SEEK_END)
        if there < needed:
            raise SpaceError(f"no space on {device}: it has {there} bytes, the image {needed}",
                             hint="smaller partitions in the profile ([disk]), or a larger disk")
        write.seek(0)
        for chunk in _chunks(read, source.stat().st_size):
            write.write(chunk)
        write.flush()
        os.fsync(write.fileno())


def _chunks(file: BinaryIO, length: int) -> Iterator[bytes]:
    while length > 0 and (chunk := file.read(min(COPY_CHUNK, length))):
        length -= len(chunk)
        yield chunk
