"""`swiftbuild keys rotate`: other keys for a role, by the next key set; other keys for root, by the next loader."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swiftbuild.cli.keys import (
    ExpiresOption,
    PassphraseOption,
    day_of,
    document_of,
    folder_of,
    key_rows,
    key_set_of,
    new_passphrase,
    now,
    request_path,
    staged,
)
from swiftbuild.cli.passphrase import passphrase_of
from swiftbuild.cli.session import Session, command
from swiftbuild.errors import RefusedError, TrustError, UsageError

if TYPE_CHECKING:
    from swiftbuild.effects.keys import FolderKey, KeyFolder
    from swiftbuild.model.signing import KeySet, Role


@dataclass(frozen=True)
class Wanted:
    """What the command line asks for."""

    role: str
    add: tuple[Path, ...]
    name: str
    revoke: tuple[str, ...]
    threshold: int | None
    expires: int | None
    passphrase_file: Path | None

    @property
    def nothing(self) -> bool:
        """No change is named: a new pair takes the place of the keys that are here."""
        return not (self.add or self.revoke) and self.threshold is None and self.expires is None


@command
def rotate(
    session: Session,
    role: Annotated[str, typer.Argument(metavar="ROLE", help="release, packages, evidence; or root.")],
    add: Annotated[
        list[Path] | None, typer.Option("--add", metavar="FILE.pub", help="This public key; none: a new pair is made.")
    ] = None,
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="The new pair's name; default: a number.")] = "",
    revoke: Annotated[
        list[str] | None, typer.Option("--revoke", metavar="ID", help="Beginning of a key's id: it may sign no more.")
    ] = None,
    threshold: Annotated[
        int | None, typer.Option("--threshold", metavar="N", help="So many of the role's keys must sign.")
    ] = None,
    expires: ExpiresOption = None,
    commit: Annotated[
        bool, typer.Option("--commit", help="(root) End a rotation: the next loader trusts the new root alone.")
    ] = False,
    stage: Annotated[
        Path | None, typer.Option("--stage", metavar="FILE", help="Only a draft, and a request for root's signatures.")
    ] = None,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Make the next key set, signed by root: a key of a role more, one less, or another threshold.

    Without options: a new pair takes the place of the role's keys that are here. Where root's keys are not here, or not
    enough of them, --stage makes a draft that their holders sign in turn.

    root is in no key set. Its rotation has two steps: from the first on, loaders are built that trust the new root and
    the one before, from --commit on the new one alone; keys/README.md tells when.
    """
    wanted = Wanted(role, tuple(add or ()), name, tuple(revoke or ()), threshold, day_of(expires), passphrase_file)
    place = folder_of(session, None)
    if role != "root":
        if commit:
            raise UsageError("--commit ends a rotation of root: no other role has one")
        _rotate_role(session, place, wanted, stage)
        return
    if stage or expires:
        raise UsageError("--stage and --expires are a key set's, and root is in none")
    if commit:
        _commit_root(session, place, wanted)
    else:
        _rotate_root(session, place, wanted)


def _rotate_role(session: Session, place: KeyFolder, wanted: Wanted, stage: Path | None) -> None:
    from swiftbuild.core.trust import accept_key_set
    from swiftbuild.effects.files import write_atomic
    from swiftbuild.wire import keyset

    role = _role(wanted.role)
    old = accept_key_set(key_set_of(place), place.roots())
    here = () if stage else place.root_signers()
    for path in (stage, request_path(stage)) if stage else ():
        if path.exists():
            raise UsageError(f"{path}: it exists, and may hold signatures that somebody gave",
                             hint="name another file with --stage")
    passphrase = passphrase_of(session, wanted.passphrase_file)
    key_set = _following(session, place, old, wanted, role)
    if stage:
        write_atomic(stage, keyset.with_signatures(keyset.encode_signed(key_set), ()))
    else:
        place.write_key_set(key_set, here, passphrase)
    for path in wanted.add:
        place.take_in(path, wanted.role)
    document = document_of(key_set, place.names())
    if stage:
        document["request"], lines = staged(place, stage)
        session.result(document, "\n".join(lines))
    else:
        session.result(document, f"key set {key_set.version} in {place.path}; see: swiftbuild keys show")


def _rotate_root(session: Session, place: KeyFolder, wanted: Wanted) -> None:
    """The first step. Until its last write, who root is stays as it was."""
    from swiftbuild.core.rootchange import RootChange, begun, present
    from swiftbuild.core.trust import accept_key_set
    from swiftbuild.effects.keys import read_public
    from swiftbuild.model.rootfile import RootFile

    file = place.root_file()
    if file.previous:
        raise UsageError("root is being rotated already", hint="swiftbuild keys rotate root --commit ends that")
    old = present(file, [key.path.stem for key in place.listed("root")])
    accept_key_set(key_set_of(place), place.roots())
    added = {place.taken_name(path, "root"): read_public(path) for path in wanted.add}
    gone = wanted.revoke
    if wanted.nothing:
        here = [key for key in place.root_keys() if key.private.exists()]
        if not here:
            raise UsageError("no private key of root is here whose place a new one could take",
                             hint="--add and --revoke name keys, --threshold how many must sign")
        gone = tuple(key.public.key_id.hex() for key in here)
    place.write_root(RootFile(threshold=old.threshold, keys=old.keys))  # a file more is not a key of root more
    if wanted.nothing:
        pair = _new_pair(session, place, wanted, str(len(place.listed("root")) + 1))
        added = {pair.path.stem: pair.public}
    ids = {key.path.stem: key.public.key_id.hex() for key in place.listed("root")}
    ids |= {name: key.key_id.hex() for name, key in added.items()}
    new = begun(old, RootChange(tuple(added), gone, wanted.threshold), ids)
    for path in wanted.add:
        place.take_in(path, "root")
    place.roots(new)  # refuses what a loader has no room for
    place.write_root(new)
    _sign_by_both(session, place, wanted)


