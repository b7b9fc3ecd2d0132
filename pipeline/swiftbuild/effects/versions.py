"""Versions of the Debian packages that bring our tools: exact, and quick to ask for."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from swiftbuild.effects.process import Runner
from swiftbuild.errors import CommandError

DPKG_QUERY = "/usr/bin/dpkg-query"


def package_versions(names: Iterable[str], runner: Runner) -> dict[str, str]:
    """Package → version of those that are installed; empty where there is no dpkg."""
    if not Path(DPKG_QUERY).exists():
        return {}
    try:
        text = runner.run([DPKG_QUERY, "-W", "-f", "${Package} ${Version}\n", *sorted(names)])
    except CommandError as error:  # a package is missing: the others are listed all the same
        text = error.output
    return dict(line.split(" ", 1) for line in text.splitlines() if line.count(" ") == 1)
