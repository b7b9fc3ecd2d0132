"""The wiring of `swiftbuild verify`: files → releases → machines to prove them on → runs → a signed statement."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from swiftbuild.cli.session import Session, naming
from swiftbuild.errors import DamageError, InputError, RefusedError, UsageError

if TYPE_CHECKING:
    from swiftbuild.core.proof import Run
    from swiftbuild.effects.keys import FolderKey, KeyFolder, Passphrase
    from swiftbuild.model.proof import Harness, ReleaseRecord, RunRecord, Statement
    from swiftbuild.scenarios.catalogue import Scenario
    from swiftbuild.scenarios.prove import Task
    from swiftbuild.scenarios.subject import Subject

FOLDER = "build/verify"


@dataclass(frozen=True)
class Given:
    """A release to prove: its bytes, the file that they are from, and a disk of its profile."""

    path: Path
    raw: bytes
    image: Path

    @property
    def profile(self) -> str:
        """What it is made for."""
        return profile_of(self.raw)


@dataclass(frozen=True)
class Call:
    """What was asked for, but for the releases."""

    entries: Sequence[Scenario]
    scope: Literal["full", "bounded", "chosen"]
    seed: int | None
    jobs: int
    force: bool
    password_file: Path | None
    junit: Path | None


@contextlib.contextmanager
def alone_in(session: Session) -> Iterator[Path]:
    """One verification at a time in one tree, and a folder for what it starts from, which is gone behind it.

    Raises RefusedError: another is under way.
    """
    from swiftbuild.effects.lock import HeldError, alone

    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(alone(session.root / FOLDER / "lock"))
        except HeldError as held:
            raise RefusedError(f"another verification (process {held.pid or '?'}) is under way in this tree",
                               hint="wait for it, or work in another clone") from None
        place = session.root / FOLDER
        yield Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=".subjects-", dir=place)))


def given(session: Session, files: list[Path], profiles: list[str], place: KeyFolder) -> list[Given]:
    """The releases that are meant, each as a machine would install it.

    Raises UsageError: two of one profile; DamageError: one has a fault, by `release verify`'s rules.
    """
    from swiftbuild.cli.release import MAGIC, read_release
    from swiftbuild.effects import project
    from swiftbuild.machine.images import locate
    from swiftbuild.machine.media import contents
    from swiftbuild.scenarios.variants import slot_image

    if files and profiles:
        raise UsageError("--profile chooses among the built images; files are named themselves")
    built = session.root / "build" / "images"
    if not files:
        names = profiles or [n for n in project.profiles(session.root) if (built / f"{n}.img").exists()]
        files = [locate(session.root, None, name) for name in names]
        if not files:
            raise UsageError("no images are built", hint="build them: swiftbuild image --profile qemu")
    found: dict[str, Given] = {}
    for path in files:
        with naming(path):
            if bytes(contents(path)[: len(MAGIC)]) == MAGIC:
                raw = read_release(path)
                item = Given(path, raw, locate(session.root, None, profile_of(raw)))
            else:
                item = Given(path, _cut(slot_image(path)), path)
            _require_sound(item.raw, place)
        if item.profile in found:
            raise UsageError(f"{found[item.profile].path} and {path} are both for {item.profile}",
                             hint="one release of a profile is proved at a time")
        found[item.profile] = item
    return list(found.values())


def _require_sound(raw: bytes, place: KeyFolder) -> None:
    """Raises DamageError: a machine would not install it."""
    from swiftbuild.core.verify import faults

    if wrong := faults(raw, place.roots(), at=int(time.time())):
        more = f", and {len(wrong) - 1} more faults" if len(wrong) > 1 else ""
        raise DamageError(f"{wrong[0].text} [{wrong[0].code}]{more}", hint="swiftbuild release verify tells all")


def _cut(raw: bytes) -> bytes:
    """A slot's bytes as far as the release goes."""
    from swiftbuild.wire import release

    return raw[: release.decode_header(raw[: release.HEADER_SIZE]).min_slot_size]


