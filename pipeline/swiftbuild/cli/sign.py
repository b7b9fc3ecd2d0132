"""`swiftbuild sign`: signatures of several people under one thing, each given elsewhere and on another day."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swiftbuild.cli.keys import PassphraseOption, request_path
from swiftbuild.cli.session import Session, command, naming
from swiftbuild.errors import DamageError, InputError, RefusedError, UsageError

if TYPE_CHECKING:
    from swiftbuild.effects.keys import KeyFolder, Passphrase
    from swiftbuild.model.request import SignRequest
    from swiftbuild.model.signing import Signature

sign_app = typer.Typer(help="Signatures of several people: request, add, status, finish; keys/README.md tells how.",
                       no_args_is_help=True)
RequestsArgument = Annotated[
    list[Path], typer.Argument(metavar="REQUEST...", help="The request; copies that others added to are put together.")
]


@command
def request(
    session: Session,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A release, or a draft of a key set.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="REQUEST", help="Where it goes [FILE.request.json].")
    ] = None,
) -> None:
    """Ask for the signatures under a release or a key set: a small file that says in words what is signed.

    Who may sign says the key folder in use: its key set for a release, its root keys for a key set.
    """
    from swiftbuild.cli.release import require_allowed
    from swiftbuild.cli.workshop import key_folder

    target = out or request_path(file)
    if target.exists():
        raise UsageError(f"{target}: it exists, and may hold signatures that somebody gave",
                         hint="name another file with --out")
    place = key_folder(session)
    with naming(file):
        raw = _read(file)
        if raw.startswith(b"SWIFTREL"):
            require_allowed(session, place, raw)
        made = request_for(place, raw)
    _write(target, made)
    session.result({"request": str(target), **_document(made)}, "\n".join([f"request  {target}", "", *_text(made)]))


@command
def add(
    session: Session,
    requests: RequestsArgument,
    key: Annotated[
        Path | None, typer.Option("--key", metavar="FILE.pem", help="This private key; else those of the key folder.")
    ] = None,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Show what is signed, and add the signature of one holder. Done by each where their key is.

    The first REQUEST is written; signatures of other copies of it come along. Nobody's signature is ever replaced.
    """
    from swiftbuild.cli.passphrase import passphrase_of
    from swiftbuild.core import requests as core

    made = _load(requests)
    session.note("\n".join([*_text(made), ""]))
    before = {signature.key_id for signature in made.signatures}
    done = []
    for signature in _signatures(session, made, key, passphrase_of(session, passphrase_file)):
        made = core.add(made, signature)
        again = signature.key_id in before
        done.append({"id": signature.key_id.hex(), "again": again})
        session.note(f"{signature.key_id.hex()[:16]} "
                     f"{'had signed already: it counts once' if again else 'has signed'}")
    _write(requests[0], made)
    session.result({"request": str(requests[0]), "added": done, **_document(made)}, "\n".join(_state(made)))


@command
def status(session: Session, requests: RequestsArgument) -> None:
    """Show what is signed, who has signed, and who may. The exit status is 10 while signatures are missing."""
    made = _load(requests)
    document = _document(made)
    session.result(document, "\n".join(_text(made)))
    if not document["complete"]:
        raise typer.Exit(RefusedError.exit_code)


@command
def finish(
    session: Session,
    requests: RequestsArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What the request was made for; it is written.")],
) -> None:
    """Put the signatures into FILE: when enough are there, FILE is what was requested, and all of it verifies.

    The result is held to the root keys of the key folder in use. FILE is the old one or the whole new one, never half.
    """
    from swiftbuild.cli.release import require_allowed
    from swiftbuild.cli.workshop import key_folder
    from swiftbuild.core import requests as core
    from swiftbuild.effects.files import write_atomic
    from swiftbuild.stages.finish import finished

    made = _load(requests)
    core.require_complete(made)
    place = key_folder(session)
    with naming(file):
        raw = _read(file)
        if made.kind == "release":
            require_allowed(session, place, raw)
        write_atomic(file, finished(made, raw, place.roots(), place.key_set()))
    session.result({"file": str(file), **_document(made)}, f"{file}: signed\n" + "\n".join(_state(made)))


