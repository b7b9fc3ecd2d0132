"""A small repository, and players for the tools that would take long: cargo, nm and the Debian archive.

The rest (mkfs.erofs, fakeroot, dpkg-deb, zstd, openssl) is real.
"""

from __future__ import annotations

import re
import shutil
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from swiftbuild.core import keysets
from swiftbuild.core.events import Silent
from swiftbuild.core.plan import Action
from swiftbuild.digest import sha256, sha256_file
from swiftbuild.effects import project
from swiftbuild.effects.keys import Terms, make_folder
from swiftbuild.effects.process import Processes
from swiftbuild.effects.statcache import StatCache
from swiftbuild.effects.store import Store
from swiftbuild.engine.image import Doors, Planner, Settings
from swiftbuild.engine.run import Engine, Outcome
from swiftbuild.model.recipe import TreeSource
from swiftbuild.model.signing import Algorithm, PublicKey, Role, Roots, Signature
from swiftbuild.stages.cargo import CARGO, CargoPlace
from swiftbuild.stages.kernel import NM
from swiftbuild.wire import elf, keyset
from swiftbuild.wire.symbols import KERNEL_BASE

ROOT = Path(__file__).resolve().parents[1]
CRATES = {
    "swift-kernel": ("kernel/kernel", "kernel/shared"), "swift-loader": ("kernel/loader", "kernel/shared"),
    "init": ("userland/init",), "datatool": ("kernel/datafs",),
}
FILES = {
    "VERSION": "0.1.0\n", "Cargo.toml": "[workspace]\n", "Cargo.lock": "version = 4\n",
    "kernel/kernel/kernel.ld": "SECTIONS {}\n", "packages/base/motd": "welcome\n",
    "packages/base/init.service": "exec = /usr/bin/init\n",
    "packages/base/recipe.toml": """\
name = "base"
summary = "the base"
license = "Apache-2.0"
[source]
kind = "tree"
crate = "init"
binaries = ["init"]
[[file]]
from = "init"
to = "/usr/bin/init"
mode = "0755"
[[file]]
from = "motd"
to = "/etc/motd"
[[link]]
path = "/bin"
target = "usr/bin"
[[directory]]
path = "/var/mail"
mode = "2775"
owner = "guest"
group = "tty"
[[service]]
from = "init.service"
""",
    "packages/hello/recipe.toml": """\
name = "hello"
summary = "from Debian"
license = "MIT"
[source]
kind = "debian"
package = "hello"
[[file]]
from = "usr/bin/hello"
to = "/usr/bin/hello"
mode = "4755"
""",
    "pipeline/profiles/test.toml": """\
name = "test"
summary = "a profile for tests"
hostname = "tester"
dev = true
packages = ["base", "hello"]
[disk]
data_mib = 64
[login]
root = { password = "swift", salt = "saltsalt" }
[board]
gic = 2
tables = "fdt"
disk = "virtio-blk"
cpu = "cortex-a72"
cpus = 1
memory_mib = 512
""",
}


def program(seed: str, *, flags: int = 5, machine: int = elf.MACHINE_AARCH64) -> bytes:
    """An ELF that passes as a kernel and as a program, with `seed` as its code."""
    image = struct.pack("<II6Q4sI", 0x14000000, 0, 0, 0, 0, 0, 0, 0, b"ARM\x64", 0) + seed.encode()
    at = elf.HEADER.size + elf.PROGRAM.size
    head = elf.HEADER.pack(b"\x7fELF", 2, 1, 1, 0, 0, bytes(7), 2, machine, 1, KERNEL_BASE, elf.HEADER.size, 0, 0, 64,
                           56, 1, 64, 0, 0)
    return head + elf.PROGRAM.pack(1, flags, at, KERNEL_BASE, 0x4020_0000, len(image), 4096, 4096) + image