def evidence_keys(place: KeyFolder) -> list[FolderKey]:
    """Those that sign the record, before hours go into what it is about."""
    from swiftbuild.model.signing import Role
    from swiftbuild.wire import keyset

    raw = place.key_set()
    known = keyset.decode(raw).key_set if raw else None
    may = {key.key_id for key in known.of_role(Role.EVIDENCE)} if known else set()
    wanted = known.threshold(Role.EVIDENCE) if known else 1
    here = [key for key in place.listed("evidence") if key.public.key_id in may and key.private.exists()]
    if not wanted or len(here) < wanted:
        raise RefusedError(f"{place.path}: {len(here)} private evidence keys are here, {wanted or 1} must sign",
                           hint="SWIFTBUILD_KEYS names another key folder; --no-record runs without")
    return here[:wanted]


def subjects(
    session: Session, found: list[Given], older: list[Path], place: KeyFolder, folder: Path
) -> list[Subject]:
    """The chains of all releases, their files in a folder.

    Raises UsageError: an older release is of no profile that is to be proved.
    """
    from swiftbuild.cli.release import read_release
    from swiftbuild.cli.workshop import DEV_TERMS
    from swiftbuild.effects.keys import FolderSigner, make_folder
    from swiftbuild.scenarios import subject

    keys = place
    if not (place.key_set() and FolderSigner(place, lambda _: b"").dev):
        keys = make_folder(folder / "keys", name="", terms=DEV_TERMS, passphrase=None)  # for twins
    before = {path: read_release(path) for path in older}
    profiles = {item.profile for item in found}
    for path, raw in before.items():
        if (of := profile_of(raw)) not in profiles:
            raise UsageError(f"{path}: a release for {of}, and none for {of} is to be proved")
        with naming(path):
            _require_sound(raw, place)
    session.note("preparing disks …", level=1)
    chains: list[Subject] = []
    for item in found:
        with naming(item.path):
            chains += subject.subjects(item.raw, list(before.values()), item.image, keys, folder)
    return chains


def plan(entries: Sequence[Scenario], found: list[Subject], seed: int | None) -> list[Run]:
    """All runs, or with a seed each scenario once."""
    from swiftbuild.core import proof

    chains = [subject.chain for subject in found]
    return proof.full(entries, chains) if seed is None else proof.bounded(entries, chains, seed)


def prove(session: Session, call: Call, runs: list[Run], found: list[Given], chains: list[Subject]) -> Statement:
    """Runs them, shows how it goes, and states how it went."""
    from swiftbuild.cli.provetable import board
    from swiftbuild.core.events import Silent
    from swiftbuild.core.junit import junit
    from swiftbuild.effects.files import write_atomic
    from swiftbuild.effects.process import Processes
    from swiftbuild.effects.results import Results
    from swiftbuild.model.proof import RunRecord
    from swiftbuild.scenarios.harness import harness
    from swiftbuild.scenarios.prove import Prover

    by = harness(Processes(Silent()))
    tasks = _tasks(session, call, runs, chains, by)
    began = int(time.time())
    with board(runs, verbosity=session.verbosity) as shown:
        outcomes = Prover(Results(session.root / FOLDER), shown).prove(tasks, jobs=call.jobs, force=call.force)
    records = tuple(
        RunRecord(scenario=run.scenario, profile=run.profile, cpus=run.cpus, artifact=run.artifact, kind=run.chain.kind,
                  old=run.chain.old, new=run.chain.new, kept=kept, outcome=outcome)
        for run, (outcome, kept) in zip(runs, outcomes, strict=True))
    if call.junit:
        write_atomic(call.junit, junit(records))
    return _statement(call, by, found, chains, records, began)


