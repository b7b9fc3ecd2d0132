"""The tools of the machine: where each lies, which versions were tested, which package brings it.

Named by path, because a pyenv or rustup earlier in PATH must not leak in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from swiftbuild.errors import ToolError


@dataclass(frozen=True)
class Tool:
    """One program and the range of versions it was tested with."""

    name: str
    path: str
    package: str
    lowest: str
    highest: str
    arguments: tuple[str, ...] = ("--version",)
    """How to ask for the version; empty: it is its package's."""
    pattern: str = r"(\d+(?:\.\d+)+)"


@dataclass(frozen=True)
class Verdict:
    """What a probe of a tool comes to."""

    tool: Tool
    found: str | None
    ok: bool
    note: str = ""


RUST_SOURCES = "/usr/lib/rustlib/src/rust"
TOOLS: tuple[Tool, ...] = (
    Tool("python3", "/usr/bin/python3", "python3 python3-venv", "3.11", "3.11.2"),
    Tool("rustc", "/usr/bin/rustc", "rustc-web", "1.96", "1.96.0"),
    Tool("cargo", "/usr/bin/cargo", "cargo-web", "1.96", "1.96.0"),
    Tool("rust-src", RUST_SOURCES, "rust-web-src", "1.96", "1.96.0", arguments=()),
    Tool("rustfmt", "/usr/bin/rustfmt", "rustfmt-web", "1.8", "1.9.0"),
    Tool("clippy", "/usr/bin/clippy-driver", "rust-web-clippy", "0.1.96", "0.1.96"),
    Tool("ld.lld", "/usr/bin/ld.lld-19", "lld-19", "19.0", "19.1.7"),
    Tool("lld-link", "/usr/bin/lld-link-19", "lld-19", "19.0", "19.1.7"),
    Tool("llvm-nm", "/usr/bin/llvm-nm-19", "llvm-19", "19.0", "19.1.7"),
    Tool("gcc", "/usr/bin/gcc", "gcc libc6-dev", "12.0", "12.2.0"),
    Tool("g++", "/usr/bin/g++", "g++", "12.0", "12.2.0"),  # the fuzzer's engine
    Tool("gcc-aarch64", "/usr/bin/aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu libc6-dev-arm64-cross",
         "12.0", "12.2.0"),
    Tool("mkfs.erofs", "/usr/bin/mkfs.erofs", "erofs-utils", "1.5", "1.5"),
    Tool("dump.erofs", "/usr/bin/dump.erofs", "erofs-utils", "1.5", "1.5", arguments=("-V",)),
    Tool("openssl", "/usr/bin/openssl", "openssl", "3.0", "3.0.19", arguments=("version",)),
    Tool("zstd", "/usr/bin/zstd", "zstd", "1.5", "1.5.4"),
    Tool("fakeroot", "/usr/bin/fakeroot", "fakeroot", "1.31", "1.31"),
    Tool("faketime", "/usr/bin/faketime", "faketime", "0.9.10", "0.9.10"),
    Tool("veritysetup", "/usr/sbin/veritysetup", "cryptsetup-bin", "2.6", "2.6.1"),
    Tool("sfdisk", "/usr/sbin/sfdisk", "fdisk", "2.38", "2.38.1"),
    Tool("fsck.fat", "/usr/sbin/fsck.fat", "dosfstools", "4.2", "4.2", arguments=()),
    Tool("mtools", "/usr/bin/mtools", "mtools", "4.0", "4.0.32"),
    Tool("dtc", "/usr/bin/dtc", "device-tree-compiler", "1.6", "1.6.1"),
    Tool("iasl", "/usr/bin/iasl", "acpica-tools", "20200925", "20200925", arguments=("-v",), pattern=r"version (\d+)"),
    Tool("qemu-system", "/usr/bin/qemu-system-aarch64", "qemu-system-arm ipxe-qemu", "7.2", "7.2.22"),
    Tool("qemu-user", "/usr/bin/qemu-aarch64", "qemu-user", "7.2", "7.2.22"),
    Tool("qemu-img", "/usr/bin/qemu-img", "qemu-utils", "7.2", "7.2.22"),
    Tool("AAVMF", "/usr/share/AAVMF/AAVMF_CODE.fd", "qemu-efi-aarch64", "2022.11", "2022.11", arguments=()),
    Tool("apt-get", "/usr/bin/apt-get", "apt", "2.6", "2.6.1"),
    Tool("dpkg-deb", "/usr/bin/dpkg-deb", "dpkg", "1.21", "1.21.22"),
)


BUILDERS = frozenset({"rustc", "cargo", "rust-src", "ld.lld", "lld-link", "llvm-nm", "mkfs.erofs", "fakeroot",
                      "openssl", "zstd", "apt-get", "dpkg-deb"})
"""Without these no image; the others are for boots and tests."""


def require(versions: Mapping[str, str]) -> None:
    """Refuses to begin a build with a tool that is missing or older than any that was tested."""
    builders = [tool for tool in TOOLS if tool.name in BUILDERS]
    verdicts = [judge(tool, _upstream(versions.get(tool.package.split()[0]))) for tool in builders]
    faults = [f"{v.tool.name}: found {v.found or 'none'}, wanted {v.tool.lowest} or newer: {v.note}"
              for v in verdicts if not v.ok]
    if faults:
        raise ToolError("\n".join(faults), hint="make setup installs what is missing; swiftbuild doctor lists all")


def _upstream(version: str | None) -> str | None:
    """A Debian version without its epoch."""
    return version and re.sub(r"^\d+:", "", version)


def number(version: str) -> tuple[int, ...]:
    """A version as numbers, to be compared."""
    return tuple(int(part) for part in re.findall(r"\d+", version))


def judge(tool: Tool, found: str | None) -> Verdict:
    """Older than the lowest tested refuses; newer than the highest warns."""
    fix = f"apt-get install --no-install-recommends {tool.package}"
    if "-web" in tool.package:
        fix += " (suite bookworm-security)"
    if found is None:
        return Verdict(tool, None, ok=False, note=fix)
    if number(found) < number(tool.lowest):
        return Verdict(tool, found, ok=False, note=fix)
    if number(found) > number(tool.highest):
        return Verdict(tool, found, ok=True, note=f"newer than the highest tested, {tool.highest}")
    return Verdict(tool, found, ok=True)