@dataclass
class Tools:
    """`Runner`: plays cargo, nm and datatool, hands everything else to the real one."""

    root: Path
    real: Processes = field(default_factory=lambda: Processes(Silent()))
    broken: Mapping[str, bytes] = field(default_factory=dict)
    """Binary → what the compiler makes instead."""

    def run(self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path = Path("/")) -> str:
        if argv[0] == CARGO:
            self._cargo(list(argv), dict(env or {}))
            return ""
        if Path(argv[0]).is_relative_to(self.root) and argv[1] == "make":  # the program for volumes
            with Path(argv[2]).open("r+b") as file:
                file.write(sha256_file(Path(argv[3])).encode())
            return ""
        if argv[0] == NM:
            return f"kernel::main t {KERNEL_BASE:x} 10\n<A as B>::go T {KERNEL_BASE + 16:x} 4\n"
        return self.real.run(argv, env=env, cwd=cwd)

    def _cargo(self, argv: list[str], env: dict[str, str]) -> None:
        def after(option: str) -> list[str]:
            return [argv[i + 1] for i, word in enumerate(argv) if word == option]

        suffix = ".efi" if "uefi" in after("--target")[0] else ""
        for crate, binary in zip(after("-p"), after("--bin"), strict=True):
            sources = sorted(p for folder in CRATES[crate] for p in (self.root / folder).rglob("*") if p.is_file())
            code = "".join(re.sub(r"//.*", "", p.read_text()).strip() for p in sources)
            out = Path(env["CARGO_TARGET_DIR"], after("--target")[0], "release", f"{binary}{suffix}")
            out.parent.mkdir(parents=True, exist_ok=True)
            seed = sha256(f"{code}{env['RUSTFLAGS']}{env.get('SWIFT_ROOT_KEYS')}".encode())
            out.write_bytes(self.broken.get(binary, program(seed)))
            names = " ".join(str(p).replace(" ", "\\ ") for p in sources if p.suffix in {".rs", ".ld"})
            out.with_name(f"{binary}.d").write_text(f"{out}: {names}\n")


@dataclass
class Archive:
    """A Debian archive with one package in some versions."""

    folder: Path
    versions: dict[str, Path] = field(default_factory=dict)

    def add(self, version: str, text: str, *, links: Mapping[str, str] | None = None,
            hard: Mapping[str, str] | None = None) -> tuple[str, int]:
        """A version of `hello`, with links and hard links; returns its SHA-256 and size."""
        tree = self.folder / f"tree-{version}"
        for name, data in {"DEBIAN/control": f"Package: hello\nVersion: {version}\nArchitecture: arm64\nMaintainer: "
                           "a <a@example.org>\nDescription: none\n".encode(), "usr/bin/hello": program(text)}.items():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_bytes(data)
            (tree / name).parent.chmod(0o755)  # dpkg-deb refuses other modes
        for name, target in (links or {}).items():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).symlink_to(target)
        for name, target in (hard or {}).items():
            (tree / name).hardlink_to(tree / target)
        file = self.folder / f"hello_{version}_arm64.deb"
        Processes(Silent()).run(["/usr/bin/dpkg-deb", "--root-owner-group", "-b", str(tree), str(file)])
        self.versions[version] = file
        return sha256_file(file), file.stat().st_size

    def download(self, package: str, version: str, folder: Path) -> Path | None:
        source = self.versions.get(version)
        if package != "hello" or source is None:
            return None
        folder.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copy(source, folder))

    def newest(self, package: str) -> str | None:
        return max(self.versions, default=None) if package == "hello" else None


class FakeSigner:
    """Keys that come from a number: root, and one release key."""

    dev = False

    def __init__(self, number: int) -> None:
        self._root, self._key = (Ed25519PrivateKey.from_private_bytes(bytes([number, role]) * 16) for role in (1, 2))
        self.roots = Roots.of([self._public(self._root)])
        known = keysets.first([(Role.RELEASE, self._public(self._key))], dev=self.dev, signed_at=0, expires=0)
        message = keyset.signed_message(keyset.digest(keyset.encode_signed(known)))
        self.key_set = keyset.encode(known, [self._signature(self._root, message)])
        self.keys = (self._public(self._key).key_id,)

    def sign(self, message: bytes) -> tuple[Signature, ...]:
        return (self._signature(self._key, message),)

    @staticmethod
    def _public(key: Ed25519PrivateKey) -> PublicKey:
        raw = key.public_key().public_bytes_raw()
        identity = keyset.key_id(Algorithm.ED25519, raw)
        return PublicKey(algorithm=Algorithm.ED25519, key_id=identity, key=raw)

    def _signature(self, key: Ed25519PrivateKey, message: bytes) -> Signature:
        identity = self._public(key).key_id
        return Signature(algorithm=Algorithm.ED25519, key_id=identity, signature=key.sign(message))


