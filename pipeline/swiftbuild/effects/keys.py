"""The key folder. `keys/dev/` is made on first use and is no secret; another folder must be there already.

`root.pub` is what the loader is built with; the release keys come with the release work.
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path

from swiftbuild.effects.files import write_atomic
from swiftbuild.errors import InputError

ED25519_PREFIX = bytes.fromhex("302a300506032b6570032100")
"""DER of a SubjectPublicKeyInfo before the 32 bytes of an Ed25519 key (RFC 8410, section 4)."""
ROOT_KEYS_MAX = 8


def root_keys(folder: Path, *, make: bool) -> tuple[str, ...]:
    """The root public keys (`root*.pub`, PEM) as hexadecimal; with `make` a first pair is made in an empty folder."""
    files = sorted(folder.glob("root*.pub"))
    if not files and make:
        _make(folder)
        files = sorted(folder.glob("root*.pub"))
    if not 1 <= len(files) <= ROOT_KEYS_MAX:
        raise InputError(f"{folder}: {len(files)} files root*.pub, expected 1 to {ROOT_KEYS_MAX}",
                         hint="SWIFTBUILD_KEYS names the key folder; without it keys/dev is made on first use")
    return tuple(_read(path) for path in files)


def _read(path: Path) -> str:
    lines = path.read_text(errors="replace").split("\n")
    try:
        raw = base64.b64decode("".join(line for line in lines if not line.startswith("-----")), validate=True)
    except binascii.Error:
        raw = b""
    if not raw.startswith(ED25519_PREFIX) or len(raw) != len(ED25519_PREFIX) + 32:
        raise InputError(f"{path}: not an Ed25519 public key in PEM", hint="make one with: openssl pkey -pubout")
    return raw[len(ED25519_PREFIX):].hex()


def _make(folder: Path) -> None:
    from cryptography.hazmat.primitives import serialization as form  # noqa: PLC0415 - only on first use
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415

    key = Ed25519PrivateKey.generate()
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    private = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    write_atomic(folder / "root.pem", private, 0o600)
    public = key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    write_atomic(folder / "root.pub", public, 0o644)
