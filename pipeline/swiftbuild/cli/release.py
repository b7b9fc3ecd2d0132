"""`swiftbuild release`: the one file that a machine installs, from the build to its verdict."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swiftbuild.cli.image import (
    DryRunOption,
    ForceOption,
    KeyOption,
    NoDevOption,
    PasswordOption,
    access_of,
    list_profiles,
    show_plan,
)
from swiftbuild.cli.keys import PassphraseOption
from swiftbuild.cli.session import Session, command, naming
from swiftbuild.errors import DamageError, RefusedError, UsageError

if TYPE_CHECKING:
    from swiftbuild.cli.workshop import Workshop
    from swiftbuild.effects.keys import KeyFolder
    from swiftbuild.model.signing import Roots

release_app = typer.Typer(help="Releases: the file that a machine installs; docs/formats/release.md.",
                          no_args_is_help=True)
FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="A release.")]
KeysOption = Annotated[
    Path | None, typer.Option("--keys", metavar="DIR", help="Key folder, public keys are enough [the one in use].")
]
MAGIC = b"SWIFTREL"
TIME_FORMS = ("%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d")


@command
def build(
    session: Session,
    profile: Annotated[
        str | None, typer.Option("--profile", "-p", metavar="NAME", help="What it is made for; none lists them.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="PATH",
                                  help="Where it goes [build/releases/swift-os-PROFILE-VERSION.release].")
    ] = None,
    version: Annotated[str, typer.Option("--version", metavar="V", help="In place of the tree's: 0.1.1")] = "",
    rollback_index: Annotated[
        int | None, typer.Option("--rollback-index", metavar="N", min=0, max=2**64 - 1,
                                 help="In place of the profile's.")
    ] = None,
    revokes_older: Annotated[
        bool, typer.Option("--revokes-older", help="Once it is good on a machine, older ones boot there no more.")
    ] = False,
    signed_at: Annotated[
        str | None, typer.Option("--signed-at", metavar="TIME", help="UTC, 2031-12-31T23:59:59Z [now; never with "
                                                                     "throw-away keys].")
    ] = None,
    no_dev: NoDevOption = False,
    password_hash: PasswordOption = None,
    ssh_key: KeyOption = None,
    dry_run: DryRunOption = False,
    force: ForceOption = False,
) -> None:
    """Build the release of a profile: signed, when as many private release keys are here as must sign.

    Debian packages must have their locked versions. What must not leave the desk is refused under keys that are no
    throw-away: built-in passwords, private keys, the dev mark.

    Try: swiftbuild release build --profile qemu --version 0.1.1 --rollback-index 2
    """
    from swiftbuild.cli import workshop as wiring
    from swiftbuild.core.version import version_of
    from swiftbuild.effects import project

    if profile is None:
        list_profiles(session)
        return
    told = version_of(version, "--version") if version else project.version(session.root)
    target = (out or session.root / "build/releases" / f"swift-os-{profile}-{told}.release").absolute()
    _check_target(target)
    access = access_of(password_hash or [], ssh_key or [])
    with wiring.workshop(session) as shop:
        loaded = shop.profile(profile, no_dev=no_dev)
        if rollback_index is not None:
            loaded = loaded.model_copy(update={"rollback_index": rollback_index})
        when = _time(signed_at) if signed_at else 0 if shop.signer.dev else int(time.time())
        terms = wiring.ReleaseTerms(version=told, revokes_older=revokes_older, signed_at=when)
        signed = shop.signer.complete
        actions = shop.release_plan(loaded, access, terms, signed=signed)
        if dry_run:
            show_plan(session, shop.preview(actions, force=force))
            return
        outcome = shop.run(actions, force=force, locked=True)
        source, _ = shop.path(outcome, f"{'signed' if signed else 'slot'}/{profile}", "slot.img")
        state = _deliver(shop, source, target, signed=signed)
        summary = shop.report.summary()
    session.note(summary)
    document = _about(target) | {"state": state, "ran": list(outcome.ran)}
    session.result(document, "\n".join(_lines(document)))


@command
def sign(session: Session, file: FileArgument, passphrase_file: PassphraseOption = None) -> None:
    """Sign a release by the release keys that are here. Signatures that it has already stay.

    When fewer are here than must sign, nothing is written: swiftbuild sign request asks those who hold the others.
    """
    from swiftbuild.cli.passphrase import passphrase_of
    from swiftbuild.cli.sign import request_for
    from swiftbuild.cli.workshop import key_folder
    from swiftbuild.core import requests
    from swiftbuild.effects import keys
    from swiftbuild.effects.files import write_atomic
    from swiftbuild.stages.finish import finished

    place, ask = key_folder(session), passphrase_of(session, passphrase_file)
    with naming(file):
        raw = read_release(file)
        require_allowed(session, place, raw)
        made = request_for(place, raw)
        may, message = requests.may_sign(made), requests.message(made)
        here = [key for key in place.listed("release") if key.public.key_id in may and key.private.exists()]
        count, group = requests.counts(made)[0], made.groups[0]
        if len({key.public.key_id for key in here} | {holder.id for holder in count.signed}) < group.threshold:
            raise RefusedError(f"{len(here)} private release keys are here, {group.threshold} must sign",
                               hint=f"swiftbuild sign request {file}")
        for key in here:
            made = requests.add(made, keys.sign(key, message, ask))
        write_atomic(file, finished(made, raw, place.roots(), place.key_set()))
    document = _about(file)
    session.result(document, "\n".join(_lines(document)))


@command
def verify(
    session: Session,
    file: FileArgument,
    keys: KeysOption = None,
    root: Annotated[
        list[Path] | None, typer.Option("--root", metavar="FILE.pub", help="Root's public key, in place of a folder's.")
    ] = None,
    root_threshold: Annotated[
        int, typer.Option("--root-threshold", metavar="N", min=1, help="So many of --root must have signed.")
    ] = 1,
    at: Annotated[
        str | None, typer.Option("--at", metavar="TIME", help="As if it were then: 2031-12-31 [now].")
    ] = None,
) -> None:
    """Verify a release as a machine does that installs it: form, every digest, verity tree, who signed, expiry.

    The exit status is 6 when there is a fault; docs/formats/release.md lists their names.
    """
    from swiftbuild.core.verify import faults
    from swiftbuild.wire import keyset

    place, roots = _judge(session, keys, root or [], root_threshold)
    seen = place.key_set() if place else None
    raw = read_release(file)
    version = keyset.decode(seen).key_set.version if seen else 0
    found = faults(raw, roots, at=_time(at) if at else int(time.time()), key_set_seen=version)
    document = {"path": str(file), "ok": not found, "findings": [fault.model_dump() for fault in found]}
    lines = [f"{file}: {len(found)} faults", *(f"  {fault.where}: {fault.text} [{fault.code}]" for fault in found)]
    if not found:
        document["release"] = _about(file)
        lines = [f"{file}: verified", *_lines(_about(file))[1:]]
    session.result(document, "\n".join(lines))
    if found:
        raise typer.Exit(DamageError.exit_code)


@command
def inspect(
    session: Session,
    file: FileArgument,
    tree: Annotated[bool, typer.Option("--tree", help="List the files of the base.")] = False,
) -> None:
    """Show what a release holds, and who signed it; whether that is enough says verify."""
    from swiftbuild.cli import inspect as shown

    with naming(file):
        read_release(file)
    document = shown.describe(file) | {"kind": "release"}
    session.result(document, shown.text_of(document, tree=tree))


def read_release(file: Path) -> bytes:
    """The whole file, when it begins as a release does."""
    from swiftbuild.machine.media import contents

    if bytes(contents(file)[: len(MAGIC)]) != MAGIC:
        raise DamageError(f"{file}: no release: it does not start with 'SWIFTREL'",
                          hint="swiftbuild release build makes one; a disk image holds one in each slot")
    return file.read_bytes()


def require_allowed(session: Session, place: KeyFolder, raw: bytes) -> None:
    """Raises RefusedError: the keys are no throw-away, and the release holds what must not leave the desk."""
    from swiftbuild.cli.workshop import forbidden
    from swiftbuild.core.policy import require_none
    from swiftbuild.wire import release

    known = forbidden(session, place)
    if known:
        require_none(release.read_slot(raw), known)


def _check_target(target: Path) -> None:
    """Only a release is written over."""
    if target.is_dir() or (target.exists() and not target.is_file()):
        raise UsageError(f"{target} is no place for a release: not a file", hint="name a file with --out")
    if target.exists():
        with target.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise UsageError(f"{target} is there and is no release: it is not overwritten",
                                 hint="name another file with --out, or remove that one")


def _deliver(shop: Workshop, source: Path, target: Path, *, signed: bool) -> str:
    """Puts the release where it belongs, whole or not at all; signatures of others under the same release stay."""
    from swiftbuild.effects.files import no_space_named, write_atomic
    from swiftbuild.stages.sign import prepare_slot
    from swiftbuild.wire import release

    raw = source.read_bytes() if signed else prepare_slot(source, shop.signer.key_set)
    with naming(target):
        require_allowed(shop.session, shop.folder, raw)
    if target.exists() and not signed:
        there = target.read_bytes()
        same = there[: release.HEADER_SIZE] == raw[: release.HEADER_SIZE]
        if same and release.read_slot(there).signatures.signatures:
            return "kept: it was there, with signatures"
    with no_space_named(target, len(raw)):
        write_atomic(target, raw)
    return "signed" if signed else "not signed: too few private release keys are here"


def _judge(
    session: Session, folder: Path | None, files: list[Path], threshold: int
) -> tuple[KeyFolder | None, Roots]:
    """Whose root keys are asked: those that are named, or a folder's."""
    from swiftbuild.cli.workshop import key_folder
    from swiftbuild.effects.keys import KeyFolder, read_public
    from swiftbuild.model.signing import Roots

    if files and folder:
        raise UsageError("--keys and --root: one of them says who root is")
    if threshold > max(len(files), 1):
        raise UsageError(f"--root-threshold {threshold}: {len(files)} keys are given with --root")
    if files:
        return None, Roots.of([read_public(path) for path in files], threshold)
    place = KeyFolder(folder) if folder else key_folder(session)
    return place, place.roots()


