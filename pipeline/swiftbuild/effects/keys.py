"""The key folder: public keys `ROLE.pub` or `ROLE-NAME.pub`, private ones beside them as `.pem`, and the key set that
root signed. A private key is never overwritten.

`keys/dev/` is made on first use and is no secret; `swiftbuild keys init` makes others.
"""

from __future__ import annotations

import base64
import binascii
import functools
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from swiftbuild.core import keysets
from swiftbuild.effects.files import read_toml, write_atomic
from swiftbuild.errors import InputError
from swiftbuild.model.rootfile import RootFile, toml
from swiftbuild.model.signing import (
    ROOT_KEYS_MAX,
    Algorithm,
    KeySet,
    KeySetFlag,
    PublicKey,
    Quorum,
    Role,
    Roots,
    Signature,
)
from swiftbuild.model.written import parse
from swiftbuild.wire import keyset

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ROLES = ("root", "release", "packages", "evidence")
KEY_SET = "keyset.bin"
DRAFT = "keyset.draft"
"""A key set that root has yet to sign."""
ROOT_FILE = "root.toml"
FILE_BYTES_MAX = 16384
NO_KEY_SET = "swiftbuild keys init DIR makes one with new keys; keys/dev is made anew when it is removed"
Passphrase = Callable[[str], bytes]
"""Asks for the passphrase of a key that it is given the name of."""


@dataclass(frozen=True)
class FolderKey:
    """A key of the folder."""

    role: str
    path: Path
    """Of its public key."""
    public: PublicKey

    @property
    def private(self) -> Path:
        """Where its private key is, if it is here."""
        return self.path.with_suffix(".pem")


@dataclass(frozen=True)
class Terms:
    """What a first key set is for: seconds since 1970-01-01 UTC, and whether its keys are throw-away."""

    dev: bool
    signed_at: int
    expires: int = 0
    roots: tuple[Path, ...] = ()
    """Root's public keys, when others hold it."""
    root_threshold: int = 1


