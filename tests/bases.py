"""Bases for tests of verified blocks: a profile's own with more files in it, and single bits of them changed."""

from __future__ import annotations

import hashlib
import struct
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from swiftbuild.limits import PAGE
from swiftbuild.model.release import OptionalFlag, SectionType
from swiftbuild.wire import release
from swiftbuild.wire.erofs import Erofs, Node

from tests.variants import rebuilt, slot_image

DATA_LINES = 80_000
NAMES = 150
LONG_NAME = "a-name-that-fills-blocks-of-a-folder-"
DIGESTS_PER_BLOCK = PAGE // 32
UNUSED = [f"/usr/bin/{name}" for name in ("ar", "arch", "ascii", "bc", "bunzip2", "bzcat", "bzip2", "cal")]
"""No test runs these."""
ENTRY_POINT = 24
"""In an ELF header: `e_entry`."""


@dataclass(frozen=True)
class Base:
    """A slot image whose base holds /extra: a long text, a program, two folders of several blocks."""

    raw: bytes
    files: Mapping[str, bytes]
    """Every file of the base."""

    @cached_property
    def image(self) -> Erofs:
        """Its EROFS, when it is not compressed."""
        return Erofs(release.read_slot(self.raw).section(SectionType.EROFS))

    @cached_property
    def nodes(self) -> dict[str, Node]:
        """Its inodes by path."""
        return dict(self.image.walk())

    @property
    def root(self) -> bytes:
        """The hash of its tree."""
        return release.read_slot(self.raw).header.verity_root

    def block_of_inode(self, path: str) -> int:
        """Where an inode is."""
        node = self.nodes[path]
        # a compact inode has 32 bytes, an extended one 64; what follows it is in the same block
        return (node.tail - 32) // PAGE

    def lone_inode(self) -> tuple[str, int]:
        """A file of /extra/inodes whose inode's block holds no inode that a test needs: path and block."""
        inodes = [path for path in self.nodes if path.startswith("/extra/inodes/")]
        others = {self.block_of_inode(path) for path in self.nodes.keys() - {*inodes, *UNUSED}}
        return next((path, block) for path in inodes if (block := self.block_of_inode(path)) not in others)

    def entry_block(self, path: str) -> int:
        """The block of a program that its first instruction is in, which is not the one that it is known by."""
        contents = self.files[path]
        entry = struct.unpack_from("<Q", contents, ENTRY_POINT)[0]
        for at in range(64, 64 + 56 * struct.unpack_from("<H", contents, 56)[0], 56):
            kind, _, offset, virtual, _, size = struct.unpack_from("<IIQQQQ", contents, at)
            if kind == 1 and virtual <= entry < virtual + size and entry - virtual + offset >= PAGE:
                return int(self.nodes[path].raw + (entry - virtual + offset) // PAGE)
        raise AssertionError(f"{path}: no segment holds its entry point behind the first block")

    def flipped(self, *bits: tuple[SectionType, int]) -> bytes:
        """The slot image with a bit changed at these bytes of sections; no digest follows."""
        changed = bytearray(self.raw)
        for kind, at in bits:
            section = release.read_slot(self.raw).header.section(kind)
            assert section and at < section.length
            changed[section.offset + at] ^= 0x10
        return bytes(changed)

    def with_tree(self, *offsets: int) -> Base:
        """With a bit changed at these bytes of superblock and tree, under a section digest that is right for it."""
        slot = release.read_slot(self.raw)
        section = bytearray(slot.section(SectionType.VERITY))
        for at in offsets:
            section[at] ^= 0x10
        return Base(rebuilt(self.raw, {SectionType.VERITY: bytes(section)}), self.files)


def text() -> bytes:
    """Lines that become half by compression."""
    return b"".join(f"{n:06} {hashlib.sha256(n.to_bytes(4)).hexdigest()[:32]}\n".encode() for n in range(DATA_LINES))


def build(image: Path, folder: Path, *options: str, on_disk: bool = False) -> Base:
    """The base of a built image with /extra in it, made by mkfs.erofs with these options."""
    raw = slot_image(image)
    before, tree, after = folder / "before.erofs", folder / "tree", folder / "after.erofs"
    before.write_bytes(release.read_slot(raw).section(SectionType.EROFS))
    _run("/usr/bin/fsck.erofs", f"--extract={tree}", "--preserve-perms", "--no-preserve-owner", str(before))
    for name in ("names", "inodes"):
        (tree / "extra" / name).mkdir(parents=True)
        for number in range(NAMES):
            (tree / "extra" / name / f"{LONG_NAME}{number:03}").write_bytes(b"%03d\n" % number * 100)
    (tree / "extra" / "data").write_bytes(text())
    (tree / "extra" / "program").write_bytes((tree / "usr" / "bin" / "tools").read_bytes())
    (tree / "extra" / "program").chmod(0o755)
    _run("/usr/bin/mkfs.erofs", "--quiet", "--all-root", "-T1767225600", *options, str(after), str(tree))
    files = {f"/{path.relative_to(tree)}": path.read_bytes()
             for path in tree.rglob("*") if path.is_file() and not path.is_symlink()}
    flags = int(OptionalFlag.BASE_ON_DISK) if on_disk else 0
    return Base(rebuilt(raw, {SectionType.EROFS: after.read_bytes()}, flags_optional=flags), files)


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert not done.returncode, f"{' '.join(words)}\n{done.stdout}{done.stderr}"
