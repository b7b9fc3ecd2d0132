"""The exact versions of our tools, which belong to every action's key: quick to ask for where there is dpkg."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from swiftbuild.core.tools import Tool
from swiftbuild.effects.process import Runner
from swiftbuild.effects.tools import probe
from swiftbuild.errors import CommandError

DPKG_QUERY = "/usr/bin/dpkg-query"


def tool_versions(tools: Iterable[Tool], runner: Runner) -> dict[str, str]:
    """Debian package → its version; elsewhere what the tool that it would bring says of itself."""
    by_package = {package: tool for tool in tools for package in tool.package.split()}
    if not Path(DPKG_QUERY).exists():
        return {package: found for package, tool in by_package.items() if (found := probe(tool)) is not None}
    try:
        text = runner.run([DPKG_QUERY, "-W", "-f", "${Package} ${Version}\\n", *sorted(by_package)])
    except CommandError as error:  # a package is missing: the others are listed all the same
        text = error.output
    return dict(line.split(" ", 1) for line in text.splitlines() if line.count(" ") == 1)