def _statement(
    call: Call, by: Harness, found: list[Given], chains: list[Subject], records: tuple[RunRecord, ...], began: int
) -> Statement:
    from swiftbuild.digest import sha256
    from swiftbuild.model.proof import PREDICATE_TYPE, STATEMENT_TYPE, Named, Predicate, Statement

    told: dict[str, ReleaseRecord] = {}
    for item in found:
        _tell(told, "subject", item.raw)
    for subject in chains:
        if subject.chain.old not in told:
            _tell(told, "twin" if subject.chain.twin else "from", subject.old.read_bytes())
    verdict: Literal["passed", "failed"] = "passed"
    if not records or any(record.outcome.status != "passed" for record in records):
        verdict = "failed"
    return Statement(
        type=STATEMENT_TYPE, predicate_type=PREDICATE_TYPE,
        subject=tuple(Named(name=f"swift-os-{item.profile}.release", digest={"sha256": sha256(item.raw)})
                      for item in found),
        predicate=Predicate(verdict=verdict, scope=call.scope, seed=call.seed, started_at=began,
                            ended_at=int(time.time()), harness=by, releases=tuple(told.values()), runs=records))


def _tell(told: dict[str, ReleaseRecord], role: Literal["subject", "from", "twin"], raw: bytes) -> None:
    from swiftbuild.model.proof import ReleaseRecord
    from swiftbuild.scenarios.variants import payloads
    from swiftbuild.wire import release

    header = release.decode_header(raw[: release.HEADER_SIZE])
    digest = release.release_digest(raw).hex()
    told[digest] = ReleaseRecord(role=role, profile=header.profile, version=header.version, digest=digest,
                                 payloads=payloads(raw))


def write_record(target: Path, statement: Statement, signers: list[FolderKey], passphrase: Passphrase) -> None:
    """Signs the statement, and keeps it."""
    from swiftbuild.effects.files import write_atomic
    from swiftbuild.effects.keys import sign
    from swiftbuild.wire import dsse

    body = dsse.payload(statement)
    message = dsse.message(body)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(target, dsse.encode(body, tuple(sign(key, message, passphrase) for key in signers)))


def profile_of(raw: bytes) -> str:
    from swiftbuild.wire import release

    return release.decode_header(raw[: release.HEADER_SIZE]).profile


def _tasks(session: Session, call: Call, runs: list[Run], chains: list[Subject], by: Harness) -> list[Task]:
    from swiftbuild.digest import sha256_file
    from swiftbuild.effects.project import load_profile
    from swiftbuild.machine.spec import spec
    from swiftbuild.model.proof import Job
    from swiftbuild.scenarios.harness import hardware
    from swiftbuild.scenarios.prove import Task

    subjects = {subject.chain: subject for subject in chains}
    passwords = {name: _password(session, name, call.password_file) for name in {run.profile for run in runs}}
    images = {path: sha256_file(path) for path in {subject.image for subject in chains}}

    def task(run: Run) -> Task:
        subject = subjects[run.chain]
        board = hardware(spec(run.profile, load_profile(session.root, run.profile).board, cpus=run.cpus))

        def job(folder: Path) -> Job:
            return Job(root=str(session.root), scenario=run.scenario, profile=run.profile, cpus=run.cpus,
                       old=str(subject.old), new=str(subject.new), image=str(subject.image),
                       keys=str(subject.keys) if subject.keys else None, password=passwords[run.profile],
                       folder=str(folder))

        return Task(run, run.key(by.digest, board, *subject.contents, images[subject.image]), job)

    return [task(run) for run in runs]


def _password(session: Session, profile: str, file: Path | None) -> str:
    """root's at the console."""
    from swiftbuild.effects.project import load_profile

    if file:
        lines = file.read_text().splitlines()
        if not lines or not lines[0]:
            raise InputError(f"{file}: its first line is empty, and should be root's password")
        return lines[0]
    known = load_profile(session.root, profile).login.root
    if known is None:
        raise UsageError(f"profile {profile} builds no password for root in, and scenarios log in at the console",
                         hint="a file of which it is the first line: --password-file")
    return known.password
