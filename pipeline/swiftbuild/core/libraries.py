"""Does every program of an image find its dynamic linker and its shared libraries inside the image?

A program that does not is only noticed when somebody starts it; so the build asks the question that ld.so(8) would ask.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping

from swiftbuild.model.tree import Node
from swiftbuild.wire.elf import Linking

FOLDERS = ("/lib/aarch64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/lib", "/usr/lib")
"""Where Debian's dynamic linker for arm64 looks without /etc/ld.so.cache."""
LINKS_MAX = 40
"""Links that a path may lead through, as in the kernel (MAXSYMLINKS)."""


def missing(nodes: Iterable[Node], programs: Mapping[str, Linking]) -> list[str]:
    """What is not there, one sentence each. `programs`: path → linking of every ELF file of the tree."""
    tree = {node.path: node for node in nodes}
    problems = []
    for path, linking in sorted(programs.items()):
        origin = tree[path].origin
        if linking.interpreter and _resolve(tree, linking.interpreter) not in programs:
            problems.append(f"{origin}: {path} needs the dynamic linker {linking.interpreter}, "
                            "which no package of the image has")
        folders = [folder.replace("${ORIGIN}", "$ORIGIN").replace("$ORIGIN", posixpath.dirname(path))
                   for folder in linking.folders]
        for library in linking.libraries:
            places = [library] if "/" in library else [f"{folder}/{library}" for folder in (*folders, *FOLDERS)]
            if not any(_resolve(tree, place) in programs for place in places):
                problems.append(f"{origin}: {path} needs the shared library {library}, "
                                "which no package of the image has")
    return problems


def _resolve(tree: Mapping[str, Node], path: str) -> str:
    """The path behind all links; empty when it leads nowhere."""
    todo = [part for part in reversed(path.split("/")) if part]
    at = "/"
    links = 0
    while todo:
        part = todo.pop()
        if part in {".", ".."}:
            at = at if part == "." else posixpath.dirname(at)
            continue
        node = tree.get(posixpath.join(at, part))
        if node is None:
            return ""
        if node.kind != "link":
            at = node.path
            continue
        links += 1
        if links > LINKS_MAX:
            return ""
        at = "/" if node.target.startswith("/") else at
        todo += [part for part in reversed(node.target.split("/")) if part]
    return at
