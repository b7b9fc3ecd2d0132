"""Every bound of the pipeline, with its unit. A reader of outside bytes names one of these before it allocates."""

from __future__ import annotations

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

SECTOR = 512
"""Bytes of a disk sector."""
PAGE = 4096
"""Bytes of a page, an EROFS block and a verity block."""
PARTITION_ALIGNMENT = MIB
"""Partitions start and end on this many bytes."""

TOML_FILE_MAX = MIB
"""Bytes of a profile, recipe or lock file."""
ARCHIVE_MEMBERS_MAX = 100_000
"""Entries of a Debian package's data archive."""
ARCHIVE_LINKS_MAX = 8
"""Links that a file of a Debian package may lie behind."""
ARCHIVE_BYTES_MAX = 2 * GIB
"""Bytes that a Debian package may unpack to."""
OUTPUT_TAIL_LINES = 60
"""Lines of a failed child's output that are shown."""
STORE_BYTES_DEFAULT = 8 * GIB
"""Bytes that the content store may hold before its least recently used outputs go."""
