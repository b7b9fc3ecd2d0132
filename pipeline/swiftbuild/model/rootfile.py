"""`root.toml` of a key folder: who root is, where that is more than every `root*.pub` with a threshold of 1."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from swiftbuild.model.signing import ROOT_KEYS_MAX
from swiftbuild.model.written import Written

KeyName = Annotated[str, Field(pattern=r"\Aroot(?:-[A-Za-z0-9._]+)?\Z", max_length=128)]
"""Of a file `root.pub` or `root-NAME.pub`, without its ending."""
Threshold = Annotated[int, Field(ge=1, le=ROOT_KEYS_MAX)]


class RootGroup(Written):
    """Keys that sign together, and how many of them must."""

    threshold: Threshold = 1
    keys: Annotated[tuple[KeyName, ...], Field(min_length=1, max_length=ROOT_KEYS_MAX)]


class RootFile(Written):
    """The present root, and while it is rotated the one before."""

    threshold: Threshold = 1
    keys: Annotated[tuple[KeyName, ...], Field(max_length=ROOT_KEYS_MAX)] = ()
    """None named: every root key of the folder."""
    previous: RootGroup | None = None
    """What loaders in the field trust until the rotation is committed."""


def toml(file: RootFile) -> str:
    """The file's text."""
    lines = ["# who root is: keys/README.md", *_lines(file.threshold, file.keys)]
    if file.previous:
        lines += ["", "[previous] # what loaders in the field trust: 'swiftbuild keys rotate root --commit' ends it",
                  *_lines(file.previous.threshold, file.previous.keys)]
    return "\n".join(lines) + "\n"


def _lines(threshold: int, keys: tuple[str, ...]) -> list[str]:
    named = ", ".join(f'"{name}"' for name in keys)
    return [f"threshold = {threshold}", *([f"keys = [{named}]"] if keys else [])]
