"""`swiftbuild verify`: a release is proved by booting it, updating to it and from it, and making it fail."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swiftbuild.cli.keys import PassphraseOption
from swiftbuild.cli.session import Session, command
from swiftbuild.errors import ProofError

if TYPE_CHECKING:
    from swiftbuild.core.proof import Run
    from swiftbuild.model.proof import RunRecord, Statement
    from swiftbuild.scenarios.catalogue import Scenario

JOBS = 2
"""Machines at a time; a host has no more slots."""
MESSAGE_LINES = 12
"""Of what a failed run said, on the screen; the console logs have the rest."""


@command
def verify(
    session: Session,
    releases: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE]...", help="Releases, or disk images [the images built last].")
    ] = None,
    *,
    profile: Annotated[
        list[str] | None, typer.Option("--profile", "-p", metavar="NAME", help="Images of this profile only.")
    ] = None,
    older: Annotated[
        list[Path] | None, typer.Option("--from", metavar="FILE", help="An older release; the update from it is tried.")
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Every scenario on every profile and number of processors, as "
                                                      "publishing asks for [each once, drawn by --seed].")] = False,
    seed: Annotated[int | None, typer.Option(help="Draws where each scenario runs [at random, and printed].")] = None,
    scenario: Annotated[
        list[str] | None, typer.Option("--scenario", metavar="NAME", help="Only this one; --list shows them.")
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, max=JOBS, help="Machines at a time.")] = JOBS,
    record: Annotated[Path | None, typer.Option(metavar="PATH", help="Where the signed record goes.")] = None,
    no_record: Annotated[bool, typer.Option("--no-record", help="Sign and write no record.")] = False,
    junit: Annotated[Path | None, typer.Option(metavar="PATH", help="Write the runs as JUnit XML.")] = None,
    password_file: Annotated[
        Path | None, typer.Option("--password-file", metavar="FILE", help="root's password is its first line [the one "
                                                                          "that the profile builds in].")
    ] = None,
    passphrase_file: PassphraseOption = None,
    list_: Annotated[bool, typer.Option("--list", help="List the scenarios.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would run.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Run again what has passed already.")] = False,
) -> None:
    """Prove releases: boot them, update to them, make them fail, and see that the machine comes back.

    Each scenario starts a machine from the real disk image. What passed once, of the same release by the same harness,
    is kept: a call that was interrupted goes on where it was. The signed record is build/verify/record.json
    (chosen.json when scenarios are chosen), if no other place is named. Exit status 0: all passed; 11: not, and it says
    which.
    Who only wants the signatures: swiftbuild release verify.

    Try: swiftbuild verify --scenario kernel-panic --seed 1
    """
    from swiftbuild.cli import proving
    from swiftbuild.cli.passphrase import passphrase_of
    from swiftbuild.cli.workshop import key_folder
    from swiftbuild.machine.signals import unwinding
    from swiftbuild.scenarios import catalogue

    if list_:
        _list(session, catalogue.CATALOGUE)
        return
    entries = [catalogue.scenario(name) for name in dict.fromkeys(scenario or [])] or list(catalogue.CATALOGUE)
    place = key_folder(session)
    given = proving.given(session, releases or [], profile or [], place)
    signers = [] if no_record or dry_run else proving.evidence_keys(place)
    drawn = None if full else seed if seed is not None else time.time_ns() % 2**32
    with unwinding(), proving.alone_in(session) as folder:
        subjects = proving.subjects(session, given, older or [], place, folder)
        plan = proving.plan(entries, subjects, drawn)
        _say_plan(session, entries, plan, jobs, drawn)
        if dry_run:
            _show_plan(session, plan)
            return
        call = proving.Call(entries, "chosen" if scenario else "full" if full else "bounded", drawn, jobs, force,
                            password_file, junit.absolute() if junit else None)
        statement = proving.prove(session, call, plan, given, subjects)
    name = "chosen.json" if scenario else "record.json"
    target = None if no_record else (record or session.root / proving.FOLDER / name).absolute()
    if target:
        proving.write_record(target, statement, signers, passphrase_of(session, passphrase_file))
    _report(session, statement, target)


def _list(session: Session, entries: Sequence[Scenario]) -> None:
    rows = [f"{entry.name:26} {entry.summary}" for entry in entries]
    session.result({"scenarios": [{"name": e.name, "gate": e.gate, "summary": e.summary, "cpus": list(e.cpus)}
                                  for e in entries]}, "\n".join(rows))


def _say_plan(session: Session, entries: Sequence[Scenario], plan: list[Run], jobs: int, seed: int | None) -> None:
    from swiftbuild.core import proof

    boots, minutes = proof.estimate(plan, {entry.name: proof.boots(entry) for entry in entries}, jobs)
    drawn = "" if seed is None else f", drawn by --seed {seed}"
    session.note(f"{len(plan)} runs{drawn}: about {boots} boots and {minutes} minutes, {jobs} at a time")


def _show_plan(session: Session, plan: list[Run]) -> None:
    documents = [{"scenario": run.scenario, "profile": run.profile, "cpus": run.cpus, "artifact": run.artifact,
                  "kind": run.chain.kind, "old": run.chain.old, "new": run.chain.new} for run in plan]
    rows = [f"{run.scenario:26} {run.profile:8} {run.cpus} CPU  {run.artifact:7}  {run.chain.kind}" for run in plan]
    session.result({"runs": documents}, "\n".join(rows))


def _report(session: Session, statement: Statement, target: Path | None) -> None:
    """Says how it went; raises ProofError when the release did not pass."""
    told = statement.predicate
    bad = [run for run in told.runs if run.outcome.status != "passed"]
    document: dict[str, Any] = statement.model_dump(by_alias=True) | {"record": str(target) if target else None}
    boots = sum(len(run.outcome.boots) for run in told.runs)
    proved = statement.subject if told.verdict == "passed" and told.scope != "chosen" else ()
    rows = [f"proved  {row.name}  {row.digest['sha256'][:16]}" for row in proved]
    rows += [line for run in bad for line in _failure(run)]
    rows += [f"{told.verdict}: {len(told.runs) - len(bad)} of {len(told.runs)} runs, {boots} boots, {told.scope}"]
    rows += [f"record  {target}"] if target else []
    session.result(document, "\n".join(rows))
    if told.verdict != "passed":
        raise typer.Exit(ProofError.exit_code)


def _failure(run: RunRecord) -> list[str]:
    lines = run.outcome.message.splitlines()
    more = [f"    … {len(lines) - MESSAGE_LINES} more lines"] if len(lines) > MESSAGE_LINES else []
    again = f"    again: swiftbuild verify --scenario {run.scenario} --profile {run.profile}"
    return [f"{run.outcome.status}: {run.scenario} on {run.profile}, {run.cpus} CPU, {run.artifact}",
            *(f"    {line}" for line in lines[:MESSAGE_LINES]), *more, again]
