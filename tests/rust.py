"""Calls of cargo for tests: the machine's own, by path, with nothing of the caller's."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from swiftbuild.stages.cargo import CargoBuild

ROOT = Path(__file__).resolve().parents[1]
SEED = "1"
"""Of random cases when nobody asks for others: a red test is of a change, not of a day. `make explore` has others."""
CASES = {name: os.environ[name] for name in ("PROPTEST_RNG_SEED", "PROPTEST_CASES") if name in os.environ}
NETWORK = {"http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"}
ENVIRONMENT = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "CARGO": "/usr/bin/cargo", "RUSTC": "/usr/bin/rustc",
    "RUSTC_BOOTSTRAP": "1", "CARGO_TERM_COLOR": "never", "CARGO_HOME": str(ROOT / "build" / "cargo"),
    "HOME": str(ROOT / "build" / "cargo"), "CARGO_TARGET_DIR": str(ROOT / "build" / "target" / "check"),
    # every run is a whole build here; panics tell their line without debug information
    "CARGO_INCREMENTAL": "0", "CARGO_PROFILE_DEV_DEBUG": "false",
    **{name: value for name, value in os.environ.items() if name in NETWORK}, "PROPTEST_RNG_SEED": SEED, **CASES,
}
SECONDS = 1500
"""Three times what all crates' tests take on two loaded cores."""
MANIFEST = ("--locked", "--manifest-path", str(ROOT / "Cargo.toml"))


def cargo(*words: str, program: str = "cargo", env: Mapping[str, str] | None = None) -> str:
    """Runs /usr/bin/PROGRAM and returns what it printed; its words are the failure.

    cargo-fmt and cargo-clippy are programs of their own: cargo would look for them in ~/.cargo/bin first, where rustup
    puts others.
    """
    command = [f"/usr/bin/{program}", *words]
    try:
        done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False, timeout=SECONDS,
                              env={**ENVIRONMENT, **(env or {})})
    except subprocess.TimeoutExpired as late:  # libtest names a test that runs for over a minute
        said = b"".join(stream or b"" for stream in (late.stdout, late.stderr)).decode(errors="replace")
        raise AssertionError(f"$ {' '.join(command)}\nafter {SECONDS} s:\n{said}") from None
    assert done.returncode == 0, f"$ {' '.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def target(build: CargoBuild, crates: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The words and the environment that compile crates the way the image's are."""
    words = ["--target", build.target, f"-Zbuild-std={build.build_std}", f"-Zbuild-std-features={build.std_features}",
             *(word for crate in crates for word in ("-p", crate))]
    return words, {"RUSTFLAGS": " ".join(build.rustflags), **build.environment}
