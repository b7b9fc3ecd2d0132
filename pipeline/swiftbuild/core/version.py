"""The version and the file times tied to it."""

from __future__ import annotations

import re

from swiftbuild.errors import InputError, UsageError

EPOCH = 1_767_225_600
"""2026-01-01T00:00:00Z, in seconds: the file time of version 0.0.0."""


def parse_version(text: str) -> tuple[int, int, int]:
    """MAJOR.MINOR.PATCH, each below 1000."""
    match = re.fullmatch(r"(\d{1,3})\.(\d{1,3})\.(\d{1,3})\n?", text)
    if match is None:
        raise InputError(f"VERSION: {text!r} is not MAJOR.MINOR.PATCH with numbers below 1000")
    major, minor, patch = (int(part) for part in match.groups())
    return major, minor, patch


def version_of(text: str, where: str) -> str:
    """A version that stands at `where`, checked."""
    try:
        parse_version(text)
    except InputError:
        raise UsageError(f"{where} {text}: not MAJOR.MINOR.PATCH with numbers below 1000", hint="as 0.1.1") from None
    return text


def file_time(version: str) -> int:
    """The time that every file of an image carries: a constant for each version, later for a later one."""
    major, minor, patch = parse_version(version)
    return EPOCH + major * 1_000_000 + minor * 1_000 + patch
