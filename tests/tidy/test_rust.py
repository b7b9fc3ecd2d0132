"""Rust is formatted, and clippy has nothing to say: on the host, and as the image's own programs are compiled."""

from __future__ import annotations

import tomllib

import pytest
from swiftbuild.engine.image import KERNEL, LOADER, USERLAND
from swiftbuild.stages.cargo import CargoBuild

from tests.rust import MANIFEST, ROOT, cargo, target

USERLAND_CRATES = sorted(
    member.rpartition("/")[2]
    for member in tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["members"]
    if member.startswith("userland/")
)


def test_rustfmt() -> None:
    cargo("fmt", "--all", "--check", "--manifest-path", str(ROOT / "Cargo.toml"), program="cargo-fmt")


@pytest.mark.slow
@pytest.mark.xdist_group("cargo")
def test_clippy_on_the_host() -> None:
    cargo("clippy", "--quiet", "--all-targets", *MANIFEST, "--", "-Dwarnings", program="cargo-clippy")


@pytest.mark.slow
@pytest.mark.xdist_group("cargo")
@pytest.mark.parametrize(("build", "crates"), [(KERNEL, KERNEL.crates), (LOADER, LOADER.crates),
                                               (USERLAND, USERLAND_CRATES)], ids=["kernel", "loader", "userland"])
def test_clippy_on_the_target(build: CargoBuild, crates: tuple[str, ...]) -> None:
    words, environment = target(build, crates)
    cargo("clippy", "--quiet", *MANIFEST, *words, "--", "-Dwarnings", program="cargo-clippy", env=environment)
