"""Verity trees: veritysetup makes the same and accepts ours."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path
from uuid import UUID

import pytest
from swiftbuild.errors import DamageError
from swiftbuild.wire import verity

ID, SALT = UUID("11111111-2222-8333-8444-555555555555"), bytes(range(32))


def data(blocks: int) -> bytes:
    """Random blocks."""
    return random.Random(blocks).randbytes(blocks * 4096)  # noqa: S311 - test data


@pytest.mark.parametrize("blocks", [1, 2, 128, 129, 300])
def test_veritysetup_makes_the_same_and_verifies(tmp_path: Path, blocks: int) -> None:
    image, tree_file = tmp_path / "data", tmp_path / "tree"
    image.write_bytes(data(blocks))
    made = subprocess.run(
        ["/usr/sbin/veritysetup", "format", image, tree_file, f"--salt={SALT.hex()}", f"--uuid={ID}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    tree = verity.build(data(blocks), uuid=ID, salt=SALT)
    assert f"Root hash:      \t{tree.root.hex()}" in made.stdout
    assert tree_file.read_bytes().rstrip(b"\0") == tree.section.rstrip(b"\0")
    tree_file.write_bytes(tree.section)
    verify = ["/usr/sbin/veritysetup", "verify", str(image), str(tree_file)]
    subprocess.run([*verify, tree.root.hex()], check=True, capture_output=True)
    assert subprocess.run([*verify, "00" * 32], check=False, capture_output=True).returncode != 0


def test_check_accepts_its_own_and_refuses_every_kind_of_damage() -> None:
    blocks = data(130)
    tree = verity.build(blocks, uuid=ID, salt=SALT)
    verity.check(blocks, tree.section, tree.root)
    for at in (0, 12, 32, 64, 72, 80, 100, 300, 4096, 9000):
        bad = bytearray(tree.section)
        bad[at] ^= 1
        with pytest.raises(DamageError):
            verity.check(blocks, bytes(bad), tree.root)
    changed = bytearray(blocks)
    changed[5000] ^= 1
    for wrong, section, root in [
        (bytes(changed), tree.section, tree.root),
        (blocks, tree.section, bytes(32)),
        (blocks[:-4096], tree.section, tree.root),
        (blocks, tree.section[:-1], tree.root),
    ]:
        with pytest.raises(DamageError):
            verity.check(wrong, section, root)
