"""The pipeline as one list of actions: from source, recipes, profile and lock to a disk image."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from swiftbuild.core import accounts, policy, tree
from swiftbuild.core.plan import Action, Ref, order
from swiftbuild.core.version import file_time
from swiftbuild.effects.code import digest_of
from swiftbuild.effects.datatool import DataTool
from swiftbuild.effects.process import Runner
from swiftbuild.effects.statcache import StatCache
from swiftbuild.effects.trees import listing
from swiftbuild.engine.run import Work
from swiftbuild.errors import InputError
from swiftbuild.model.profile import Profile
from swiftbuild.model.recipe import DebianSource, PackageLock, Recipe, TreeSource
from swiftbuild.model.release import LOADER_SECURITY
from swiftbuild.model.tree import Content, Node
from swiftbuild.stages import cargo, data, debian, disk, kernel, root, sign, slot
from swiftbuild.stages.cargo import CargoBuild, CargoPlace
from swiftbuild.wire import rootkeys

KERNEL = CargoBuild(
    crates=("swift-kernel",), binaries=("swift-kernel",), target="aarch64-unknown-none-softfloat",
    build_std="core,alloc,compiler_builtins", std_features="compiler-builtins-mem",
    rustflags=("-Clinker=ld.lld-19", "-Cforce-frame-pointers=yes"),
)
LOADER = CargoBuild(
    crates=("swift-loader",), binaries=("swift-loader",), target="aarch64-unknown-uefi", suffix=".efi",
    build_std="core,alloc,compiler_builtins", std_features="compiler-builtins-mem",
    rustflags=("-Clinker=lld-link-19",),
)
USERLAND = CargoBuild(
    crates=(), binaries=(), target="aarch64-unknown-linux-gnu",
    build_std="core,alloc,compiler_builtins", std_features="compiler-builtins-mem",
    rustflags=(
        "--cfg=swift_os", '--cfg=sha2_backend="soft"', '--cfg=sha2_backend_soft="compact"', "-Clinker=ld.lld-19",
        "-Clinker-flavor=ld.lld", "-Crelocation-model=static", "-Cpanic=abort", "-Cforce-unwind-tables=no",
        "-Clink-arg=-zmax-page-size=4096", "-Clink-arg=-zseparate-code", "-Clink-arg=-znoexecstack",
        "-Clink-arg=-znorelro", "-Clink-arg=--gc-sections", "-Clink-arg=--build-id=none",
    ),
    environment={"CARGO_PROFILE_RELEASE_OPT_LEVEL": "s", "CARGO_PROFILE_RELEASE_DEBUG": "false",
                 "CARGO_PROFILE_RELEASE_STRIP": "symbols"},
)
"""As userland/README.md says."""
DATATOOL = CargoBuild(
    crates=("datatool",), binaries=("datatool",), target="x86_64-unknown-linux-gnu", build_std="", std_features="",
    rustflags=(), environment={"CARGO_PROFILE_RELEASE_LTO": "off", "CARGO_PROFILE_RELEASE_CODEGEN_UNITS": "16",
                                  "CARGO_PROFILE_RELEASE_DEBUG": "false", "CARGO_PROFILE_RELEASE_STRIP": "symbols"},
)
"""For this machine: what reads and writes data volumes. It runs for moments, so it is compiled quickly."""
RUST_TOOLS = ("rustc-web", "cargo-web", "rust-web-src")
WORKSPACE_FILES = ("Cargo.toml", "Cargo.lock")
ROOT_KEYS_VARIABLE = "SWIFT_ROOT_KEYS"
"""The loader's build reads the root public keys and their threshold from it (wire/rootkeys.py)."""
PROFILE_VARIABLE = "SWIFT_PROFILE"
"""The only profile that the loader boots."""
SECURITY_VARIABLE = "SWIFT_LOADER_SECURITY"
"""Its own security version."""
COMPRESS = ("/usr/bin/zstd", "-q", "-10", "--single-thread", "--force")


@dataclass(frozen=True)
class Settings:
    """Everything that decides what an image holds."""

    repository: Path
    profile: Profile
    recipes: tuple[Recipe, ...]
    """Of the profile's packages."""
    programs: tuple[TreeSource, ...]
    """Sources of every recipe of the tree: programs are built together, for all profiles."""
    lock: PackageLock
    version: str
    tools: Mapping[str, str]
    """Debian package → version."""
    signer: sign.Signer
    forbidden: policy.Known | None = None
    """What the keys must not sign; None: they are throw-away."""
    revokes_older: bool = False
    """Once the release is good, older ones boot no more."""
    signed_at: int = 0
    """Seconds since 1970-01-01 UTC; 0: not told."""
    access: accounts.Access = field(default_factory=lambda: accounts.Access({}, ()))


