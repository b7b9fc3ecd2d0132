"""Whether a record proves a release (docs/formats/verify-record.md). Each fault has a name; one is enough to refuse.

Signatures come first: nothing that a payload states is looked at before those have signed it who must.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from swiftbuild.core.check import Finding
from swiftbuild.core.trust import signers
from swiftbuild.errors import DamageError, TrustError
from swiftbuild.model.proof import ReleaseRecord, RunRecord, Statement
from swiftbuild.model.signing import KeySet, KeySetFlag, Role
from swiftbuild.wire import dsse

WHERE = "record"


@dataclass(frozen=True)
class Wanted:
    """What somebody asks of a record."""

    digests: Mapping[str, str]
    """Profile → digest of the release that is to be proved."""
    scenarios: frozenset[str]
    """Names that must stand in it."""
    scenario_set: str
    dev: bool = False
    """Keys that are throw-away will do."""
    bounded: bool = False
    """One run of each scenario will do."""
    since: int = 0
    """Seconds since 1970: a record that began before is too old."""
    older: frozenset[str] = frozenset()
    """Digests of releases from which the update must have been proved."""


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


def faults(raw: bytes, key_set: KeySet, wanted: Wanted, logs: Mapping[str, str]) -> list[Finding]:
    """Why a record proves nothing, or not this. `logs`: SHA-256 of the console logs that are at hand, by itself; a log
    that the record names must be among them."""
    try:
        statement = accept(raw, key_set)
    except TrustError as error:
        return [Finding(where=WHERE, code=error.code, text=error.message)]
    except DamageError as error:
        return [Finding(where=WHERE, code="form", text=error.message)]
    found = [*_terms(statement, key_set, wanted), *_releases(statement, wanted), *_runs(statement, wanted)]
    return found + list(_logs(statement.predicate.runs, logs))


def _finding(code: str, text: str) -> Finding:
    return Finding(where=WHERE, code=code, text=text)


def _terms(statement: Statement, key_set: KeySet, wanted: Wanted) -> Iterator[Finding]:
    told = statement.predicate
    if key_set.flags & KeySetFlag.DEV and not wanted.dev:
        yield _finding("dev", "signed by throw-away keys, which prove nothing to anybody else")
    if told.scope != "full" and not (wanted.bounded and told.scope == "bounded"):
        yield _finding("scope", f"{told.scope}, expected {'bounded or full' if wanted.bounded else 'full'}")
    if told.started_at < wanted.since:
        yield _finding("old", f"it began at {told.started_at}, expected {wanted.since} or later")
    if told.harness.scenario_set != wanted.scenario_set:
        yield _finding("scenario-set", "the scenarios were others than those that are asked for")
    if told.verdict != "passed":
        yield _finding("verdict", "the release did not pass")


def _releases(statement: Statement, wanted: Wanted) -> Iterator[Finding]:
    told = statement.predicate.releases
    subjects = {(row.profile, row.digest) for row in told if row.role == "subject"}
    for profile, digest in wanted.digests.items():
        if (profile, digest) not in subjects:
            yield _finding("release", f"not of the release {digest[:16]} for {profile}")
    for digest in sorted(wanted.older - {row.digest for row in told if row.role == "from"}):
        yield _finding("from", f"no update from {digest[:16]} was tried")
    for twin in (row for row in told if row.role == "twin"):
        if not any(_same_payloads(row, twin) for row in told if row.role != "twin"):
            yield _finding("twin", f"twin {twin.digest[:16]} has not the contents of any release of the record")


def _same_payloads(release: ReleaseRecord, twin: ReleaseRecord) -> bool:
    return (release.profile, release.payloads) == (twin.profile, twin.payloads)


def _runs(statement: Statement, wanted: Wanted) -> Iterator[Finding]:
    runs = statement.predicate.runs
    known = {row.digest for row in statement.predicate.releases}
    for run in runs:
        if run.outcome.status != "passed":
            yield _finding("failed", f"{run.scenario} on {run.profile}, {run.cpus} CPU: {run.outcome.status}")
        if run.old not in known:
            yield _finding("release", f"{run.scenario} started with {run.old[:16]}, which the record does not name")
        if not run.outcome.logs:
            yield _finding("log", f"{run.scenario} on {run.profile} has no log")
    there = {profile: {run.scenario for run in runs if _about(statement, profile, digest) & {run.old, run.new}}
             for profile, digest in wanted.digests.items()}
    anywhere = {name for names in there.values() for name in names}
    for profile, names in there.items():
        for name in sorted(wanted.scenarios - (names if statement.predicate.scope == "full" else anywhere)):
            yield _finding("missing", f"no run of {name} on {profile}")


def _about(statement: Statement, profile: str, digest: str) -> set[str]:
    """The release and its twins."""
    told = statement.predicate.releases
    own = [row for row in told if (row.profile, row.digest) == (profile, digest)]
    twins = [row for row in told if row.role == "twin" and any(_same_payloads(release, row) for release in own)]
    return {row.digest for row in (*own, *twins)}


def _logs(runs: Iterable[RunRecord], logs: Mapping[str, str]) -> Iterator[Finding]:
    for run in runs:
        for name, digest in run.outcome.logs.items():
            if digest not in logs:
                yield _finding("log", f"{run.scenario} on {run.profile}: {name}.log is missing, or another")
