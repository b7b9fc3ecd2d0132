"""The texts that `package add` and `package update` write."""

from __future__ import annotations

import re
from collections.abc import Mapping

from swiftbuild.model.recipe import LockedPackage

HEADER = """\
# Written by `swiftbuild package update`: the one version of each Debian arm64 package that an image takes.
"""
RECIPE = """\
name = "{name}"
summary = "{name} from Debian"
license = "see /usr/share/doc/{name}/copyright in the package"
# requires = ["libc6"]   # packages that come with it

[source]
kind = "debian"
package = "{name}"

# [[file]]
# from = "usr/bin/{name}"   # a path inside the package: swiftbuild package inspect {name}
# to = "/usr/bin/{name}"
# mode = "0755"
"""


def render(locked: Mapping[str, LockedPackage]) -> str:
    """packages/lock.toml, sorted, so that a change of one package is a change of its lines only."""
    rows = [
        f'{gap}[debian.{_key(name)}]\nversion = "{row.version}"\nsha256 = "{row.sha256}"\nsize = {row.size}\n'
        for gap, (name, row) in zip(["", *["\n"] * len(locked)], sorted(locked.items()), strict=False)
    ]
    return HEADER + "".join(rows)


def _key(name: str) -> str:
    """A TOML key; a package's name may hold dots and plus signs."""
    return name if re.fullmatch(r"[a-z0-9-]+", name) else f'"{name}"'


def new_recipe(name: str) -> str:
    """A recipe to start from."""
    return RECIPE.format(name=name)
