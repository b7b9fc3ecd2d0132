"""Userland on the host: our programs and Debian's BusyBox for arm64 under qemu's user mode, by scripts that stand in
for their names. A kernel that cannot run arm64 programs itself is enough for that."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from swiftbuild.effects import project

from tests.fakes import ROOT

QEMU = "/usr/bin/qemu-aarch64"
PROGRAMS = ROOT / "build" / "packages"
"""Where `swiftbuild package build` puts them."""
ORDINARY = 1000
"""The ids of a user who is not root."""


def build(package: str) -> None:
    """Builds a package of the tree, quickly when nothing changed."""
    command = [sys.executable, "-m", "swiftbuild", "-C", str(ROOT), "package", "build", package]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "pipeline")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1800, env=environment)
    assert done.returncode == 0, f"$ {shlex.join(command)}\n{done.stdout}{done.stderr}"
    for file in (PROGRAMS / package).rglob("usr/bin/*"):
        file.chmod(0o755)  # modes are the manifest's; these files have none of their own


def program(package: str, name: str = "") -> Path:
    """A program of a package that was built."""
    return PROGRAMS / package / "usr" / "bin" / (name or package)


def command(name: str, package: str, *arguments: str) -> list[str]:
    """Runs a package's program by one of its names."""
    return [QEMU, "-0", name, str(program(package)), *arguments]


def assemble(package: str, root: Path) -> Path:
    """A root folder with a package's files and those of all that it requires, as in an image; gives its program."""
    recipes = project.load_recipes(ROOT, [package], "tests")
    for recipe in recipes:
        build(recipe.name)
        shutil.copytree(PROGRAMS / recipe.name, root, dirs_exist_ok=True)
    for recipe in recipes:
        for link in recipe.link:
            place = root / link.path.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(link.target)
    (root / "lib").symlink_to("usr/lib")
    return root / "usr" / "bin" / package


def links(package: str) -> list[str]:
    """The names by which a package's program is known in /usr/bin."""
    recipe = tomllib.loads((ROOT / "packages" / package / "recipe.toml").read_text())
    return [Path(link["path"]).name for link in recipe["link"]]


def stand_ins(folder: Path) -> Path:
    """A folder to be PATH: every name of BusyBox and of our tools runs the arm64 program."""
    folder.mkdir()
    for package in ("busybox", "tools"):
        for name in links(package):
            file = folder / name
            file.write_text(f'#!/bin/sh\nexec {shlex.join(command(name, package))} "$@"\n')
            file.chmod(0o755)
    return folder


def as_ordinary_user(words: list[str]) -> list[str]:
    """The same as someone who is not root."""
    if os.geteuid() != 0:
        return words
    ids = [f"--reuid={ORDINARY}", f"--regid={ORDINARY}", "--clear-groups"]
    return ["/usr/bin/setpriv", *ids, "--inh-caps=-all", *words]