def _sign_by_both(session: Session, place: KeyFolder, wanted: Wanted) -> None:
    """Adds the signatures of root's keys that are here to the key set, and says whether the new root is met."""
    from swiftbuild.core import requests
    from swiftbuild.effects.keys import KEY_SET, sign
    from swiftbuild.stages.finish import with_root_signatures

    signed = key_set_of(place)
    have = {signature.key_id for signature in signed.signatures}
    ask = passphrase_of(session, wanted.passphrase_file)
    raw, roots = place.key_set() or b"", place.roots()
    payload = requests.payload_of_key_set(raw)
    made = requests.for_key_set(payload, roots, signed.signatures, place.names())
    for key in place.root_keys():
        if key.private.exists() and key.public.key_id not in have:
            made = requests.add(made, sign(key, requests.message(made), ask))
    place.take_key_set(with_root_signatures(made, raw, roots))
    met = all(count.met for count in requests.counts(made))
    path = place.path / KEY_SET
    lines = ["root is being rotated: loaders that are built from now on trust the new root, and the one before.",
             "The key set is signed by both." if met else "The new root has yet to sign the key set:"]
    if not met:
        lines += [f"  here:                  swiftbuild sign request {path}",
                  f"  who holds it, each:    swiftbuild sign add {path.name}.request.json",
                  f"  then here:             swiftbuild sign finish {path}.request.json {path}"]
    session.result(_root_document(place) | {"signed_by_both": met},
                   "\n".join([*lines, "When every machine has such a loader: swiftbuild keys rotate root --commit"]))


def _commit_root(session: Session, place: KeyFolder, wanted: Wanted) -> None:
    """The second step: only when the new root alone stands for the key set."""
    from swiftbuild.core.rootchange import committed
    from swiftbuild.core.trust import accept_key_set
    from swiftbuild.effects.keys import KEY_SET

    file = place.root_file()
    if not wanted.nothing:
        raise UsageError("--commit changes nothing else", hint="swiftbuild keys rotate root begins another rotation")
    if file.previous is None:
        raise UsageError("root is not being rotated", hint="swiftbuild keys rotate root begins that")
    new = committed(file)
    try:
        accept_key_set(key_set_of(place), place.roots(new))
    except TrustError as error:
        raise RefusedError(f"the new root has not signed the key set: {error.message}",
                           hint=f"swiftbuild sign request {place.path / KEY_SET}") from None
    place.write_root(new)
    session.result(_root_document(place), "root is the new one alone: loaders built from now on trust no other.")


def _root_document(place: KeyFolder) -> dict[str, Any]:
    names = place.names()
    return {"roots": [{"threshold": quorum.threshold, "keys": key_rows(quorum.keys, names)}
                      for quorum in place.roots().quorums]}


def _following(session: Session, place: KeyFolder, old: KeySet, wanted: Wanted, role: Role) -> KeySet:
    """The next set; where no change is named, a pair is made for it."""
    from swiftbuild.core.keysets import Change, following
    from swiftbuild.effects.keys import read_public

    added, gone = tuple(read_public(path) for path in wanted.add), wanted.revoke
    if wanted.nothing:
        known = {key.key_id for key in old.of_role(role)}
        gone = tuple(key.public.key_id.hex() for key in place.listed(wanted.role) if key.public.key_id in known)
        added = (_new_pair(session, place, wanted, str(old.version + 1)).public,)
    change = Change(role, added, gone, wanted.threshold, wanted.expires)
    return following(old, change, signed_at=now())


def _new_pair(session: Session, place: KeyFolder, wanted: Wanted, number: str) -> FolderKey:
    """Its private half is hidden where those beside it are."""
    beside = [key.private for key in place.listed() if key.private.exists()]
    hidden = any(b"ENCRYPTED" in path.read_bytes() for path in beside)
    passphrase = new_passphrase(session, wanted.passphrase_file) if hidden else None
    return place.make(wanted.role, wanted.name or number, passphrase)


def _role(name: str) -> Role:
    from swiftbuild.model.signing import Role

    try:
        return Role[name.upper()]
    except KeyError:
        known = ", ".join(role.name.lower() for role in Role)
        raise UsageError(f"{name}: no role of a key set; there are: {known}",
                         hint="root's keys are in no set: swiftbuild keys rotate root") from None
