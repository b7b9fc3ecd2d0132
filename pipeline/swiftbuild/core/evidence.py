"""Whether a record proves releases (docs/formats/verify-record.md). Each fault has a name; one is enough to refuse.

Signatures come first: nothing that a payload states is looked at before those have signed it who must. What must have
run is computed from what is asked for, never read from the record; what a run came to is derived from its logs again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from swiftbuild.core import proof
from swiftbuild.core.bootlog import Boot
from swiftbuild.core.check import Finding
from swiftbuild.core.dates import utc
from swiftbuild.core.proof import Chain, Entry, Run
from swiftbuild.core.trust import signers
from swiftbuild.errors import DamageError, TrustError
from swiftbuild.model.proof import ReleaseRecord, RunRecord, Statement
from swiftbuild.model.signing import KeySet, KeySetFlag, Role
from swiftbuild.wire import dsse

WHERE = "record"
CLOCKS_DIFFER_SECONDS = 300


@dataclass(frozen=True)
class Release:
    """One that is to be proved, from its own bytes: never from what the record says of it."""

    profile: str
    digest: str
    sha256: str
    """Of the whole file."""
    payloads: Mapping[str, str]


@dataclass(frozen=True)
class Wanted:
    """What somebody asks of a record."""

    releases: Sequence[Release]
    older: Mapping[str, str]
    """Digest of a release from which the update must have been tried → its profile."""
    entries: Sequence[Entry]
    """The scenarios that must have run."""
    scenario_set: str
    now: int
    since: int
    """Seconds since 1970: nothing in it began before that."""
    dev: bool = False
    """Throw-away keys, and a harness with changes of its own, will do."""
    bounded: bool = False
    """One run of each scenario will do."""


def accept(raw: bytes, key_set: KeySet) -> Statement:
    """The statement, signed by as many evidence keys of the set as must.

    Raises DamageError: it is no record; TrustError: too few signed.
    """
    body, signatures = dsse.decode(raw)
    keys = key_set.of_role(Role.EVIDENCE)
    by, wanted = signers(dsse.message(body), signatures, keys), key_set.threshold(Role.EVIDENCE)
    if not wanted or len(by) < wanted:
        raise TrustError(f"record: signed by {len(by)} of the key set's {len(keys)} evidence keys, "
                         f"{wanted or 'and the set names none; 1'} must", code="signature")
    return dsse.statement(body)


def faults(raw: bytes, key_set: KeySet, wanted: Wanted, logs: Mapping[str, Boot]) -> list[Finding]:
    """Why a record proves nothing, or not this. `logs`: SHA-256 of each console log at hand → what it says."""
    try:
        statement = accept(raw, key_set)
    except TrustError as error:
        return [_finding(error.code, error.message)]
    except DamageError as error:
        return [_finding("form", error.message)]
    return [*_terms(statement, key_set, wanted), *_times(statement, wanted), *_releases(statement, wanted),
            *_missing(statement, wanted), *_runs(statement), *_logs(statement.predicate.runs, wanted.entries, logs)]


def _finding(code: str, text: str) -> Finding:
    return Finding(where=WHERE, code=code, text=text)


def _terms(statement: Statement, key_set: KeySet, wanted: Wanted) -> Iterator[Finding]:
    told = statement.predicate
    if not wanted.dev and key_set.flags & KeySetFlag.DEV:
        yield _finding("dev", "signed by throw-away keys, which prove nothing to anybody else")
    if not wanted.dev and (not told.harness.commit or told.harness.commit.endswith("-dirty")):
        yield _finding("harness", f"run by commit {told.harness.commit or 'unknown'}, expected one without changes")
    if told.scope != "full" and not (wanted.bounded and told.scope == "bounded"):
        yield _finding("scope", f"{told.scope}, expected {'bounded or full' if wanted.bounded else 'full'}")
    if told.harness.scenario_set != wanted.scenario_set:
        yield _finding("scenario-set", "the scenarios were others than those that are asked for")
    if told.verdict != "passed":
        yield _finding("verdict", "the release did not pass")


def _times(statement: Statement, wanted: Wanted) -> Iterator[Finding]:
    """Of the call, and of each run: what an earlier call ran has times of its own."""
    told = statement.predicate
    spans = [(told.started_at, told.ended_at), *((r.outcome.started_at, r.outcome.ended_at) for r in told.runs)]
    first, last = min(begun for begun, _ in spans), max(ended for _, ended in spans)
    if first < wanted.since:
        yield _finding("old", f"something in it began at {utc(first)}, expected {utc(wanted.since)} or later")
    if last > wanted.now + CLOCKS_DIFFER_SECONDS or any(ended < begun for begun, ended in spans):
        yield _finding("time", f"it ends at {utc(last)}, or something in it before its beginning")


def _releases(statement: Statement, wanted: Wanted) -> Iterator[Finding]:
    files = {file.digest.get("sha256") for file in statement.subject}
    told = {(row.profile, row.digest): row for row in statement.predicate.releases}
    for release in wanted.releases:
        row = told.get((release.profile, release.digest))
        if row is None or row.role != "subject" or release.sha256 not in files or row.payloads != release.payloads:
            yield _finding("release", f"not of this file: {release.digest[:16]} for {release.profile}")
    for row in told.values():
        if row.role == "twin" and not _twins_of(row, wanted):
            yield _finding("twin", f"twin {row.digest[:16]} has not the contents of a release that is to be proved")


def _twins_of(row: ReleaseRecord, wanted: Wanted) -> bool:
    return any((release.profile, release.payloads) == (row.profile, row.payloads) for release in wanted.releases)


def _chains(statement: Statement, wanted: Wanted, release: Release) -> list[Chain]:
    """What a release must have gone through: alone, from every older one, and to a next one, itself or its twin."""
    own = Chain(release.profile, release.digest, release.digest, "own")
    between = [Chain(release.profile, digest, release.digest, "between")
               for digest, profile in wanted.older.items() if profile == release.profile]
    stand_ins = {row.digest for row in statement.predicate.releases
                 if row.role == "twin" and (row.profile, row.payloads) == (release.profile, release.payloads)}
    following = {_run(run).chain for run in statement.predicate.runs if run.kind == "next"
                 and run.old in {release.digest, *stand_ins} and run.profile == release.profile}
    return [own, *between, *following]


def _missing(statement: Statement, wanted: Wanted) -> Iterator[Finding]:
    done = {_run(run) for run in statement.predicate.runs}
    for release in wanted.releases:
        chains = _chains(statement, wanted, release)
        here = [run for run in done if run.chain in chains]
        needed = proof.full(wanted.entries, chains) if statement.predicate.scope == "full" else []
        for run in needed:
            if run not in done:
                yield _finding("missing", f"no run of {run.scenario} on {run.profile} with {run.cpus} CPU, "
                                          f"{run.chain.kind} {run.chain.old[:16]}")
        names = {run.scenario for run in here}
        if statement.predicate.scope != "full":
            names |= {run.scenario for run in done}
        for name in sorted({entry.name for entry in wanted.entries} - names):
            yield _finding("missing", f"no run of {name} on {release.profile}")
        for chain in chains:
            if chain.kind == "between" and not any(run.chain == chain for run in here):
                yield _finding("from", f"no update from {chain.old[:16]} was tried on {chain.profile}")


def _run(told: RunRecord) -> Run:
    return Run(told.scenario, Chain(told.profile, told.old, told.new, told.kind, told.artifact == "twin"), told.cpus)


def _runs(statement: Statement) -> Iterator[Finding]:
    told = statement.predicate
    roles = {row.digest: row.role for row in told.releases}
    for run in told.runs:
        if run.outcome.status != "passed":
            yield _finding("failed", f"{run.scenario} on {run.profile}, {run.cpus} CPU: {run.outcome.status}")
        if run.old not in roles or (roles[run.old] == "twin") != (run.artifact == "twin"):
            yield _finding("release", f"{run.scenario} started with {run.old[:16]}, which is not what it says it is")
    for again, count in Counter(_run(run) for run in told.runs).items():
        if count > 1:
            yield _finding("twice", f"{again.scenario} on {again.profile}, {again.cpus} CPU: {count} times")


def _logs(runs: Sequence[RunRecord], entries: Sequence[Entry], logs: Mapping[str, Boot]) -> Iterator[Finding]:
    stories = {entry.name: entry.story for entry in entries}
    for run in runs:
        where = f"{run.scenario} on {run.profile}, {run.cpus} CPU"
        there = [logs.get(boot.log) for boot in run.outcome.boots]
        found = [boot for boot in there if boot is not None]
        if len(found) < len(there):
            yield _finding("log", f"{where}: {len(there) - len(found)} console logs are missing, or are others now")
        elif not proof.tells(stories.get(run.scenario, ""), [boot.word for boot in found]):
            words = " ".join(boot.word for boot in found)
            yield _finding("story", f"{where}: the logs tell {words!r}, expected {stories.get(run.scenario, '')!r}")
    for log, count in Counter(boot.log for run in runs for boot in run.outcome.boots).items():
        if count > 1:
            yield _finding("log", f"the console log {log[:16]} stands for {count} boots")
