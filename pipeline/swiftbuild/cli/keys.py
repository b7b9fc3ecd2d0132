"""`swiftbuild keys`: the key folder, and the key set that root signs."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swiftbuild.cli.passphrase import passphrase_of
from swiftbuild.cli.session import Session, command, naming
from swiftbuild.errors import InputError, RefusedError, UsageError

if TYPE_CHECKING:
    from swiftbuild.effects.keys import FolderKey, KeyFolder
    from swiftbuild.model.signing import KeySet, PublicKey, SignedKeySet

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
    root: Annotated[
        list[Path] | None, typer.Option("--root", metavar="FILE.pub", help="A public key of root, held elsewhere.")
    ] = None,
    root_threshold: Annotated[
        int, typer.Option("--root-threshold", metavar="N", min=1, help="So many of root's keys must sign key sets.")
    ] = 1,
    expires: ExpiresOption = None,
    passphrase_file: PassphraseOption = None,
    no_passphrase: Annotated[bool, typer.Option("--no-passphrase", help="Leave the private keys open.")] = False,
) -> None:
    """Make a folder of keys: one for each role, and the key set that root signs.

    Roles: root signs key sets, release signs base images, packages signs packages, evidence signs what was proved.
    Someone who holds one key of several makes it alone: swiftbuild keys init DIR --only release --name alice.

    With --root the key set is a draft that those who hold root have yet to sign: swiftbuild sign add.
    """
    from swiftbuild.cli.workshop import DEV_TERMS, key_place
    from swiftbuild.effects.keys import DRAFT, ROLES, KeyFolder, Terms, make_folder

    if unknown := sorted(set(only or ()) - set(ROLES)):
        raise UsageError(f"--only {unknown[0]}: no such role; there are: {', '.join(ROLES)}")
    if not all(character.isalnum() or character in "._" for character in name):
        raise UsageError(f"--name {name}: letters, digits, '.' and '_' only")
    place, dev = (folder, False) if folder else key_place(session)
    if root_threshold > max(len(root or ()), 1):
        raise UsageError(f"--root-threshold {root_threshold}: {len(root or ())} keys are given with --root",
                         hint="each of them is made where nobody else comes: swiftbuild keys init DIR --only root")
    if not only and place.exists():
        raise UsageError(f"{place}: it exists, and keys are never overwritten",
                         hint="name another folder; one more key for this one: --only ROLE --name NAME")
    passphrase = None if no_passphrase or dev else new_passphrase(session, passphrase_file)
    if only:
        if expires or root:
            raise UsageError("--expires and --root are the key set's, and --only makes none")
        made, key_set = [KeyFolder(place).make(role, name, passphrase) for role in only], None
    else:
        terms = DEV_TERMS if dev else Terms(dev=False, signed_at=now(), expires=day_of(expires) or 0,
                                            roots=tuple(root or ()), root_threshold=root_threshold)
        new = make_folder(place, name=name, terms=terms, passphrase=passphrase)
        made, key_set = list(new.listed()), None if terms.roots else key_set_of(new).key_set
    document: dict[str, Any] = {"folder": str(place), "keys": [_row(key, key_set) for key in made]}
    lines = [f"keys in {place}:", *_table(made, key_set)]
    if root:
        document["request"], more = staged(KeyFolder(place), place / DRAFT)
        lines += ["", *more]
    session.result(document, "\n".join(lines))


@command
def list_(
    session: Session,
    folder: FolderArgument = None,
) -> None:
    """List the keys of a folder: role, id, whether the private key is here, whether the key set names it."""
    place = folder_of(session, folder)
    found = place.listed()
    if not found:
        raise InputError(f"{place.path}: no keys", hint=f"swiftbuild keys init {place.path}")
    key_set = key_set_of(place).key_set if place.key_set() is not None else None
    session.result({"folder": str(place.path), "keys": [_row(key, key_set) for key in found]},
                   "\n".join(_table(found, key_set)))


@command
def show(
    session: Session,
    folder: FolderArgument = None,
) -> None:
    """Show the key set: who may sign what, how many must, and whether root signed it."""
    from swiftbuild.core.trust import accept_key_set

    place = folder_of(session, folder)
    signed = key_set_of(place)
    roots = place.roots()
    key_set = accept_key_set(signed, roots)
    names = {key.public.key_id: key.path.stem for key in place.listed()}
    document = document_of(key_set, names)
    document["roots"] = [{"threshold": quorum.threshold, "keys": key_rows(quorum.keys, names)}
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
def export(
    session: Session,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that does not exist yet.")],
) -> None:
    """Copy what is public, for a machine that builds or verifies: public keys and key set, no private key."""
    from swiftbuild.effects.keys import KEY_SET, ROOT_FILE

    place = folder_of(session, None)
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


@command
def take(
    session: Session,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A key set that root has signed.")],
) -> None:
    """Take a key set into the key folder in use: signed by its root keys, and not older than the one there."""
    from swiftbuild.core.trust import accept_key_set
    from swiftbuild.wire import keyset

    place = folder_of(session, None)
    with naming(file):
        raw = file.read_bytes()
        signed = keyset.decode(raw)
        key_set = accept_key_set(signed, place.roots())
        if place.key_set() is not None:
            present = key_set_of(place)
            version = present.key_set.version
            if key_set.version < version or (key_set.version == version and signed.digest != present.digest):
                raise RefusedError(f"key set {key_set.version}, and {version} is in use",
                                   hint="a set's version only grows")
    place.take_key_set(raw)
    session.result(document_of(key_set, place.names()),
                   f"key set {key_set.version} in {place.path}; see: swiftbuild keys show")


def request_path(file: Path) -> Path:
    """Where the request for a file lies, when nothing else is said."""
    return file.with_name(f"{file.name}.request.json")


def staged(place: KeyFolder, draft: Path) -> tuple[str, list[str]]:
    """Makes the request for a draft of a key set, and says who does what with it."""
    from swiftbuild.cli.sign import request_for
    from swiftbuild.effects.files import write_atomic
    from swiftbuild.wire import request

    path = request_path(draft)
    write_atomic(path, request.encode(request_for(place, draft.read_bytes())))
    return str(path), [f"{draft} is a draft: root has yet to sign it.",
                       f"  who holds root, each:  swiftbuild sign add {path.name}",
                       f"  then here:             swiftbuild sign finish {path} {draft}",
                       f"                         swiftbuild keys take {draft}"]


def folder_of(session: Session, named: Path | None) -> KeyFolder:
    from swiftbuild.cli.workshop import key_folder
    from swiftbuild.effects.keys import KeyFolder

    return KeyFolder(named) if named else key_folder(session)


def key_set_of(place: KeyFolder) -> SignedKeySet:
    from swiftbuild.effects.keys import NO_KEY_SET
    from swiftbuild.wire import keyset

    raw = place.key_set()
    if raw is None:
        raise InputError(f"{place.path}: no key set", hint=NO_KEY_SET)
    return keyset.decode(raw)


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


def document_of(key_set: KeySet, names: dict[bytes, str]) -> dict[str, Any]:
    from swiftbuild.model.signing import KeySetFlag, Role

    def day(seconds: int) -> str | None:
        return datetime.fromtimestamp(seconds, UTC).isoformat() if seconds else None

    roles = [
        {"role": role.name.lower(), "threshold": key_set.threshold(role),
         "keys": key_rows(key_set.of_role(role), names)}
        for role in Role if key_set.threshold(role)
    ]
    return {"version": key_set.version, "dev": bool(key_set.flags & KeySetFlag.DEV),
            "signed_at": day(key_set.signed_at), "expires": day(key_set.expires), "roles": roles}


def key_rows(keys: Iterable[PublicKey], names: dict[bytes, str]) -> list[dict[str, Any]]:
    return [{"id": key.key_id.hex(), "name": names.get(key.key_id)} for key in keys]


def now() -> int:
    return int(datetime.now(UTC).timestamp())


def day_of(text: str | None) -> int | None:
    """The end of a day; 0 for `never`."""
    if text is None or text == "never":
        return None if text is None else 0
    try:
        day = datetime.strptime(text, "%Y-%m-%d").date()
    except ValueError:
        raise UsageError(f"--expires {text}: not a day", hint="as 2031-12-31, or never") from None
    return int(datetime.combine(day, time.max, UTC).timestamp())


def new_passphrase(session: Session, path: Path | None) -> bytes:
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
keys_app.command("export")(export)
keys_app.command("take")(take)
