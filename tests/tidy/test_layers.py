"""The layer rule of the Python package, and no import cycles."""

from __future__ import annotations

import ast
import graphlib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "pipeline" / "swiftbuild"
ORDER = ["errors", "limits", "digest", "model", "wire", "core", "effects", "stages", "engine", "machine", "scenarios",
         "cli"]
RANK = {name: rank for rank, name in enumerate(ORDER)} | {"machine": ORDER.index("engine")}
# the core decides: it never touches the outside
FORBIDDEN_IN_CORE = {"os", "pathlib", "socket", "subprocess", "time", "datetime", "random", "secrets", "shutil",
                     "tempfile", "urllib", "http"}
# work that only these layers may do
PRINTS = "cli"


def modules() -> dict[str, Path]:
    """Dotted name below swiftbuild → file."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path, *, top_only: bool) -> set[str]:
    """Every module that a file imports; `top_only` leaves out imports inside functions and for typing."""
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_only else list(ast.walk(tree))
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            names |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return names


def below(names: set[str]) -> set[str]:
    """Those names that are modules of ours, without the package's name."""
    known = set(modules())
    return {name.removeprefix("swiftbuild.") for name in names if name.startswith("swiftbuild.")} & known - {""}


def violations(name: str, path: Path) -> list[str]:
    """What in one module breaks the rules."""
    layer = name.split(".", maxsplit=1)[0]
    if layer in {"", "__main__"}:
        return []
    found = []
    for other in below(imports(path, top_only=False)):
        target = other.split(".")[0]
        if target != layer and RANK[target] >= RANK[layer]:
            found.append(f"{name} imports {other}, which stands after it")
        if layer == target == "stages" and "." in other and other != name:
            found.append(f"stage {name} imports stage {other}")
    if layer in {"model", "wire", "core"}:
        roots = {i.split(".")[0] for i in imports(path, top_only=False)}
        found += [f"{name} imports {bad}" for bad in sorted(roots & FORBIDDEN_IN_CORE)]
    return found


def test_each_layer_imports_only_what_stands_before_it() -> None:
    assert [v for name, path in modules().items() for v in violations(name, path)] == []


def test_the_rule_finds_a_planted_violation(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text("import subprocess\nfrom swiftbuild.cli.session import Session\n")
    assert len(violations("core.bad", bad)) == 2


def test_no_import_cycles() -> None:
    graph = {name: below(imports(path, top_only=True)) - {name} for name, path in modules().items()}
    list(graphlib.TopologicalSorter(graph).static_order())


def test_only_the_command_line_prints_or_exits() -> None:
    for name, path in modules().items():
        if name.split(".")[0] == PRINTS:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in {"print", "exit", "sys.exit", "os._exit"}, f"{path}:{node.lineno}: {called}"
            if isinstance(node, ast.Attribute):
                assert ast.unparse(node) != "os.environ", f"{path}:{node.lineno}: reads the environment"
