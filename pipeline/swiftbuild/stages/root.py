"""Manifest → EROFS root by mkfs.erofs.

The files are staged with plain modes and no owners. Owners, groups and modes come from the manifest through a fakeroot
state written for exactly these inodes, so they are the same for root, for any user and under any umask.
"""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from swiftbuild.core.accounts import shadow_file
from swiftbuild.core.libraries import missing
from swiftbuild.core.tree import manifest
from swiftbuild.digest import derive_uuid
from swiftbuild.effects.archive import read_members
from swiftbuild.effects.process import Runner
from swiftbuild.errors import DamageError, InputError
from swiftbuild.model.tree import Content, Node
from swiftbuild.wire import elf

MKFS = "/usr/bin/mkfs.erofs"
OPENSSL = "/usr/bin/openssl"
FAKEROOT = "/usr/bin/fakeroot"
KINDS = {"directory": stat.S_IFDIR, "file": stat.S_IFREG, "link": stat.S_IFLNK}


@dataclass(frozen=True)
class RootInput:
    """The tree, and where its contents lie."""

    profile: str
    nodes: tuple[Node, ...]
    repository: Path
    binaries: Mapping[str, Path]
    packages: Mapping[str, Path]
    file_time: int
    passwords: Mapping[str, tuple[str, str]]
    """User → (password, salt): built in, so no secret."""
    hashes: Mapping[str, str]


def build_root(given: RootInput, runner: Runner, work: Path, image: Path, listing: Path) -> None:
    """Makes the EROFS `image` and its manifest `listing`."""
    tree = work / "tree"
    contents = _contents(given, runner, work)
    _check_programs(given.nodes, contents)
    for node in given.nodes:  # parents come before what lies in them
        _stage(tree, node, contents)
    digests = {path: (len(data), hashlib.sha256(data).hexdigest()) for path, data in contents.items()}
    document = json.dumps(manifest(given.nodes, digests), indent=1).encode()
    state = work / "fakeroot.state"
    state.write_text("".join(_state_line(tree, node) for node in given.nodes))
    uuid = derive_uuid("swift-os erofs uuid", given.profile, hashlib.sha256(document).digest())
    runner.run([FAKEROOT, "-i", str(state), "--", MKFS, "--quiet", f"-T{given.file_time}", f"-U{uuid}", "-x-1",
                str(image), str(tree)])
    listing.write_bytes(document)


def _contents(given: RootInput, runner: Runner, work: Path) -> dict[str, bytes]:
    """Path → bytes of every file."""
    files = [(node.path, node.content) for node in given.nodes if node.content is not None]
    members: dict[tuple[str, str], bytes] = {}
    for package, file in given.packages.items():
        wanted = sorted({c.name for _, c in files if c.kind == "debian" and c.package == package})
        members |= {(package, name): data for name, data in read_members(file, wanted, work, runner).items()}

    def load(content: Content) -> bytes:
        if content.kind == "debian":
            return members[content.package, content.name]
        if content.kind == "shadow":
            return shadow_file({**given.hashes, **_crypt(given.passwords, runner)}).encode()
        if content.kind == "binary":
            return given.binaries[content.name].read_bytes()
        return content.data if content.kind == "text" else (given.repository / content.name).read_bytes()

    return {path: load(content) for path, content in files}


def _check_programs(nodes: tuple[Node, ...], contents: Mapping[str, bytes]) -> None:
    """A program is for AArch64, whole, never writable and executable at once, and has everything that it is linked
    to."""
    programs = {path: elf.read(data, path) for path, data in contents.items() if data.startswith(b"\x7fELF")}
    for path, program in programs.items():
        for segment in program.writable_and_executable():
            raise DamageError(f"{path}: segment at {segment.virtual:#x} is writable and executable",
                              hint="link it without --omagic, and with -z separate-code")
    if problems := missing(nodes, {path: program.linking for path, program in programs.items()}):
        raise InputError("\n".join(problems), hint="'requires' of a recipe names the packages that its programs need")


def _crypt(passwords: Mapping[str, tuple[str, str]], runner: Runner) -> dict[str, str]:
    """SHA-512-crypt of built-in passwords. They stand in the banner, so a command line may hold them too."""
    return {user: runner.run([OPENSSL, "passwd", "-6", "-salt", salt, password]).strip()
            for user, (password, salt) in passwords.items()}


def _stage(tree: Path, node: Node, contents: Mapping[str, bytes]) -> None:
    place = tree / node.path.lstrip("/")
    if node.kind == "directory":
        place.mkdir(mode=0o755)
    elif node.kind == "link":
        place.symlink_to(node.target)
    else:
        place.write_bytes(contents[node.path])


def _state_line(tree: Path, node: Node) -> str:
    """One inode as fakeroot(1) saves it."""
    found = (tree / node.path.lstrip("/")).lstat()
    mode = KINDS[node.kind] | node.mode
    return (f"dev={found.st_dev:x},ino={found.st_ino},mode={mode:o},uid={node.uid},gid={node.gid},"
            f"nlink={found.st_nlink},rdev=0\n")
