"""`python -m tests.bench [PART...]`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from swiftbuild.effects.project import version

from tests.bench import page, releases, system
from tests.bench.storage import measure
from tests.fakes import ROOT

PAGE = ROOT / "docs" / "benchmarks.md"
PARTS = {"builds": system.builds, "sizes": system.sizes, "boots": system.boots, "memory": system.memory,
         "releases": releases.releases, "storage": measure.storage}  # fmt: skip


def main(wanted: Sequence[str]) -> None:
    """Measures, prints as it goes, and puts each section into the page; those not wanted stay as they are."""
    sections = dict.fromkeys(PARTS, "")
    if PAGE.exists():
        sections.update(page.sections(PAGE.read_text()))
    for name in wanted or list(PARTS):
        load = f"{os.getloadavg()[0]:.1f}"
        made = PARTS[name]()
        when = f"{datetime.now(tz=UTC):%Y-%m-%d}, version {version(ROOT)}, commit {commit()}, {host()}, load {load}"
        sections[name] = page.dated(made, when)
        print(sections[name], flush=True)
    PAGE.write_text(page.page(sections))


def commit() -> str:
    """The commit that is measured."""
    done = subprocess.run(["/usr/bin/git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True,
                          check=False)  # fmt: skip
    return done.stdout.strip() or "unknown"


def host() -> str:
    """The host in a few words."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return f"{os.cpu_count()} × {model[1] if model else 'unknown processor'}"


if __name__ == "__main__":
    main(sys.argv[1:])
