"""`swiftbuild release evidence`: whether a record of `swiftbuild verify` proves releases."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swiftbuild.cli.proving import FOLDER, profile_of
from swiftbuild.cli.release import KeysOption, read_release
from swiftbuild.cli.session import Session, command, naming
from swiftbuild.errors import DamageError, InputError, UsageError

if TYPE_CHECKING:
    from swiftbuild.core.bootlog import Boot
    from swiftbuild.core.evidence import Release
    from swiftbuild.effects.keys import KeyFolder
    from swiftbuild.model.signing import KeySet

DAY = 86400


@command
def evidence(
    session: Session,
    record: Annotated[Path, typer.Argument(metavar="RECORD", help="What swiftbuild verify wrote.")],
    releases: Annotated[list[Path], typer.Argument(metavar="FILE...", help="The releases that it must prove.")],
    *,
    keys: KeysOption = None,
    older: Annotated[
        list[Path] | None, typer.Option("--from", metavar="FILE", help="An older release; the update from it must have "
                                                                       "been tried.")
    ] = None,
    allow_dev: Annotated[
        bool, typer.Option("--allow-dev", help="Throw-away evidence keys, and a tree with changes, will do.")
    ] = False,
    allow_bounded: Annotated[bool, typer.Option("--allow-bounded", help="One run of each scenario will do.")] = False,
    days: Annotated[int, typer.Option(metavar="N", min=1, help="What began before that proves nothing.")] = 30,
    logs: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where the console logs lie [build/verify/logs].")
    ] = None,
) -> None:
    """Check that a record proves releases: signed by evidence keys, of these very files, every scenario, no failure.

    The console logs that it names must be at hand, unchanged, and tell what the scenarios ask. Exit status 6 when there
    is a fault.
    """
    from swiftbuild.cli.workshop import key_folder
    from swiftbuild.core.evidence import Wanted, faults
    from swiftbuild.effects.keys import KeyFolder
    from swiftbuild.effects.results import LOGS
    from swiftbuild.scenarios.catalogue import CATALOGUE
    from swiftbuild.scenarios.harness import scenario_set
    from swiftbuild.wire import dsse, release

    now = int(time.time())
    key_set = _key_set(KeyFolder(keys) if keys else key_folder(session), now)
    found = _releases(releases)
    before = {release.release_digest(raw).hex(): profile_of(raw) for raw in map(read_release, older or [])}
    wanted = Wanted(found, before, CATALOGUE, scenario_set(), now, now - days * DAY, dev=allow_dev,
                    bounded=allow_bounded)
    with record.open("rb") as file:
        raw = file.read(dsse.BYTES_MAX + 1)
    wrong = faults(raw, key_set, wanted, _logs(logs or session.root / FOLDER / LOGS))
    document = {"path": str(record), "ok": not wrong, "findings": [fault.model_dump() for fault in wrong]}
    lines = [f"{record}: {f'{len(wrong)} faults' if wrong else 'it proves them'}",
             *(f"  {fault.where}: {fault.text} [{fault.code}]" for fault in wrong)]
    if wrong:
        lines += ["", "what each name means, and what mends it: docs/formats/verify-record.md"]
    session.result(document, "\n".join(lines))
    if wrong:
        raise typer.Exit(DamageError.exit_code)


def _key_set(place: KeyFolder, now: int) -> KeySet:
    """Who may sign evidence: as root says, and now.

    Raises InputError: nobody says, or no longer; TrustError: root does not.
    """
    from swiftbuild.core.dates import utc
    from swiftbuild.core.trust import accept_key_set
    from swiftbuild.effects.keys import NO_KEY_SET
    from swiftbuild.wire import keyset

    raw = place.key_set()
    if raw is None:
        raise InputError(f"{place.path}: no key set says who may sign evidence", hint=NO_KEY_SET)
    signed = keyset.decode(raw)
    accept_key_set(signed, place.roots())
    if signed.key_set.expires and now > signed.key_set.expires:
        raise InputError(f"{place.path}: its key set expired at {utc(signed.key_set.expires)}",
                         hint="swiftbuild keys rotate makes the next one")
    return signed.key_set


def _releases(files: list[Path]) -> list[Release]:
    """What each file holds, by its own bytes.

    Raises UsageError: two of one profile; DamageError: bytes that the header does not name.
    """
    from swiftbuild.core.evidence import Release
    from swiftbuild.digest import sha256
    from swiftbuild.scenarios.variants import payloads
    from swiftbuild.wire import release

    found: dict[str, Release] = {}
    for path in files:
        with naming(path):
            raw = read_release(path)
            if wrong := release.read_slot(raw).wrong_digests():
                raise DamageError(f"the {wrong[0].name} section is not the one that the header names")
        profile = profile_of(raw)
        if profile in found:
            raise UsageError(f"{path}: another of the files is for {profile} too")
        found[profile] = Release(profile, release.release_digest(raw).hex(), sha256(raw), payloads(raw))
    return list(found.values())


def _logs(folder: Path) -> dict[str, Boot]:
    """SHA-256 of each console log → what it says."""
    from swiftbuild.core.bootlog import boot
    from swiftbuild.digest import sha256

    return {sha256(raw): boot(raw) for raw in (path.read_bytes() for path in sorted(folder.rglob("*.log")))}
