"""What holds for the whole tree: linters are silent, files small, no private key, `unsafe` only in its rooms."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SKIP = {".git", ".venv", "build", "target", "__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis"}
PYTHON_LINES_MAX = 400
RUST_LINES_MAX = 650
# Where `unsafe` may stand, as docs/kernel.md lists it.
UNSAFE_ROOMS = ("kernel/kernel/src/arch/", "kernel/kernel/src/mm/", "kernel/kernel/src/drivers/", "kernel/loader/",
                "kernel/sync/", "userland/", "kernel/sha256/")  # sha256: the CPU's own instructions
# cargo-fmt and cargo-clippy are named by path: cargo would look into ~/.cargo/bin first, where rustup puts others
CARGO_ENVIRONMENT = {
    "PATH": "/usr/bin:/bin", "CARGO": "/usr/bin/cargo",
    "HOME": os.environ.get("HOME", "/"), "RUSTC": "/usr/bin/rustc", "RUSTC_BOOTSTRAP": "1",
    "CARGO_TARGET_DIR": str(ROOT / "build" / "target" / "host"),
    **{k: v for k, v in os.environ.items() if k in {"CARGO_HOME", "CARGO_HTTP_CAINFO", "HTTPS_PROXY", "https_proxy"}},
}


def files(*suffixes: str) -> list[Path]:
    """Every file of the tree with one of these endings, built things left out."""
    found = []
    for folder, names, leaves in os.walk(ROOT):
        names[:] = [n for n in names if n not in SKIP and not (n == "dev" and folder.endswith("keys"))]
        found += [Path(folder, leaf) for leaf in leaves if leaf.endswith(suffixes)]
    return sorted(found)


def run(*command: str, **environment: str) -> None:
    """Runs a linter; its words are the failure."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=900,
                          env={**os.environ, **environment})
    assert done.returncode == 0, f"$ {' '.join(command)}\n{done.stdout}{done.stderr}"


def test_ruff() -> None:
    run(sys.executable, "-m", "ruff", "check", ".")


def test_mypy() -> None:
    run(sys.executable, "-m", "mypy")


def test_rustfmt() -> None:
    run("/usr/bin/cargo-fmt", "fmt", "--all", "--check", **CARGO_ENVIRONMENT)


def test_files_stay_small() -> None:
    limits = {".py": PYTHON_LINES_MAX, ".rs": RUST_LINES_MAX}
    long = [f"{p.relative_to(ROOT)}: {n}" for p in files(*limits)
            if (n := len(p.read_text().splitlines())) > limits[p.suffix]]
    assert long == []


def test_no_private_key_in_the_tree() -> None:
    header = re.compile(rb"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----")
    assert [str(p) for p in files("") if not p.is_symlink() and header.search(p.read_bytes())] == []


def test_no_machine_path_or_index_address() -> None:
    pattern = re.compile(r"/work/|/home/\w+/|/root/\.(?:cargo|pyenv|rustup)|https?://\S*(?:pypi|pythonhosted)")
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


@pytest.mark.slow
def test_clippy() -> None:
    run("/usr/bin/cargo-clippy", "clippy", "--quiet", "--workspace", "--all-targets", "--locked", "--", "-Dwarnings",
        **CARGO_ENVIRONMENT)