def _time(text: str) -> int:
    for form in TIME_FORMS:
        try:
            return int(datetime.strptime(text, form).replace(tzinfo=UTC).timestamp())
        except ValueError:
            continue
    raise UsageError(f"{text}: not a time", hint="as 2031-12-31, or 2031-12-31T23:59:59Z")


def _about(file: Path) -> dict[str, Any]:
    """A release in short."""
    from swiftbuild.core.dates import utc
    from swiftbuild.digest import sha256
    from swiftbuild.model.release import CriticalFlag
    from swiftbuild.wire import release

    raw = file.read_bytes()
    image = release.read_slot(raw)
    header = image.header
    return {
        "path": str(file), "size": len(raw), "sha256": sha256(raw), "profile": header.profile,
        "version": header.version, "rollback_index": header.rollback_index, "digest": image.digest.hex(),
        "signed_at": utc(header.signed_at) if header.signed_at else None,
        "flags": [f.name.lower() for f in CriticalFlag if header.flags_critical & f and f.name],
        "signatures": [signature.key_id.hex() for signature in image.signatures.signatures],
    }


def _lines(document: dict[str, Any]) -> list[str]:
    by = ", ".join(name[:16] for name in document["signatures"]) or "nobody"
    lines = [
        f"release  {document['path']}", f"size     {document['size']}", f"sha256   {document['sha256']}",
        f"what     swift-os {document['version']} for {document['profile']}, rollback index "
        f"{document['rollback_index']}, flags: {', '.join(document['flags']) or 'none'}",
        f"digest   {document['digest']}", f"signed   {document['signed_at'] or 'at a time that is not told'}, by {by}",
    ]
    if not document["signatures"]:
        lines += ["", f"ask those who sign: swiftbuild sign request {document['path']}"]
    return [*lines, *([f"state    {document['state']}"] if "state" in document else [])]


release_app.command("build")(build)
release_app.command("sign")(sign)
release_app.command("verify")(verify)
release_app.command("inspect")(inspect)
