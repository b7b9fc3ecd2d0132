"""`swiftbuild keys rotate`: other keys for a role, by the next key set; other keys for root, by the next loader."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swiftbuild.cli.keys import (
    ExpiresOption,
    PassphraseOption,
    day_of,
    document_of,
    folder_of,
    key_set_of,
    new_passphrase,
    now,
    staged,
)
from swiftbuild.cli.passphrase import passphrase_of
from swiftbuild.cli.session import Session, command
from swiftbuild.errors import UsageError

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
    role: Annotated[str, typer.Argument(metavar="ROLE", help="release, packages or evidence.")],
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
    stage: Annotated[
        Path | None, typer.Option("--stage", metavar="FILE", help="Only a draft, and a request for root's signatures.")
    ] = None,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Make the next key set, signed by root: a key of a role more, one less, or another threshold.

    Without options: a new pair takes the place of the role's keys that are here. Where root's keys are not here, or not
    enough of them, --stage makes a draft that their holders sign in turn.
    """
    wanted = Wanted(role, tuple(add or ()), name, tuple(revoke or ()), threshold, day_of(expires), passphrase_file)
    _rotate_role(session, folder_of(session, None), wanted, stage)


def _rotate_role(session: Session, place: KeyFolder, wanted: Wanted, stage: Path | None) -> None:
    from swiftbuild.core.trust import accept_key_set
    from swiftbuild.effects.files import write_atomic
    from swiftbuild.wire import keyset

    role = _role(wanted.role)
    old = accept_key_set(key_set_of(place), place.roots())
    here = () if stage else place.root_signers()
    if stage and stage.exists():
        raise UsageError(f"{stage}: it exists", hint="name a file that does not")
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
                         hint="root's keys are built into the loader") from None
