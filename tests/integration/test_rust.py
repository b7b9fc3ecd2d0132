"""The Rust crates' own tests on the host: units, properties, vectors, and locks and page cache under loom."""

from __future__ import annotations

import re
import tomllib

import pytest

from tests.rust import MANIFEST, ROOT, cargo

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("cargo")]
WITHOUT = {"memops", "rt"}
"""Nothing in them can run but as a whole program: test_kernel_memory.py and test_userland.py do that."""


def counts(text: str) -> dict[str, int]:
    """Crate → tests that passed, from cargo's words."""
    found: dict[str, int] = {}
    crate = ""
    for line in text.splitlines():
        if match := re.match(r"\s+Running .*/deps/(\w+)-[0-9a-f]+\)", line):
            crate = match[1]
        if match := re.match(r"test result: ok\. (\d+) passed; 0 failed", line):
            found[crate] = found.get(crate, 0) + int(match[1])
    return found


def test_every_pure_crate_has_tests_and_they_pass() -> None:
    # both streams in one, so that a result stands behind the crate that it is of
    text = cargo("-c", 'exec /usr/bin/cargo "$@" 2>&1', "sh", "test", "--no-fail-fast", *MANIFEST, program="sh")
    passed = counts(text)
    members = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["default-members"]
    manifests = [tomllib.loads((ROOT / member / "Cargo.toml").read_text()) for member in members]
    names = {manifest["package"]["name"].replace("-", "_") for manifest in manifests} - WITHOUT
    assert sum(passed.values()) > len(names)
    assert {name for name in names if not passed.get(name)} == set(), passed


def test_the_counter_sees_a_crate_without_tests() -> None:
    rows = (("gpt", 3), ("rt", 0))
    text = "".join(f"     Running unittests src/lib.rs (t/debug/deps/{crate}-0123456789abcdef)\n"
                   f"test result: ok. {passed} passed; 0 failed; 0 ignored\n" for crate, passed in rows)
    assert counts(text) == {"gpt": 3, "rt": 0}


def test_locks_and_page_cache_under_loom() -> None:
    text = cargo("test", "-p", "sync", "-p", "vfs", *MANIFEST, env={"RUSTFLAGS": "--cfg loom"})
    passed = re.findall(r"test result: ok\. (\d+) passed", text)
    assert sum(int(count) for count in passed) > 0


@pytest.mark.update_powercut_test
def test_the_model_of_updates_tries_every_order() -> None:
    """Not beside the cuts of a real life: cargo lets one work in its folder, and another worker would wait."""
    text = cargo("test", "-p", "update", "--lib", *MANIFEST, "tests::")
    assert "every_cut_of_an_install_boots_old_or_new ... ok" in text
    assert "without_any_one_flush_the_sweep_says_no ... ok" in text
