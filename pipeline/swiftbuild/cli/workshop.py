"""Wires a build: store, lock, children, archive; shared by `image`, `build` and `package`."""

from __future__ import annotations

import contextlib
import functools
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from swiftbuild.cli.passphrase import passphrase_of
from swiftbuild.cli.progress import Reporter, reporter
from swiftbuild.cli.session import Session
from swiftbuild.core.accounts import Access
from swiftbuild.core.plan import Action, Artifact, Ref, order
from swiftbuild.core.policy import Known
from swiftbuild.core.tools import TOOLS, require
from swiftbuild.effects import project
from swiftbuild.effects.apt import Apt
from swiftbuild.effects.keys import FolderSigner, KeyFolder, Terms, make_folder
from swiftbuild.effects.lock import exclusive
from swiftbuild.effects.process import Processes
from swiftbuild.effects.statcache import StatCache
from swiftbuild.effects.store import Store
from swiftbuild.effects.versions import tool_versions
from swiftbuild.engine.image import Doors, Planner, Settings
from swiftbuild.engine.run import Engine, Outcome, Step
from swiftbuild.errors import InputError, RefusedError, UsageError
from swiftbuild.limits import GIB, STORE_BYTES_DEFAULT
from swiftbuild.model.profile import Profile
from swiftbuild.model.recipe import Recipe, TreeSource
from swiftbuild.model.signing import KeySetFlag
from swiftbuild.stages.cargo import CargoPlace, claim
from swiftbuild.wire import keyset

NETWORK_VARIABLES = (
    "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR",
    "CARGO_HTTP_CAINFO", "CARGO_HTTP_PROXY", "CARGO_NET_OFFLINE", "CARGO_NET_RETRY",
)
"""What children may see of the caller's environment: how to reach the network, nothing that shapes an output."""
DEV_TERMS = Terms(dev=True, signed_at=0)
"""Of keys/dev: its sets say nothing of when they were made, so that they are alike but for their keys."""
KEYS_VARIABLE = "SWIFTBUILD_KEYS"
STORE_VARIABLE = "SWIFTBUILD_STORE_GIB"


@dataclass(frozen=True)
class ReleaseTerms:
    """What a release's header says that neither tree nor profile does."""

    version: str = ""
    """In place of the tree's."""
    revokes_older: bool = False
    signed_at: int = 0


