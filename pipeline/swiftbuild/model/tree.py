"""The root tree of an image: every path with owner, mode and content, as one list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Content:
    """Where a file's bytes come from.

    `text`: they stand in `data`. `binary`: a program of that name built from this tree. `beside`: a file of the
    repository. `debian`: a file (`name`) of a Debian package (`package`). `shadow`: the password file.
    """

    kind: Literal["text", "binary", "beside", "debian", "shadow"]
    name: str = ""
    package: str = ""
    data: bytes = b""


@dataclass(frozen=True)
class Node:
    """One path. `target` is a link's, `content` a file's."""

    path: str
    kind: Literal["directory", "file", "link"]
    mode: int
    uid: int = 0
    gid: int = 0
    target: str = ""
    content: Content | None = None
    origin: str = ""
    """The recipe, or what generated it; for messages."""
