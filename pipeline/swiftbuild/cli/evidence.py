"""`swiftbuild release evidence`: whether a record of `swiftbuild verify` proves releases."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from swiftbuild.cli.release import KeysOption, read_release
from swiftbuild.cli.session import Session, command, naming
from swiftbuild.errors import DamageError, InputError

RECORD_BYTES_MAX = 16 << 20
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
    allow_dev: Annotated[bool, typer.Option("--allow-dev", help="Throw-away evidence keys will do.")] = False,
    allow_bounded: Annotated[bool, typer.Option("--allow-bounded", help="One run of each scenario will do.")] = False,
    days: Annotated[int, typer.Option(metavar="N", min=1, help="A record that is older proves nothing.")] = 30,
    logs: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where the console logs lie [build/verify/logs].")
    ] = None,
) -> None:
    """Check that a record proves releases: signed by evidence keys, of these very releases, every scenario, no failure.

    The console logs that it names must be at hand, unchanged. Exit status 6 when there is a fault.
    """
    from swiftbuild.cli.workshop import key_folder
    from swiftbuild.core.evidence import Wanted, faults
    from swiftbuild.digest import sha256_file
    from swiftbuild.effects.keys import NO_KEY_SET, KeyFolder
    from swiftbuild.scenarios.catalogue import CATALOGUE
    from swiftbuild.scenarios.harness import scenario_set
    from swiftbuild.wire import keyset, release

    place = KeyFolder(keys) if keys else key_folder(session)
    known = place.key_set()
    if known is None:
        raise InputError(f"{place.path}: no key set says who may sign evidence", hint=NO_KEY_SET)
    digests = {}
    for path in releases:
        with naming(path):
            raw = read_release(path)
            digests[release.decode_header(raw[: release.HEADER_SIZE]).profile] = release.release_digest(raw).hex()
    before = frozenset(release.release_digest(read_release(path)).hex() for path in older or [])
    wanted = Wanted(digests, frozenset(entry.name for entry in CATALOGUE), scenario_set(CATALOGUE), dev=allow_dev,
                    bounded=allow_bounded, since=int(time.time()) - days * DAY, older=before)
    folder = logs or session.root / "build/verify/logs"
    at_hand = {sha256_file(path): str(path) for path in sorted(folder.rglob("*.log"))}
    with record.open("rb") as file:
        found = faults(file.read(RECORD_BYTES_MAX + 1), keyset.decode(known).key_set, wanted, at_hand)
    document = {"path": str(record), "ok": not found, "findings": [fault.model_dump() for fault in found]}
    lines = [f"{record}: {f'{len(found)} faults' if found else 'it proves them'}",
             *(f"  {fault.where}: {fault.text} [{fault.code}]" for fault in found)]
    session.result(document, "\n".join(lines))
    if found:
        raise typer.Exit(DamageError.exit_code)
