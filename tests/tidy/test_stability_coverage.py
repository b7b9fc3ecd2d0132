"""Every category of what must not break has gates, which `make test` runs: a test that is taken away is missed here."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.stability_coverage_test

CATEGORIES: Mapping[str, tuple[str, ...]] = {
    "memory and resources": ("datafs-test", "datafs-fsync-test", "datafs-sqlite-test", "data-persist-test"),
    "hardware and SMP": ("hardware-map-test", "boot-test", "gicv3-test", "virtio-pci-test", "block-test",
                         "h5-acpi-test"),
    "security and isolation": ("verity-test", "session-test", "fuzz-test"),
    "update and rollback": ("release-test", "rollback-test", "update-powercut-test"),
    "health": ("health-test", "watchdog-test"),
    "UEFI": ("boot-test", "hetzner-run"),
    "power cuts": ("powercut-test", "update-powercut-test"),
}
NOT_BUILT_YET = ("package", "network", "C5")
"""Categories of the plan without anything to guard."""


def gates_of_makefile(text: str) -> set[str]:
    """The gates that `make` knows."""
    found = re.search(r"^GATES := ((?:.*\\\n)*.*)$", text, re.MULTILINE)
    return set(found[1].replace("\\\n", " ").split()) if found else set()


def marked(folder: Path) -> dict[str, int]:
    """Marker → tests in files that carry it, whole or one by one."""
    counts: dict[str, int] = {}
    for path in sorted(folder.rglob("test_*.py")):
        tree = ast.parse(path.read_text())
        tests = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]
        of_all = {name for node in tree.body if isinstance(node, ast.Assign) for name in _names(node)}
        for test in tests:
            for name in of_all | {name for decorator in test.decorator_list for name in _names(decorator)}:
                counts[name] = counts.get(name, 0) + 1
    return counts


def _names(node: ast.AST) -> set[str]:
    return {part.attr for part in ast.walk(node) if isinstance(part, ast.Attribute)
            and isinstance(part.value, ast.Attribute) and part.value.attr == "mark"}


def missing(makefile: str, markers: set[str], counts: Mapping[str, int]) -> list[str]:
    """What a category lacks."""
    gates = gates_of_makefile(makefile)
    found = []
    for category, wanted in CATEGORIES.items():
        for gate in wanted:
            marker = gate.replace("-", "_")
            if gate not in gates:
                found.append(f"{category}: no target {gate} in the Makefile")
            elif marker not in markers:
                found.append(f"{category}: no marker {marker}")
            elif not counts.get(marker):
                found.append(f"{category}: no test of {gate}")
    return found


def facts() -> tuple[str, set[str], dict[str, int]]:
    """Of this tree."""
    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    markers = {line.split(":", 1)[0] for line in options["markers"]}
    return (ROOT / "Makefile").read_text(), markers, marked(ROOT / "tests")


def test_every_category_has_its_gates() -> None:
    assert missing(*facts()) == []
    assert not set(NOT_BUILT_YET) & set(CATEGORIES), "what is guarded is built"


def test_no_test_is_left_out_of_make_test() -> None:
    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    assert " -m " not in options["addopts"] and "--ignore" not in options["addopts"]
    (recipe,) = re.findall(r"^test:.*\n\t(.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert recipe == "@$(PYTEST)", "make test runs everything"


def test_what_is_taken_away_is_missed() -> None:
    makefile, markers, counts = facts()
    assert missing(makefile.replace("rollback-test", ""), markers, counts) == [
        "update and rollback: no target rollback-test in the Makefile"]
    assert missing(makefile, markers - {"verity_test"}, counts) == ["security and isolation: no marker verity_test"]
    assert missing(makefile, markers, {**counts, "release_test": 0}) == ["update and rollback: no test of release-test"]
