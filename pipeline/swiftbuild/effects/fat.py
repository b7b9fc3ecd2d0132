"""The files of a FAT volume inside an image, read by pyfatfs: a reader that shares no code with our writer.

Loaded only by `inspect` and tests: it is slow to import, and it must never write (docs/decisions/0001).
"""

from __future__ import annotations

import subprocess
import tempfile
import warnings
from pathlib import Path

from swiftbuild.errors import DamageError

FSCK = "/usr/sbin/fsck.fat"
FILE_BYTES_MAX = 1 << 30


def read_files(image: Path, offset: int) -> dict[str, bytes]:
    """Path → contents of every file of the volume that starts at `offset`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library's own use of pkg_resources
        from pyfatfs.PyFatFS import PyFatFS  # noqa: PLC0415
    try:
        with PyFatFS(str(image), offset=offset, read_only=True, encoding="utf-8") as volume:
            paths = sorted(volume.walk.files("/"))
            if sum(volume.getsize(path) for path in paths) > FILE_BYTES_MAX:
                raise DamageError(f"{image}: the ESP's files are larger than {FILE_BYTES_MAX} bytes")
            return {path.lstrip("/"): volume.readbytes(path) for path in paths}
    except DamageError:
        raise
    except Exception as error:  # the library raises whatever a damaged volume leads it to
        raise DamageError(f"{image}: the ESP is not a FAT volume that can be read: {error}") from error


def fsck(volume: memoryview) -> str:
    """What fsck.fat says against the volume; empty when it finds nothing."""
    with tempfile.NamedTemporaryFile(prefix="swiftbuild-esp-") as copy:
        for at in range(0, len(volume), 1 << 20):
            piece = volume[at : at + (1 << 20)]
            if piece != bytes(len(piece)):  # leave holes: most of an ESP is empty
                copy.seek(at)
                copy.write(piece)
        copy.truncate(len(volume))
        copy.flush()
        done = subprocess.run([FSCK, "-n", copy.name], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else (done.stdout + done.stderr).strip()
