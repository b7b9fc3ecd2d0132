"""`swiftbuild keys`: the key folder, and the key set that root signs."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swiftbuild.cli.passphrase import passphrase_of
from swiftbuild.cli.session import Session, command
from swiftbuild.errors import InputError, UsageError

if TYPE_CHECKING:
    from swiftbuild.effects.keys import FolderKey, KeyFolder
    from swiftbuild.model.signing import KeySet, PublicKey, Role, SignedKeySet

keys_app = typer.Typer(help="Signing keys: make, list, rotate; keys/README.md tells how a ceremony goes.",
                       no_args_is_help=True)
FolderArgument = Annotated[
    Path | None, typer.Argument(metavar="[DIR]", help="Default: the key folder in use (SWIFTBUILD_KEYS, or keys/dev).")
]
PassphraseOption = Annotated[
    Path | None, typer.Option("--passphrase-file", metavar="FILE", help="Its first line; else it is asked for.")
]
ExpiresOption = Annotated[
    str | None, typer.Option("--expires", metavar="YYYY-MM-DD", help="The set's last day (UTC); 'never' for none.")
]


@command
def init(
    session: Session,
    folder: FolderArgument = None,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="ROLE", help="Only a key of this role, and no key set.")
    ] = None,
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Whose key: ROLE-NAME.pub.")] = "",
    expires: ExpiresOption = None,
    passphrase_file: PassphraseOption = None,
    no_passphrase: Annotated[bool, typer.Option("--no-passphrase", help="Leave the private keys open.")] = False,
) -> None:
    """Make a folder of keys: one for each role, and the key set that root signs.

    Roles: root signs key sets, release signs base images, packages signs packages, evidence signs what was proved.
    Someone who holds one key of several makes it alone: swiftbuild keys init DIR --only release --name alice.
    """
    from swiftbuild.cli.workshop import DEV_TERMS, key_place
    from swiftbuild.effects.keys import ROLES, KeyFolder, Terms, make_folder

    if unknown := sorted(set(only or ()) - set(ROLES)):
        raise UsageError(f"--only {unknown[0]}: no such role; there are: {', '.join(ROLES)}")
    if not all(character.isalnum() or character in "._" for character in name):
        raise UsageError(f"--name {name}: letters, digits, '.' and '_' only")
    place, dev = (folder, False) if folder else key_place(session)
    if not only and place.exists():
        raise UsageError(f"{place}: it exists, and keys are never overwritten",
                         hint="name another folder; one more key for this one: --only ROLE --name NAME")
    passphrase = None if no_passphrase or dev else _new_passphrase(session, passphrase_file)
    if only:
        if expires:
            raise UsageError("--expires is the key set's, and --only makes none")
        made, key_set = [KeyFolder(place).make(role, name, passphrase) for role in only], None
    else:
        terms = DEV_TERMS if dev else Terms(dev=False, signed_at=_now(), expires=_day(expires) or 0)
        new = make_folder(place, name=name, terms=terms, passphrase=passphrase)
        made, key_set = list(new.listed()), _key_set(new).key_set
    session.result({"folder": str(place), "keys": [_row(key, key_set) for key in made]},
                   "\n".join([f"keys in {place}:", *_table(made, key_set)]))


@command
def list_(
    session: Session,
    folder: FolderArgument = None,
) -> None:
    """List the keys of a folder: role, id, whether the private key is here, whether the key set names it."""
    place = _folder(session, folder)
    found = place.listed()
    if not found:
        raise InputError(f"{place.path}: no keys", hint=f"swiftbuild keys init {place.path}")
    key_set = _key_set(place).key_set if place.key_set() is not None else None
    session.result({"folder": str(place.path), "keys": [_row(key, key_set) for key in found]},
                   "\n".join(_table(found, key_set)))


@command
def show(
    session: Session,
    folder: FolderArgument = None,
) -> None:
    """Show the key set: who may sign what, how many must, and whether root signed it."""
    from swiftbuild.core.trust import accept_key_set

    place = _folder(session, folder)
    signed = _key_set(place)
    roots = place.roots()
    key_set = accept_key_set(signed, roots)
    names = {key.public.key_id: key.path.stem for key in place.listed()}
    document = _document(key_set, names)
    document["roots"] = [{"threshold": quorum.threshold, "keys": _key_rows(quorum.keys, names)}
                         for quorum in roots.quorums]
    lines = [f"key set  {key_set.version}{'  (dev: throw-away keys)' if document['dev'] else ''}",
             f"digest   {signed.digest.hex()}", f"signed   {document['signed_at']}",
             f"expires  {document['expires'] or 'never'}", ""]
    named = zip(("root", "root before"), document["roots"], strict=False)
    for title, group in (*named, *((role["role"], role) for role in document["roles"])):
        lines.append(f"{title}: {group['threshold']} of")
        lines += [f"  {row['id'][:16]}  {row['name'] or '(its file is not here)'}" for row in group["keys"]]
    session.result(document | {"digest": signed.digest.hex()}, "\n".join(lines))


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
    passphrase_file: PassphraseOption = None,
) -> None:
    """Make the next key set, signed by root: a key of a role more, one less, or another threshold.

    Without options: a new pair takes the place of the role's keys that are here.
    """
    from swiftbuild.core.keysets import Change, following
    from swiftbuild.core.trust import accept_key_set
    from swiftbuild.effects.keys import read_public

    wanted = _role(role)
    place = _folder(session, None)
    old = accept_key_set(_key_set(place), place.roots())
    here = place.root_signers()
    passphrase = passphrase_of(session, passphrase_file)
    added, gone = tuple(read_public(path) for path in add or ()), tuple(revoke or ())
    if not (added or gone) and threshold is None and expires is None:
        gone = tuple(key.public.key_id.hex() for key in place.listed(role)
                     if any(known.key_id == key.public.key_id and known.may(wanted) for known in old.keys))
        hidden = any(b"ENCRYPTED" in root.private.read_bytes() for root in here)
        chosen = _new_passphrase(session, passphrase_file) if hidden else None
        new = place.make(role, name or str(old.version + 1), chosen)
        added = (new.public,)
    change = Change(wanted, added, gone, threshold, _day(expires))
    key_set = following(old, change, signed_at=_now())
    place.write_key_set(key_set, here, passphrase)
    for path in add or ():
        place.take_in(path, role)
    names = {key.public.key_id: key.path.stem for key in place.listed()}
    session.result(_document(key_set, names), f"key set {key_set.version} in {place.path}; see: swiftbuild keys show")


@command
def export(
    session: Session,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that does not exist yet.")],
) -> None:
    """Copy what is public, for a machine that builds or verifies: public keys and key set, no private key."""
    from swiftbuild.effects.keys import KEY_SET, ROOT_FILE

    place = _folder(session, None)
    place.roots()
    files = [*(key.path for key in place.listed()),
             *(path for path in (place.path / KEY_SET, place.path / ROOT_FILE) if path.exists())]
    if folder.exists():
        raise UsageError(f"{folder}: it exists", hint="name a folder that does not")
    folder.mkdir(parents=True)
    for file in files:
        shutil.copyfile(file, folder / file.name)
    session.result({"folder": str(folder), "files": [file.name for file in files]},
                   f"{folder}: {', '.join(file.name for file in files)}")


def _folder(session: Session, named: Path | None) -> KeyFolder:
    from swiftbuild.cli.workshop import key_folder
    from swiftbuild.effects.keys import KeyFolder

    return KeyFolder(named) if named else key_folder(session)


def _key_set(place: KeyFolder) -> SignedKeySet:
    from swiftbuild.effects.keys import NO_KEY_SET
    from swiftbuild.wire import keyset

    raw = place.key_set()
    if raw is None:
        raise InputError(f"{place.path}: no key set", hint=NO_KEY_SET)
    return keyset.decode(raw)


def _role(name: str) -> Role:
    from swiftbuild.model.signing import Role

    try:
        return Role[name.upper()]
    except KeyError:
        known = ", ".join(role.name.lower() for role in Role)
        raise UsageError(f"{name}: no role of a key set; there are: {known}",
                         hint="root's keys are built into the loader") from None


def _row(key: FolderKey, key_set: KeySet | None) -> dict[str, Any]:
    identity = key.public.key_id
    named = key_set is not None and any(known.key_id == identity for known in key_set.keys)
    return {"role": key.role, "name": key.path.stem, "id": identity.hex(), "private": key.private.exists(),
            "in_key_set": named}


def _table(keys: Sequence[FolderKey], key_set: KeySet | None) -> list[str]:
    lines = [f"{'ROLE':10} {'ID':16} {'PRIVATE':8} {'IN SET':7} NAME"]
    for key in keys:
        row = _row(key, key_set)
        private = "here" if row["private"] else "-"
        named = "-" if key.role == "root" else "yes" if row["in_key_set"] else "no"
        lines.append(f"{key.role:10} {row['id'][:16]} {private:8} {named:7} {row['name']}")
    return lines


def _document(key_set: KeySet, names: dict[bytes, str]) -> dict[str, Any]:
    from swiftbuild.model.signing import KeySetFlag, Role

    def day(seconds: int) -> str | None:
        return datetime.fromtimestamp(seconds, UTC).isoformat() if seconds else None

    roles = [
        {"role": role.name.lower(), "threshold": key_set.threshold(role),
         "keys": _key_rows(key_set.of_role(role), names)}
        for role in Role if key_set.threshold(role)
    ]
    return {"version": key_set.version, "dev": bool(key_set.flags & KeySetFlag.DEV),
            "signed_at": day(key_set.signed_at), "expires": day(key_set.expires), "roles": roles}


def _key_rows(keys: Iterable[PublicKey], names: dict[bytes, str]) -> list[dict[str, Any]]:
    return [{"id": key.key_id.hex(), "name": names.get(key.key_id)} for key in keys]


def _now() -> int:
    return int(datetime.now(UTC).timestamp())


def _day(text: str | None) -> int | None:
    """The end of a day; 0 for `never`."""
    if text is None or text == "never":
        return None if text is None else 0
    try:
        day = datetime.strptime(text, "%Y-%m-%d").date()
    except ValueError:
        raise UsageError(f"--expires {text}: not a day", hint="as 2031-12-31, or never") from None
    return int(datetime.combine(day, time.max, UTC).timestamp())


def _new_passphrase(session: Session, path: Path | None) -> bytes:
    """A new key's: twice when it is typed."""
    ask = passphrase_of(session, path)
    first = ask("the new private key")
    if path is None and ask("the new private key, again") != first:
        raise InputError("the two passphrases differ")
    if not first:
        raise InputError("an empty passphrase hides nothing", hint="--no-passphrase leaves the key open")
    return first


keys_app.command("init")(init)
keys_app.command("list")(list_)
keys_app.command("show")(show)
keys_app.command("rotate")(rotate)
keys_app.command("export")(export)