class KeyFolder:
    """Keys in files."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def listed(self, *roles: str) -> tuple[FolderKey, ...]:
        """The keys of these roles, or all."""
        return tuple(FolderKey(role, path, read_public(path)) for role in roles or ROLES
                     for path in sorted((*self.path.glob(f"{role}.pub"), *self.path.glob(f"{role}-*.pub"))))

    def root_file(self) -> RootFile:
        """What `root.toml` says; without one every root key is root's, and one must sign."""
        path = self.path / ROOT_FILE
        return parse(RootFile, read_toml(path, str(path)), str(path)) if path.exists() else RootFile()

    def roots(self, told: RootFile | None = None) -> Roots:
        """Who root is by `told`, or by the folder's file; while root is rotated, who it was too."""
        found = {key.path.stem: key.public for key in self.listed("root")}
        if not found:
            raise InputError(f"{self.path}: 0 files root*.pub, expected 1 to {ROOT_KEYS_MAX}",
                             hint="swiftbuild keys init makes a folder of keys; SWIFTBUILD_KEYS names another")
        file = told or self.root_file()
        groups = [(file.threshold, file.keys or tuple(found))]
        groups += [(file.previous.threshold, file.previous.keys)] if file.previous else []
        where = self.path / ROOT_FILE
        for threshold, names in groups:
            if missing := [name for name in names if name not in found]:
                raise InputError(f"{where}: keys: there is no {missing[0]}.pub beside it",
                                 hint=f"there are: {', '.join(found)}")
            if threshold > len({found[name].key_id for name in names}):
                raise InputError(f"{where}: threshold: {threshold} of {len(names)} keys must sign",
                                 hint="give a smaller threshold, or add a root key")
        count = len({found[name].key_id for _, names in groups for name in names})
        if count > ROOT_KEYS_MAX:
            raise InputError(f"{self.path}: {count} root keys, expected 1 to {ROOT_KEYS_MAX}",
                             hint="the loader has room for no more; rotate root in two steps")
        return Roots(quorums=tuple(
            Quorum(threshold=threshold, keys=tuple(found[name] for name in names)) for threshold, names in groups))

    def root_keys(self) -> tuple[FolderKey, ...]:
        """Root's keys, the present ones first; one that root no longer has is not among them."""
        listed = {key.public.key_id: key for key in self.listed("root")}
        return tuple(listed[key.key_id] for key in self.roots().keys)

    def make(self, role: str, name: str, passphrase: bytes | None) -> FolderKey:
        """A new pair."""
        from cryptography.hazmat.primitives import serialization as form  # noqa: PLC0415 - a build needs none of it
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415

        path = self.path / f"{role}{f'-{name}' if name else ''}.pub"
        private = path.with_suffix(".pem")
        if path.exists() or private.exists():
            raise InputError(f"{path}: there is such a key already; a key is never overwritten",
                             hint="give the new one another --name")
        key = Ed25519PrivateKey.generate()
        self.path.mkdir(parents=True, exist_ok=True)
        hidden = form.BestAvailableEncryption(passphrase) if passphrase else form.NoEncryption()
        write_atomic(private, key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, hidden), 0o600)
        public = key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
        write_atomic(path, public, 0o644)
        return FolderKey(role, path, read_public(path))

    def taken_name(self, path: Path, role: str) -> str:
        """The name that somebody's public key has here; refuses one under which another key lies here already."""
        name = path.name if path.name.startswith(f"{role}-") else f"{role}-{path.name}"
        there = self.path / name
        if there.exists() and read_public(there) != read_public(path):
            raise InputError(f"{there}: another key of that name is here, and {path} would take its place",
                             hint="give the file another name")
        return there.stem

    def take_in(self, path: Path, role: str) -> None:
        """Keeps a copy of somebody's public key."""
        place = self.path / f"{self.taken_name(path, role)}.pub"
        if not place.exists():
            write_atomic(place, path.read_bytes())

    def names(self) -> dict[bytes, str]:
        """Key id → name of its file."""
        return {key.public.key_id: key.path.stem for key in self.listed()}

    def key_set(self) -> bytes | None:
        """The key set as it is in the folder."""
        path = self.path / KEY_SET
        return path.read_bytes()[: keyset.BYTES_MAX + 1] if path.exists() else None

    def root_signers(self) -> tuple[FolderKey, ...]:
        """Root's keys whose private halves are here, when they are enough to sign a key set.

        While root is rotated both roots must be met: the one before for loaders in the field, the present one for those
        that come behind it.
        """
        here = tuple(root for root in self.root_keys() if root.private.exists())
        have = {root.public.key_id for root in here}
        for quorum in self.roots().quorums:
            count = len(have & {key.key_id for key in quorum.keys})
            if count < quorum.threshold:
                raise InputError(f"{self.path}: {count or 'no'} private keys of root are here, "
                                 f"{quorum.threshold} of {len(quorum.keys)} must sign",
                                 hint="make the key set where they are, or let their holders sign in turn: --stage")
        return here

    def write_key_set(self, key_set: KeySet, roots: tuple[FolderKey, ...], passphrase: Passphrase) -> bytes:
        """Signs a key set by root keys that are here, and keeps it in place of the one before."""
        message = keyset.signed_message(keyset.digest(keyset.encode_signed(key_set)))
        raw = keyset.encode(key_set, [sign(root, message, passphrase) for root in roots])
        write_atomic(self.path / KEY_SET, raw)
        return raw

    def take_key_set(self, raw: bytes) -> None:
        """Keeps a key set that was signed elsewhere; whether it may be taken was decided."""
        write_atomic(self.path / KEY_SET, raw)

    def write_root(self, file: RootFile) -> None:
        """Says who root is."""
        write_atomic(self.path / ROOT_FILE, toml(file).encode())