@dataclass
class Workshop:
    """One build tree with everything that a build needs."""

    session: Session
    report: Reporter
    stats: StatCache
    store: Store
    processes: Processes
    apt: Apt
    network: Mapping[str, str]

    def profile(self, name: str, *, no_dev: bool = False) -> Profile:
        """One profile, as if it were not for the desk when `no_dev` says so."""
        loaded = project.load_profile(self.session.root, name)
        return loaded.model_copy(update={"dev": loaded.dev and not no_dev})

    def plan(
        self, profile: str, access: Access, extra: Sequence[str] = (), *, no_dev: bool = False
    ) -> dict[str, Action]:
        """The actions of one profile's image, with `extra` packages."""
        root = self.session.root
        loaded = self.profile(profile, no_dev=no_dev)
        where = f"{project.PROFILES}/{loaded.name}.toml"
        for name in extra:
            project.require_package(root, name, "--with")
            if name in loaded.packages or list(extra).count(name) > 1:
                raise UsageError(f"--with {name}: the image has it without that")
        recipes = project.load_recipes(root, (*loaded.packages, *extra), where)
        self._require_own_kind(loaded)
        return self._planner(loaded, recipes, access).everything()

    def release_plan(self, profile: Profile, access: Access, terms: ReleaseTerms, *, signed: bool) -> dict[str, Action]:
        """The actions of a profile's release."""
        root = self.session.root
        recipes = project.load_recipes(root, profile.packages, f"{project.PROFILES}/{profile.name}.toml")
        self._require_own_kind(profile)
        return self._planner(profile, recipes, access, terms).release(signed=signed)

    def _require_own_kind(self, profile: Profile) -> None:
        """Told before anything is compiled; what really lies in an image is looked at before it is signed."""
        self.folder.roots()  # a folder that is none is told as that
        if profile.dev and not self.signer.dev:
            raise RefusedError(f"profile {profile.name} is dev = true: it has built-in passwords, and the keys in use "
                               "are no throw-away", hint="--no-dev leaves them out; --password-hash: who may log in")

    def package_plan(self, recipe: Recipe, wanted: set[str]) -> dict[str, Action]:
        """The actions, of those named, that build one package."""
        root = self.session.root
        planner = self._planner(project.load_profile(root, project.profiles(root)[0]), (recipe,), Access({}, ()))
        return {action.name: action for action in (*planner.programs(), *planner.packages()) if action.name in wanted}

    def datatool_plan(self) -> dict[str, Action]:
        """The one action that builds the program for data volumes."""
        root = self.session.root
        planner = self._planner(project.load_profile(root, project.profiles(root)[0]), (), Access({}, ()))
        return order([planner.datatool()])

    def _planner(
        self, profile: Profile, recipes: tuple[Recipe, ...], access: Access, terms: ReleaseTerms | None = None
    ) -> Planner:
        told = terms or ReleaseTerms()
        root = self.session.root
        tools = tool_versions(TOOLS, self.processes)
        require(tools)
        every = [project.load_recipe(root, name, "packages") for name in project.recipes(root)]
        settings = Settings(
            repository=root,
            profile=profile,
            recipes=recipes,
            programs=tuple(recipe.source for recipe in every if isinstance(recipe.source, TreeSource)),
            lock=project.load_lock(root),
            version=told.version or project.version(root),
            tools=tools,
            signer=self.signer,
            forbidden=forbidden(self.session, self.folder),
            revokes_older=told.revokes_older,
            signed_at=told.signed_at,
            access=access,
        )
        return Planner(settings, Doors(self.processes, self.apt, self._place()), self.stats)

    @functools.cached_property
    def folder(self) -> KeyFolder:
        """The session's key folder."""
        return key_folder(self.session)

    @functools.cached_property
    def signer(self) -> FolderSigner:
        """The release keys of the session's key folder."""
        return FolderSigner(self.folder, passphrase_of(self.session))

    def preview(self, actions: Mapping[str, Action], *, force: bool) -> list[Step]:
        """What `run` would do."""
        return self._engine(force=force).preview(actions)

    def run(self, actions: Mapping[str, Action], *, force: bool, locked: bool = False) -> Outcome:
        """Brings the actions up to date, then keeps the store within its size."""
        claim(self._place())
        outcome = self._engine(force=force).run(actions)
        for ref, artifact in outcome.artifacts.items():
            if ref.output == "package.json":
                self._check_package(artifact, locked=locked)
        self.store.trim(self._limit(), {artifact.digest for artifact in outcome.artifacts.values()})
        return outcome

    def path(self, outcome: Outcome, action: str, output: str) -> tuple[Path, Artifact]:
        """The file of one output."""
        artifact = outcome.artifacts[Ref(action, output)]
        return self.store.path(artifact.digest), artifact

    def _place(self) -> CargoPlace:
        root = self.session.root
        return CargoPlace(root, root / "build" / "target", root / "build" / "cargo", self.network)

    def _engine(self, *, force: bool) -> Engine:
        return Engine(self.session.root, self.store, self.stats, self.report, force=force,
                      stop=self.processes.stop)

    def _limit(self) -> int:
        text = self.session.environment.get(STORE_VARIABLE, "")
        if text and not text.isdigit():
            raise UsageError(f"{STORE_VARIABLE}={text}: not a whole number of GiB")
        return int(text) * GIB if text else STORE_BYTES_DEFAULT

    def _check_package(self, artifact: Artifact, *, locked: bool) -> None:
        import json

        fetched = json.loads(self.store.path(artifact.digest).read_bytes())
        if fetched["locked"]:
            return
        text = f"{fetched['name']}: the archive no longer has the locked version; {fetched['version']}"
        if locked:
            raise InputError(f"{text} is the newest, and --locked refuses it",
                             hint="swiftbuild package update moves the lock")
        self.report.warning(f"{text} was taken; 'swiftbuild package update' moves the lock to it")


def forbidden(session: Session, place: KeyFolder) -> Known | None:
    """What the keys of a folder must not sign; None: they are throw-away, and may sign anything that is marked so."""
    raw = place.key_set()
    if raw is None or keyset.decode(raw).key_set.flags & KeySetFlag.DEV:
        return None  # without a key set nothing is signed
    profiles = [project.load_profile(session.root, name) for name in project.profiles(session.root)]
    pairs = [pair for profile in profiles for pair in (profile.login.root, profile.login.guest) if pair]
    dev = KeyFolder(session.root / "keys" / "dev").listed()
    return Known(place.roots(), tuple(sorted({pair.password for pair in pairs})), tuple(key.public.key for key in dev))


def key_place(session: Session) -> tuple[Path, bool]:
    """The key folder in use, and whether its keys are throw-away: the one that SWIFTBUILD_KEYS names, else keys/dev."""
    named = session.environment.get(KEYS_VARIABLE)
    return (Path(named), False) if named else (session.root / "keys" / "dev", True)


def key_folder(session: Session) -> KeyFolder:
    """The key folder in use; throw-away keys are made on first use."""
    place, dev = key_place(session)
    if dev and not KeyFolder(place).listed("root"):
        return make_folder(place, name="", terms=DEV_TERMS, passphrase=None)
    return KeyFolder(place)


@contextlib.contextmanager
def workshop(session: Session) -> Iterator[Workshop]:
    """Opens the build tree for one command; one command at a time."""
    build = session.root / "build"
    report = reporter(session.verbosity)
    processes = Processes(report)
    previous = signal.signal(signal.SIGTERM, _interrupt)
    try:
        with exclusive(build / "lock", report):
            stats = StatCache(build / "stat-cache.json")
            network = {name: session.environment[name] for name in NETWORK_VARIABLES if name in session.environment}
            store = Store(build / "store", stats)
            apt = Apt(build / "apt", processes, network)
            try:
                yield Workshop(session, report, stats, store, processes, apt, network)
            finally:
                stats.save()
    except KeyboardInterrupt:
        processes.stop()
        raise
    finally:
        signal.signal(signal.SIGTERM, previous)
        report.close()


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
