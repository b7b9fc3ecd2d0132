"""The digest of our own code behind a stage: a change of it makes the stage's actions stale."""

from __future__ import annotations

import re
from pathlib import Path

from swiftbuild.digest import sha256
from swiftbuild.effects.statcache import StatCache

IMPORT = re.compile(r"^\s*from swiftbuild(?:\.([\w.]+))? import ([^\n(]+|\([^)]*\))", re.MULTILINE)
UNRELATED = frozenset({"errors", "core.events", "core.plan", "effects.process"})
"""How something is reported or started does not change what is made."""


def digest_of(package: Path, module: str, stats: StatCache) -> str:
    """Over a module (`stages.root`) and everything of ours that it imports."""
    seen: dict[str, str] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = package / f"{name.replace('.', '/')}.py"
        if name in seen or name in UNRELATED or not path.is_file():
            continue
        seen[name] = stats.digest(path)
        for base, names in IMPORT.findall(path.read_text()):
            waiting.append(base)
            waiting += [f"{base}.{word}".lstrip(".") for word in re.findall(r"\w+", names)]
    return sha256(repr(sorted(seen.items())).encode())