def make_folder(path: Path, *, name: str, terms: Terms, passphrase: bytes | None) -> KeyFolder:
    """A new folder, readable by its owner alone, with a pair for each role and key set 1: all of it, or nothing.

    Where others hold root, there is no pair for it, and the key set is a draft that they have yet to sign.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent, ignore_cleanup_errors=True) as staged:
        folder = KeyFolder(Path(staged))
        pairs = {role: folder.make(role, name, passphrase) for role in ROLES if role != "root" or not terms.roots}
        keys = [(Role[role.upper()], pair.public) for role, pair in pairs.items() if role != "root"]
        key_set = keysets.first(keys, dev=terms.dev, signed_at=terms.signed_at, expires=terms.expires)
        for root in terms.roots:
            folder.take_in(root, "root")
        if terms.roots:
            folder.write_root(RootFile(threshold=terms.root_threshold))
            folder.roots()  # refuses a threshold that these cannot meet
            write_atomic(folder.path / DRAFT, keyset.with_signatures(keyset.encode_signed(key_set), ()))
        else:
            folder.write_key_set(key_set, (pairs["root"],), lambda _: passphrase or b"")
        try:
            folder.path.rename(path)
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}: a folder of keys is made where there is none") from None
    return KeyFolder(path)


class FolderSigner:
    """The release keys of a folder whose private halves are there, as many as must sign. Read when they are needed."""

    def __init__(self, folder: KeyFolder, passphrase: Passphrase) -> None:
        self._folder = folder
        self._passphrase = passphrase

    @functools.cached_property
    def roots(self) -> Roots:
        """The root that the loader is built with."""
        return self._folder.roots()

    @functools.cached_property
    def key_set(self) -> bytes:
        """The key set of the folder."""
        raw = self._folder.key_set()
        if raw is None:
            raise InputError(f"{self._folder.path}: no {KEY_SET}: nobody could say who may sign", hint=NO_KEY_SET)
        return raw

    @property
    def dev(self) -> bool:
        """Its keys are throw-away."""
        return bool(keyset.decode(self.key_set).key_set.flags & KeySetFlag.DEV)

    @property
    def keys(self) -> tuple[bytes, ...]:
        """Ids of those that sign."""
        return tuple(key.public.key_id for key in self._signers)

    @property
    def complete(self) -> bool:
        """As many private release keys are here as must sign."""
        known = keyset.decode(self.key_set).key_set
        return 0 < known.threshold(Role.RELEASE) <= len(self._here(known))

    def sign(self, message: bytes) -> tuple[Signature, ...]:
        """A signature by each."""
        return tuple(sign(key, message, self._passphrase) for key in self._signers)

    @functools.cached_property
    def _signers(self) -> tuple[FolderKey, ...]:
        known = keyset.decode(self.key_set).key_set
        here, wanted = self._here(known), known.threshold(Role.RELEASE)
        if not wanted or len(here) < wanted:
            raise InputError(f"{self._folder.path}: {len(here)} private release keys of key set {known.version} are "
                             f"here, {wanted or 'none of the set may sign a release; 1'} must sign",
                             hint="SWIFTBUILD_KEYS names another key folder; without it throw-away keys sign")
        return tuple(here[:wanted])

    def _here(self, known: KeySet) -> list[FolderKey]:
        may = {key.key_id for key in known.of_role(Role.RELEASE)}
        return [key for key in self._folder.listed("release") if key.public.key_id in may and key.private.exists()]


def read_public(path: Path) -> PublicKey:
    """An Ed25519 public key in PEM (RFC 8410)."""
    lines = path.read_bytes()[:FILE_BYTES_MAX].decode(errors="replace").split("\n")
    try:
        raw = base64.b64decode("".join(line for line in lines if not line.startswith("-----")), validate=True)
    except binascii.Error:
        raw = b""
    prefix, length = keyset.SPKI[Algorithm.ED25519]
    if not raw.startswith(prefix) or len(raw) != len(prefix) + length:
        raise InputError(f"{path}: not an Ed25519 public key in PEM", hint="make one with: openssl pkey -pubout")
    key = raw[len(prefix):]
    return PublicKey(algorithm=Algorithm.ED25519, key_id=keyset.key_id(Algorithm.ED25519, key), key=key)


def sign(key: FolderKey, message: bytes, passphrase: Passphrase) -> Signature:
    """A signature by a private key of the folder."""
    private = read_private(key.private, passphrase)
    if public_of(private).key != key.public.key:
        raise InputError(f"{key.private}: it does not belong to {key.path.name}")
    return sign_by(private, message)


def sign_by(private: Ed25519PrivateKey, message: bytes) -> Signature:
    """A signature."""
    return Signature(algorithm=Algorithm.ED25519, key_id=public_of(private).key_id, signature=private.sign(message))


def public_of(private: Ed25519PrivateKey) -> PublicKey:
    """The public half."""
    raw = private.public_key().public_bytes_raw()
    return PublicKey(algorithm=Algorithm.ED25519, key_id=keyset.key_id(Algorithm.ED25519, raw), key=raw)


def read_private(path: Path, passphrase: Passphrase) -> Ed25519PrivateKey:
    """An Ed25519 private key in PEM."""
    from cryptography.hazmat.primitives import serialization as form  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415

    try:
        pem = path.read_bytes()[:FILE_BYTES_MAX]
    except FileNotFoundError:
        raise InputError(f"{path}: the private key is not here", hint="sign where it is") from None
    asked = passphrase(path.name) if b"ENCRYPTED" in pem else None
    try:
        private = form.load_pem_private_key(pem, asked)
    except ValueError:  # never with its words: they may quote what was typed
        why = "the passphrase is wrong, or the file damaged" if asked else "not a private key in PEM"
        raise InputError(f"{path}: {why}") from None
    if not isinstance(private, Ed25519PrivateKey):
        raise InputError(f"{path}: not an Ed25519 key")
    return private
