"""Rust source → binaries, by the toolchain's cargo and its own `core`/`std` sources.

Flags carry no absolute path, for cargo hashes them into symbol names: linkers are named, linker scripts come through
build.rs, and trim-paths takes the folder names out of the binaries. cargo runs in `/` with --manifest-path, because
it reads `.cargo/config.toml` of every folder above its own: the user's would leak in. CARGO_HOME is ours for the same
reason.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from swiftbuild.effects.process import Runner
from swiftbuild.errors import DamageError

CARGO = "/usr/bin/cargo"
TRIM = 'profile.release.trim-paths="all"'


@dataclass(frozen=True)
class CargoBuild:
    """One call of cargo: some binaries of some crates for one target."""

    crates: tuple[str, ...]
    binaries: tuple[str, ...]
    target: str
    build_std: str
    """Crates of the standard library that are built along; empty: the toolchain's own are linked."""
    std_features: str
    rustflags: tuple[str, ...]
    suffix: str = ""
    """Of the linked file: `.efi` for UEFI."""
    environment: Mapping[str, str] = field(default_factory=dict)

    def facts(self) -> dict[str, str]:
        """What of it belongs to the action's key."""
        return {
            "crates": " ".join(self.crates), "binaries": " ".join(self.binaries), "target": self.target,
            "std": f"{self.build_std} {self.std_features}", "flags": " ".join((*self.rustflags, TRIM)),
            **{f"environment {name}": value for name, value in self.environment.items()},
        }


@dataclass(frozen=True)
class CargoPlace:
    """Where cargo works: the repository, its target folder, its home, and the network settings it may see."""

    root: Path
    targets: Path
    home: Path
    network: Mapping[str, str]


def claim(place: CargoPlace) -> None:
    """Empties the target folder of a repository that was moved: what build scripts told there names the old place."""
    note = place.targets / "repository"
    if note.exists() and note.read_text() != str(place.root):
        shutil.rmtree(place.targets)
    place.targets.mkdir(parents=True, exist_ok=True)
    note.write_text(str(place.root))


def cargo_build(build: CargoBuild, place: CargoPlace, runner: Runner, out: Path) -> list[str]:
    """Builds, puts the binaries into `out` and returns the source files that cargo's dep-info names."""
    folder = place.targets  # one for all targets: what runs on the host (proc macros) is then compiled once
    environment = {
        "RUSTC": "/usr/bin/rustc", "RUSTC_BOOTSTRAP": "1", "CARGO_TERM_COLOR": "never", "CARGO_INCREMENTAL": "0",
        "CARGO_HOME": str(place.home), "HOME": str(place.home), "CARGO_TARGET_DIR": str(folder),
        "RUSTFLAGS": " ".join(build.rustflags), **place.network, **build.environment,
    }
    argv = [CARGO, "build", "--release", "--locked", "--manifest-path", str(place.root / "Cargo.toml"),
            "--target", build.target, "-Ztrim-paths", "--config", TRIM]
    argv += [f"-Zbuild-std={build.build_std}"] if build.build_std else []
    argv += [f"-Zbuild-std-features={build.std_features}"] if build.std_features else []
    argv += [word for crate in build.crates for word in ("-p", crate)]
    argv += [word for binary in build.binaries for word in ("--bin", binary)]
    runner.run(argv, env=environment)
    found: set[str] = set()
    for binary in build.binaries:
        linked = folder / build.target / "release" / f"{binary}{build.suffix}"
        shutil.copy(linked, out / binary)
        listing = linked.with_name(f"{binary}.d")
        found |= sources(listing.read_text(), place.root)
    return sorted(found)


def sources(listing: str, root: Path) -> set[str]:
    """The files below the repository that a dep-info names, and the manifests and build scripts of their crates.

    Generated files under build/ are left out: they follow from the others. A build script that is not there is named
    too, so that making one counts as a change.
    """
    _, colon, names = listing.partition(": ")
    if not colon:
        raise DamageError("cargo's dep-info does not have the form 'output: inputs'")
    found = set()
    for name in re.findall(r"(?:\\ |\S)+", names):
        path = Path(name.replace("\\ ", " "))
        if path.is_relative_to(root) and not path.is_relative_to(root / "build"):
            found.add(str(path.relative_to(root)))
            crate = next((p for p in path.parents if (p / "Cargo.toml").is_file() and p != root), None)
            if crate is not None:
                found |= {str((crate / leaf).relative_to(root)) for leaf in ("Cargo.toml", "build.rs")}
    return found
