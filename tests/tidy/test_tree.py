"""What holds for the whole tree: linters are silent, files small, no private key, `unsafe` only in its rooms."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SKIP = {".git", ".venv", "build", "target", "__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis"}
PYTHON_LINES_MAX = 400
RUST_LINES_MAX = 650
# Where `unsafe` may stand, as docs/kernel.md lists it.
UNSAFE_ROOMS = ("kernel/kernel/src/arch/", "kernel/kernel/src/mm/", "kernel/kernel/src/drivers/", "kernel/loader/",
                "kernel/sync/", "userland/", "kernel/sha256/")  # sha256: the CPU's own instructions

def files(*suffixes: str) -> list[Path]:
    """Every file of the tree with one of these endings, built things left out."""
    found = []
    for folder, names, leaves in os.walk(ROOT):
        names[:] = [n for n in names if n not in SKIP and not (n == "dev" and folder.endswith("keys"))]
        found += [Path(folder, leaf) for leaf in leaves if leaf.endswith(suffixes)]
    return sorted(found)


def run(*command: str) -> None:
    """Runs a linter; its words are the failure."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, f"$ {' '.join(command)}\n{done.stdout}{done.stderr}"


def test_ruff() -> None:
    run(sys.executable, "-m", "ruff", "check", ".")


def test_mypy() -> None:
    run(sys.executable, "-m", "mypy")


def test_files_stay_small() -> None:
    limits = {".py": PYTHON_LINES_MAX, ".rs": RUST_LINES_MAX}
    long = [f"{p.relative_to(ROOT)}: {n}" for p in files(*limits)
            if (n := len(p.read_text().splitlines())) > limits[p.suffix]]
    assert long == []


def test_no_private_key_in_the_tree() -> None:
    header = re.compile(rb"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----")
    assert [str(p) for p in files("") if not p.is_symlink() and header.search(p.read_bytes())] == []


def test_no_machine_path_or_index_address() -> None:
    pattern = re.compile(r"/(?:work|srv)/|/home/\w+/|/root/\.(?:cargo|pyenv|rustup)|https?://\S+/simple\b")
    here = Path(__file__)
    kinds = (".py", ".rs", ".toml", ".lock", ".md", ".sh", ".txt", ".ld", "Makefile")
    assert [f"{p}: {m.group()}" for p in files(*kinds) if p != here and (m := pattern.search(p.read_text()))] == []


def unsafe_lines(text: str) -> int:
    """Lines with the keyword outside comments, strings and attributes that forbid it."""
    code = re.sub(r'//.*|"(?:\\.|[^"\\])*"|#!?\[[^\]]*\]', "", text)
    return sum(1 for line in code.splitlines() if re.search(r"\bunsafe\b", line))


def test_unsafe_only_in_its_rooms() -> None:
    outside = {str(p.relative_to(ROOT)): n for p in files(".rs")
               if not str(p.relative_to(ROOT)).startswith(UNSAFE_ROOMS) and (n := unsafe_lines(p.read_text()))}
    print(f"unsafe lines outside arch, mm and drivers: {sum(outside.values())}")
    assert outside == {}


def test_unsafe_counter_finds_one() -> None:
    assert unsafe_lines('// unsafe\n#![forbid(unsafe_code)]\nlet x = "unsafe";\n') == 0
    assert unsafe_lines("fn f() { unsafe { g() } } // unsafe\n") == 1