@dataclass(frozen=True)
class Doors:
    """The outside: children, the Debian archive, the place where cargo works."""

    runner: Runner
    archive: debian.Archive
    cargo: CargoPlace


class Planner:
    """Makes the actions; the way of data reads from top to bottom."""

    def __init__(self, settings: Settings, doors: Doors, stats: StatCache) -> None:
        self.s = settings
        self.doors = doors
        self._stats = stats
        self.name = settings.profile.name
        self.time = file_time(settings.version)
        self.logins = accounts.built_in(settings.profile, settings.access)

    def _facts(self, stage: str, tools: Iterable[str] = (), **more: object) -> dict[str, str]:
        package = self.s.repository / "pipeline" / "swiftbuild"
        return {
            "code": digest_of(package, f"stages.{stage}", self._stats),
            **{f"tool {tool}": self.s.tools.get(tool, "not a package of this machine") for tool in tools},
            **{label: value if isinstance(value, str) else json.dumps(value, sort_keys=True)
               for label, value in more.items()},
        }

    def everything(self) -> dict[str, Action]:
        """Every action up to the disk image of the profile."""
        return order([*self.programs(), self.datatool(), *self.packages(), *self.image()])

    # programs of this tree

    def programs(self) -> list[Action]:
        """Kernel, its other forms, loader, userland."""
        label = {"SWIFT_BUILD": f"rustc-{self.s.tools.get('rustc-web', 'unknown').partition('+')[0]}"}
        kernel_build = replace(KERNEL, environment=label)
        trust = {ROOT_KEYS_VARIABLE: rootkeys.text(self.s.signer.roots), PROFILE_VARIABLE: self.name,
                 SECURITY_VARIABLE: str(LOADER_SECURITY)}
        loader_build = replace(LOADER, environment=trust)
        userland_build = replace(
            USERLAND,
            crates=tuple(sorted({source.crate for source in self.s.programs if source.crate})),
            binaries=tuple(sorted({name for source in self.s.programs for name in source.binaries})),
        )
        actions = [
            self._cargo("kernel", "compile the kernel", kernel_build, ("lld-19",)),
            Action(
                "kernel-forms", "check the kernel, make what is loaded of it, its flat Image and symbols",
                self._kernel_forms, ("loadable", "Image", "symbols"), {"kernel": Ref("kernel", "swift-kernel")},
                self._facts("kernel", ["llvm-19"]),
            ),
            self._cargo(f"loader/{self.name}", "compile the UEFI loader", loader_build, ("lld-19",)),
        ]
        if userland_build.binaries:
            actions.append(self._cargo("userland", "compile the userland", userland_build, ("lld-19",)))
        return actions

    def datatool(self) -> Action:
        """The program that makes and reads data volumes."""
        return self._cargo("datatool", "compile the program for data volumes", DATATOOL, ("gcc", "libc6-dev"))

    def _cargo(self, name: str, summary: str, build: CargoBuild, tools: Sequence[str]) -> Action:
        def run(work: Work) -> Iterable[str]:
            return cargo.cargo_build(build, self.doors.cargo, self.doors.runner, work.folder)

        facts = {**self._facts("cargo", (*RUST_TOOLS, *tools)), **build.facts()}
        return Action(name, summary, run, build.binaries, facts=facts, files=WORKSPACE_FILES)

    def _kernel_forms(self, work: Work) -> Iterable[str]:
        forms = (work.out(name) for name in ("loadable", "Image", "symbols"))
        kernel.derive_forms(work.inputs["kernel"], self.doors.runner, *forms)
        return ()

    # packages

    def packages(self) -> list[Action]:
        """One fetch for each Debian package of the profile."""
        names = sorted({r.source.package for r in self.s.recipes if isinstance(r.source, DebianSource)})
        return [self._fetch(name) for name in names]

    def _fetch(self, name: str) -> Action:
        locked = self.s.lock.debian.get(name)
        if locked is None:
            raise InputError(f"packages/lock.toml: no Debian package '{name}'",
                             hint=f"swiftbuild package update {name} writes the lock")

        def run(work: Work) -> Iterable[str]:
            fetched = debian.fetch(name, locked, self.doors.archive, work.folder / "fetch", work.out("package.deb"))
            work.out("package.json").write_bytes(fetched.to_json())
            return ()

        return Action(f"debian/{name}", f"fetch {name} from Debian", run, ("package.deb", "package.json"),
                      facts=self._facts("debian", lock=locked.model_dump()))

    # the image

    def nodes(self) -> tuple[Node, ...]:
        """The manifest of the root tree."""
        generated = {**accounts.account_files(), **accounts.identity_files(self.s.profile, self.s.version, self.logins)}
        nodes = [*tree.SKELETON, *(tree.text_node(path, text) for path, text in generated.items())]
        nodes.append(Node("/etc/shadow", "file", 0o600, content=Content("shadow"), origin=tree.GENERATED))
        if self.s.access.ssh_keys:
            nodes.append(tree.text_node("/root/.ssh/authorized_keys", "\n".join(self.s.access.ssh_keys) + "\n", 0o600))
        return tree.assemble([*nodes, *(node for recipe in self.s.recipes for node in tree.recipe_nodes(recipe))])

    def release(self, *, signed: bool) -> dict[str, Action]:
        """Every action up to the release: the slot image, signed or yet to be."""
        return order([*self.programs(), *self.packages(), *self.base(), *([self.signed()] if signed else [])])

    def base(self) -> list[Action]:
        """Root, verity, and the slot image that nobody has signed."""
        erofs = Ref(f"root/{self.name}", "root.erofs")
        verity = {"section": Ref(f"verity/{self.name}", "verity"), "root": Ref(f"verity/{self.name}", "root")}
        loader = Ref(f"loader/{self.name}", "swift-loader")
        profile = self.s.profile
        return [
            self._root(),
            Action(f"verity/{self.name}", "hash the base", self._verity, ("verity", "root"), {"erofs": erofs},
                   self._facts("slot", profile=profile.name)),
            Action(
                f"slot/{self.name}", "assemble the slot image", self._slot, ("slot.img", "slot.json"),
                {"kernel": Ref("kernel-forms", "loadable"), "symbols": Ref("kernel-forms", "symbols"),
                 "loader": loader, "erofs": erofs, **verity},
                self._facts("slot", **self._about(), dev=self._dev(), base=profile.base, size=profile.disk.base_mib,
                            revokes_older=self.s.revokes_older, signed_at=self.s.signed_at),
            ),
        ]

    def _about(self) -> dict[str, str]:
        profile = self.s.profile
        return {"profile": profile.name, "version": self.s.version, "rollback": str(profile.rollback_index)}

    def signed(self) -> Action:
        """The slot image with key set and signatures."""
        return Action(
            f"signed/{self.name}", "sign the slot image", self._sign, ("slot.img",),
            {"slot": Ref(f"slot/{self.name}", "slot.img")},
            self._facts("sign", key_set=hashlib.sha256(self.s.signer.key_set).hexdigest(),
                        keys=[key.hex() for key in self.s.signer.keys],
                        forbidden=self.s.forbidden.facts() if self.s.forbidden else {}),
        )

    def image(self) -> list[Action]:
        """The signed slot image, the disk, and its compressed form where a rescue system will write it."""
        profile = self.s.profile
        needs = {"slot": Ref(f"signed/{self.name}", "slot.img"), "loader": Ref(f"loader/{self.name}", "swift-loader"),
                 "data": Ref(f"data/{self.name}", "data.img")}
        actions = [
            *self.base(), self.signed(), self._data(),
            Action(
                f"disk/{self.name}", "assemble the disk image", self._disk, ("disk.img", "disk.json"), needs,
                self._facts("disk", **self._about(), sizes=profile.disk.model_dump(), time=self.time),
            ),
        ]
        if profile.rescue_device:
            actions.append(Action(
                f"compressed/{self.name}", "compress the disk image", self._compress, ("disk.img.zst",),
                {"disk": Ref(f"disk/{self.name}", "disk.img")},
                {"tool zstd": self.s.tools.get("zstd", ""), "command": " ".join(COMPRESS)},
            ))
        return actions

    def _root(self) -> Action:
        nodes = self.nodes()
        contents = [node.content for node in nodes if node.content is not None]
        needs = {f"binary {c.name}": Ref("userland", c.name) for c in contents if c.kind == "binary"}
        needs |= {f"package {c.package}": Ref(f"debian/{c.package}", "package.deb")
                  for c in contents if c.kind == "debian"}
        files = tuple(sorted({c.name for c in contents if c.kind == "beside"}))
        for name in files:
            if not (self.s.repository / name).is_file():
                raise InputError(f"{'/'.join(name.split('/')[:2])}/recipe.toml: there is no file {name}",
                                 hint="'from' names a binary of the source, or a file beside the recipe")
        listing = [{**asdict(node), "content": node.content and _told(node.content)} for node in nodes]

        def run(work: Work) -> Iterable[str]:
            given = root.RootInput(
                profile=self.name, nodes=nodes, repository=self.s.repository, file_time=self.time,
                binaries={label.removeprefix("binary "): p for label, p in work.inputs.items() if "binary " in label},
                packages={label.removeprefix("package "): p for label, p in work.inputs.items() if "package " in label},
                passwords=self.logins, hashes=self.s.access.hashes,
            )
            root.build_root(given, self.doors.runner, work.folder, work.out("root.erofs"), work.out("root.json"))
            shutil.rmtree(work.folder / "tree")
            return ()

        facts = self._facts("root", ["erofs-utils", "fakeroot"], nodes=_digest(listing), time=self.time,
                            profile=self.name, passwords=self.logins, hashes=dict(self.s.access.hashes))
        return Action(f"root/{self.name}", "make the EROFS root", run, ("root.erofs", "root.json"), needs, facts, files)

    def _verity(self, work: Work) -> Iterable[str]:
        erofs = work.inputs["erofs"]
        slot.build_verity(self.name, erofs, erofs.name, work.out("verity"), work.out("root"))
        return ()

    def _slot(self, work: Work) -> Iterable[str]:
        profile = self.s.profile
        given = slot.SlotInput(
            profile=profile.name, version=self.s.version, rollback_index=profile.rollback_index, dev=self._dev(),
            base_on_disk=profile.base == "disk", revokes_older=self.s.revokes_older, signed_at=self.s.signed_at,
            slot_size=profile.disk.base_mib << 20, kernel=work.inputs["kernel"],
            symbols=work.inputs["symbols"], loader=work.inputs["loader"], erofs=work.inputs["erofs"],
        )
        slot.build_slot(given, work.inputs["section"], work.inputs["root"], work.out("slot.img"), work.out("slot.json"))
        return ()

    def _sign(self, work: Work) -> Iterable[str]:
        sign.sign_slot(work.inputs["slot"], self.s.signer, work.out("slot.img"), self.s.forbidden)
        return ()

    def _dev(self) -> bool:
        """Marked so: it has built-in passwords, or throw-away keys sign it."""
        return self.s.profile.dev or self.s.signer.dev

    def _data(self) -> Action:
        sizes = self.s.profile.disk
        folder = self.s.repository / sizes.data_from if sizes.data_from else None
        if folder is not None and not folder.is_dir():
            raise InputError(f"pipeline/profiles/{self.name}.toml: there is no folder {sizes.data_from}",
                             hint="'data_from' names a folder of the repository")
        rows = listing(folder) if folder else []
        files = tuple(f"{sizes.data_from}/{name}" for name, kind in rows if kind in {"file", "program"})

        def run(work: Work) -> Iterable[str]:
            given = data.DataInput(owner=self.name, label="data", folder=folder, size=sizes.data_mib << 20,
                                   file_time=self.time, shown=f"data volume of {self.name}")
            tool = DataTool(work.inputs["tool"], self.doors.runner)
            data.build_data(given, tool, work.folder, work.out("data.img"))
            return ()

        facts = self._facts("data", profile=self.name, size=sizes.data_mib, time=self.time, listing=rows)
        return Action(f"data/{self.name}", "make the data volume", run, ("data.img",),
                      {"tool": Ref("datatool", "datatool")}, facts, files)

    def _disk(self, work: Work) -> Iterable[str]:
        profile = self.s.profile
        given = disk.DiskInput(
            profile=profile.name, version=self.s.version, rollback_index=profile.rollback_index, sizes=profile.disk,
            file_time=self.time, slot_image=work.inputs["slot"], loader=work.inputs["loader"], data=work.inputs["data"],
        )
        disk.build_disk(given, work.out("disk.img"), work.out("disk.json"))
        return ()

    def _compress(self, work: Work) -> Iterable[str]:
        self.doors.runner.run([*COMPRESS, str(work.inputs["disk"]), "-o", str(work.out("disk.img.zst"))])
        return ()


def _told(content: Content) -> dict[str, str]:
    """A content as a part of a key: generated text by its digest."""
    return {"kind": content.kind, "name": content.name, "package": content.package,
            "data": hashlib.sha256(content.data).hexdigest()}


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