@dataclass
class Mill:
    """A small repository and everything that builds it."""

    root: Path
    archive: Archive
    tools: dict[str, str] = field(default_factory=lambda: {"rustc-web": "1", "lld-19": "1", "erofs-utils": "1"})
    keys: FakeSigner = field(default_factory=lambda: FakeSigner(1))
    told: dict[str, Any] = field(default_factory=dict)
    """What the command line says in place of the tree."""
    runner: Tools = field(init=False)

    def __post_init__(self) -> None:
        self.runner = Tools(self.root)

    def plan(self, stats: StatCache, profile: str = "test") -> dict[str, Action]:
        loaded = project.load_profile(self.root, profile)
        recipes = project.load_recipes(self.root, loaded.packages, f"{project.PROFILES}/{profile}.toml")
        settings = Settings(
            repository=self.root, profile=loaded, recipes=recipes, lock=project.load_lock(self.root),
            programs=tuple(r.source for r in recipes if isinstance(r.source, TreeSource)), tools=self.tools,
            signer=self.keys, **{"version": project.version(self.root), **self.told},
        )
        place = CargoPlace(self.root, self.root / "build/target", self.root / "build/cargo", {})
        return Planner(settings, Doors(self.runner, self.archive, place), stats).everything()

    def build(self, *, force: bool = False) -> Outcome:
        """One build as a new process would do it: with what stands on the disk only."""
        stats, store = self._open()
        outcome = Engine(self.root, store, stats, Silent(), force=force).run(self.plan(stats))
        stats.save()
        return outcome

    def preview(self) -> set[str]:
        """The actions that a dry run calls stale."""
        stats, store = self._open()
        steps = Engine(self.root, store, stats, Silent()).preview(self.plan(stats))
        return {step.action for step in steps if step.stale}

    def object(self, outcome: Outcome, name: str) -> Path:
        """The store's file of an output: `slot/test/slot.img`."""
        digest = next(artifact.digest for ref, artifact in outcome.artifacts.items() if str(ref) == name)
        return self._open()[1].path(digest)

    def _open(self) -> tuple[StatCache, Store]:
        stats = StatCache(self.root / "build" / "stat-cache.json")
        return stats, Store(self.root / "build" / "store", stats)


def mill(folder: Path) -> Mill:
    """A fresh repository with source, recipes, profile and lock."""
    root = folder / "repository"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    for place in {place for places in CRATES.values() for place in places}:
        (root / place / "src").mkdir(parents=True)
        (root / place / "Cargo.toml").write_text(f'[package]\nname = "{Path(place).name}"\n')
        (root / place / "src" / "main.rs").write_text(f"fn main() {{ {Path(place).name}() }}\n")
    shutil.copytree(ROOT / "pipeline" / "swiftbuild", root / "pipeline" / "swiftbuild",
                    ignore=shutil.ignore_patterns("__pycache__"))
    archive = Archive(folder)
    digest, size = archive.add("1.0-1", "hello")
    write_lock(root, "1.0-1", digest, size)
    return Mill(root, archive)


def write_lock(root: Path, version: str, digest: str, size: int) -> None:
    """packages/lock.toml with the one package."""
    (root / project.LOCK).write_text(f'[debian.hello]\nversion = "{version}"\nsha256 = "{digest}"\nsize = {size}\n')


def make_keys(folder: Path) -> tuple[str, ...]:
    """A key folder as a first use makes it."""
    made = make_folder(folder, name="", terms=Terms(dev=True, signed_at=0), passphrase=None)
    return tuple(root.public.key.hex() for root in made.root_keys())
