"""The EROFS reader against mkfs.erofs and dump.erofs, and against damage."""

from __future__ import annotations

import contextlib
import os
import random
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from swiftbuild.errors import DamageError
from swiftbuild.wire.erofs import Erofs, crc32c


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of sizes around blocks, a large directory, links, a FIFO, special rights."""
    root = tmp_path_factory.mktemp("erofs") / "root"
    make = random.Random(3)  # noqa: S311 - test data
    for folder in ("bin", "etc", "empty", "many"):
        (root / folder).mkdir(parents=True)
    for size in (0, 1, 4000, 4096, 4097, 100_000):
        (root / "bin" / f"size{size}").write_bytes(make.randbytes(size))
    for index in range(300):
        (root / "many" / f"a-rather-long-file-name-{index}").write_text(str(index))
    (root / "bin" / "size1").chmod(0o4755)
    (root / "link").symlink_to("bin/size1")
    os.link(root / "bin" / "size4096", root / "hard")
    os.mkfifo(root / "fifo", 0o600)
    return root


@pytest.fixture(scope="module", params=["plain", "chunked"])
def image(request: pytest.FixtureRequest, tree: Path) -> Path:
    """The tree as an image."""
    out = tree.parent / f"{request.param}.img"
    options = ["--chunksize=4096"] if request.param == "chunked" else []
    subprocess.run(
        ["/usr/bin/mkfs.erofs", "--quiet", "-T", "1000000000", "-U", "11111111-2222-8333-8444-555555555555", *options,
         str(out), str(tree)],
        check=True, capture_output=True,
    )  # fmt: skip
    return out


def test_everything_is_read_back(image: Path, tree: Path) -> None:
    erofs = Erofs(image.read_bytes())
    found = dict(erofs.walk())
    wanted = ["/", *("/" + str(path.relative_to(tree)) for path in tree.rglob("*"))]
    assert sorted(found) == sorted(wanted)
    for path, node in found.items():
        source = tree / path.lstrip("/")
        there = source.lstat()
        assert (node.mode, node.uid, node.gid) == (there.st_mode, there.st_uid, there.st_gid), path
        assert node.mtime == 1_000_000_000
        if stat.S_ISREG(node.mode):
            assert erofs.contents(node) == source.read_bytes(), path
            assert node.links == there.st_nlink
        if stat.S_ISLNK(node.mode):
            assert erofs.contents(node).decode() == str(source.readlink())


def test_dump_erofs_sees_the_same(image: Path) -> None:
    erofs = Erofs(image.read_bytes())
    shown = subprocess.run(["/usr/bin/dump.erofs", "-s", str(image)], capture_output=True, text=True, check=True).stdout
    assert f"{erofs.uuid}" in shown
    assert f"root nid:                          {erofs.root}" in shown
    assert f"inode count:                       {erofs.inodes}" in shown
    nodes = dict(erofs.walk())
    one = subprocess.run(["/usr/bin/dump.erofs", "--path=/bin/size1", str(image)], capture_output=True, text=True,
                         check=True).stdout  # fmt: skip
    assert f"NID: {nodes['/bin/size1'].nid} " in one
    assert "Links: 1 " in one and "Access: 0755" in one  # it does not show the set-user-ID bit


def test_the_crc_is_castagnoli() -> None:
    assert crc32c(b"123456789") ^ 0xFFFF_FFFF == 0xE3069283


def test_every_damaged_byte_of_the_superblock_is_found(image: Path) -> None:
    data = bytearray(image.read_bytes())
    for at in range(1024, 1024 + 128, 3):
        data[at] ^= 1
        if at != 1024 + 8:  # the bit that says there is a checksum
            with pytest.raises(DamageError):
                Erofs(data)
        data[at] ^= 1


@settings(max_examples=200)
@given(st.data())
def test_any_damage_is_read_or_refused(image: Path, data: st.DataObject) -> None:
    raw = bytearray(image.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(4096 if len(raw) > 8192 else 0, len(raw) - 1))
        raw[at] = data.draw(st.integers(0, 255))
    with contextlib.suppress(DamageError):
        erofs = Erofs(raw)
        for _, node in erofs.walk():
            erofs.contents(node)


def test_a_cut_image_is_refused(image: Path) -> None:
    with pytest.raises(DamageError, match="blocks"):
        Erofs(image.read_bytes()[:-4096])
    with pytest.raises(DamageError, match="lie outside"):
        Erofs(bytes(100))
