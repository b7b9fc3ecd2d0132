"""Profile and recipes → the manifest of the root tree. Owners and modes come from here and from nowhere else."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping

from swiftbuild.core.accounts import GROUPS, OWNERS
from swiftbuild.errors import InputError
from swiftbuild.model.recipe import DebianSource, FileRule, Recipe, TreeSource
from swiftbuild.model.tree import Content, Node

SERVICES = "/etc/services.d"
GENERATED = "swiftbuild"
SKELETON = (
    *(Node(path, "directory", 0o755, origin=GENERATED)
      for path in ("/data", "/dev", "/etc", SERVICES, "/home", "/proc", "/run", "/sys", "/usr",
                   "/var")),
    Node("/home/guest", "directory", 0o750, OWNERS["guest"], GROUPS["guest"], origin=GENERATED),
    Node("/root", "directory", 0o700, origin=GENERATED),
    Node("/tmp", "directory", 0o1777, origin=GENERATED),  # noqa: S108 - a path of the image
)
"""Mount points and homes that every image has."""


def text_node(path: str, text: str, mode: int = 0o644) -> Node:
    """A generated file."""
    return Node(path, "file", mode, content=Content("text", data=text.encode()), origin=GENERATED)


def recipe_nodes(recipe: Recipe) -> list[Node]:
    """What one recipe puts into the tree."""
    origin = f"packages/{recipe.name}"
    nodes = [
        Node(rule.path, "directory", int(rule.mode, 8), _owner(rule.owner, origin), _group(rule.group, origin),
             origin=origin)
        for rule in recipe.directory
    ]
    nodes += [Node(rule.path, "link", 0o777, target=rule.target, origin=origin) for rule in recipe.link]
    nodes += [
        Node(rule.to, "file", int(rule.mode, 8), _owner(rule.owner, origin), _group(rule.group, origin),
             content=_content(recipe, rule), origin=origin)
        for rule in recipe.file
    ]
    nodes += [
        Node(f"{SERVICES}/{posixpath.basename(rule.source)}", "file", 0o644,
             content=Content("beside", name=f"packages/{recipe.name}/{rule.source}"), origin=origin)
        for rule in recipe.service
    ]
    return nodes


def _content(recipe: Recipe, rule: FileRule) -> Content:
    if isinstance(recipe.source, DebianSource):
        return Content("debian", name=rule.source, package=recipe.source.package)
    if isinstance(recipe.source, TreeSource) and rule.source in recipe.source.binaries:
        return Content("binary", name=rule.source)
    return Content("beside", name=f"packages/{recipe.name}/{rule.source}")


def _owner(name: str, where: str) -> int:
    if name not in OWNERS:
        raise InputError(f"{where}/recipe.toml: unknown owner '{name}'; there are {', '.join(OWNERS)}")
    return OWNERS[name]


def _group(name: str, where: str) -> int:
    if name not in GROUPS:
        raise InputError(f"{where}/recipe.toml: unknown group '{name}'; there are {', '.join(GROUPS)}")
    return GROUPS[name]


def assemble(nodes: Iterable[Node]) -> tuple[Node, ...]:
    """One sorted list: no path twice, each below a directory; missing parents are made as 0755 root."""
    tree: dict[str, Node] = {"/": Node("/", "directory", 0o755, origin=GENERATED)}
    for node in sorted(nodes, key=lambda n: (n.path.count("/"), n.path)):
        _parents(tree, node)
        other = tree.get(node.path)
        own, generated = (other, node) if node.origin == GENERATED else (node, other)
        if other is None:
            tree[node.path] = node
        elif own is not None and generated is not None and own.kind == generated.kind == "directory" and (
            generated.origin == GENERATED
        ):
            tree[node.path] = own
        elif other != node:
            raise InputError(f"{node.path} comes from both {other.origin} and {node.origin}",
                             hint="remove it from one of the recipes, or one package from the profile")
    return tuple(tree[path] for path in sorted(tree))


def _parents(tree: dict[str, Node], node: Node) -> None:
    parent = posixpath.dirname(node.path)
    missing = []
    while parent not in tree:
        missing.append(parent)
        parent = posixpath.dirname(parent)
    if tree[parent].kind != "directory":
        raise InputError(f"{node.path} of {node.origin} lies below {parent}, a {tree[parent].kind} of "
                         f"{tree[parent].origin}")
    for path in missing:
        tree[path] = Node(path, "directory", 0o755, origin=GENERATED)


def manifest(nodes: Iterable[Node], digests: Mapping[str, tuple[int, str]]) -> list[dict[str, object]]:
    """The tree as a document: what an image holds, path by path. `digests`: path → (size, SHA-256) of files."""
    rows: list[dict[str, object]] = []
    for node in nodes:
        row: dict[str, object] = {"path": node.path, "kind": node.kind, "mode": f"{node.mode:04o}", "uid": node.uid,
                                  "gid": node.gid}
        if node.kind == "link":
            row["target"] = node.target
        elif node.kind == "file":
            row["size"], row["sha256"] = digests[node.path]
            row["origin"] = node.origin
        rows.append(row)
    return rows