def request_for(place: KeyFolder, raw: bytes) -> SignRequest:
    """The request for the bytes of a file, by what they begin with."""
    from swiftbuild.core import requests as core
    from swiftbuild.core.trust import accept_key_set
    from swiftbuild.effects.keys import KEY_SET, NO_KEY_SET
    from swiftbuild.wire import keyset, release

    if raw.startswith(b"SWKEYSET"):
        draft = keyset.draft(raw)
        return core.for_key_set(core.payload_of_key_set(raw), place.roots(), draft.signatures, place.names())
    if not raw.startswith(b"SWIFTREL"):
        raise DamageError("it is no release, and no key set", hint="swiftbuild release build makes a release")
    key_set = place.key_set()
    if key_set is None:
        raise InputError(f"{place.path}: no {KEY_SET}: nobody could say who may sign", hint=NO_KEY_SET)
    accept_key_set(keyset.decode(key_set), place.roots())
    image = release.read_slot(raw)
    return core.for_release(raw[: release.HEADER_SIZE], key_set, image.signatures.signatures, place.names())


def _signatures(session: Session, made: SignRequest, key: Path | None, passphrase: Passphrase) -> list[Signature]:
    """By the key that is named, or by those of the key folder that may sign and whose private halves are here."""
    from swiftbuild.cli.workshop import key_folder
    from swiftbuild.core import requests as core
    from swiftbuild.effects.keys import public_of, read_private, sign, sign_by

    message, may = core.message(made), core.may_sign(made)
    if key is not None:
        private = read_private(key, passphrase)
        if public_of(private).key_id not in may:
            raise RefusedError(f"{key}: key {public_of(private).key_id.hex()[:16]} may not sign this",
                               hint=f"who may: {core.who_may(made)}")
        return [sign_by(private, message)]
    place = key_folder(session)
    here = [one for one in place.listed() if one.public.key_id in may and one.private.exists()]
    if not here:
        raise RefusedError(f"{place.path}: no private key that may sign this is here",
                           hint=f"--key names one; who may: {core.who_may(made)}")
    return [sign(one, message, passphrase) for one in here]


def _load(paths: list[Path]) -> SignRequest:
    from swiftbuild.core import requests as core
    from swiftbuild.wire import request as wire

    found = []
    for path in paths:
        with naming(path):
            found.append(core.check(wire.decode(_read(path, wire.BYTES_MAX + 1))))
    return core.merge(found)


def _read(path: Path, most: int = -1) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(most)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise UsageError(f"{path}: {error.strerror}") from None


def _write(path: Path, made: SignRequest) -> None:
    from swiftbuild.effects.files import write_atomic
    from swiftbuild.wire import request as wire

    write_atomic(path, wire.encode(made))


def _document(made: SignRequest) -> dict[str, Any]:
    from swiftbuild.core import requests as core

    counts = core.counts(made)
    groups = [
        {"role": count.group.role, "threshold": count.group.threshold, "met": count.met,
         "holders": [{"id": holder.id.hex(), "name": holder.name, "signed": holder in count.signed}
                     for holder in count.group.holders]}
        for count in counts
    ]
    return {"kind": made.kind.value, "about": made.about, "digest": made.digest.hex(), "domain": made.domain,
            "groups": groups, "complete": all(count.met for count in counts)}


def _text(made: SignRequest) -> list[str]:
    """What is signed, and by whom."""
    rows = {"what": made.kind.value, **made.about, "digest": made.digest.hex(), "signed as": made.domain}
    width = max(map(len, rows)) + 2
    return [*(f"{label:{width}}{value}" for label, value in rows.items()), "", *_state(made)]


def _state(made: SignRequest) -> list[str]:
    lines = []
    for group in _document(made)["groups"]:
        signed = sum(holder["signed"] for holder in group["holders"])
        lines.append(f"{group['role']}: {signed} of {group['threshold']} have signed")
        lines += [f"  {'signed ' if holder['signed'] else '-      '}  {holder['id'][:16]}  {holder['name']}"
                  for holder in group["holders"]]
    return lines


sign_app.command("request")(request)
sign_app.command("add")(add)
sign_app.command("status")(status)
sign_app.command("finish")(finish)
