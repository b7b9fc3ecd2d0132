"""Asks the machine's tools for their versions."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from swiftbuild.core.tools import Tool


def probe(tool: Tool) -> str | None:
    """The version that is installed, or None. What cannot say it (sources, firmware) takes its package's."""
    if not Path(tool.path).exists():
        return None
    command = [tool.path, *tool.arguments] if tool.arguments else [
        "/usr/bin/dpkg-query", "-W", "-f", "${Version}", tool.package.split()[0]
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False,
                              stdin=subprocess.DEVNULL, env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"})
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(tool.pattern, done.stdout + done.stderr)
    return match.group(1) if match else None
