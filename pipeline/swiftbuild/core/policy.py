"""What must not leave the desk under a key that is no throw-away: looked for in the bytes of the release itself.

1. the header's dev flag; 2. root keys in the loader that are not those of who signs; 3. throw-away keys; 4. built-in
passwords, and accounts without any; 5. private keys, host keys of SSH among them. Public keys that may log in are not
looked for: they are who the release is for.
"""

from __future__ import annotations

import base64
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from swiftbuild.core.check import Finding
from swiftbuild.core.sha512crypt import matches
from swiftbuild.errors import DamageError, RefusedError
from swiftbuild.model.release import CriticalFlag, SectionType
from swiftbuild.model.signing import Roots
from swiftbuild.wire import erofs, release, rootkeys

PRIVATE_KEY = re.compile(rb"-----BEGIN ((?:[A-Z0-9]+ )*)PRIVATE KEY-----[\r\n]+[A-Za-z0-9+/=\r\n :,-]{32,}-----END ")
"""A whole one: programs that read keys hold the first line alone."""
HOST_KEY = re.compile(r"ssh_host_\w+_key|dropbear_\w+_host_key")
ACCOUNTS = ("/etc/shadow", "/etc/passwd")


@dataclass(frozen=True)
class Known:
    """What is looked for."""

    roots: Roots
    """Of who signs."""
    passwords: tuple[str, ...]
    """Built into some profile."""
    dev_keys: tuple[bytes, ...]
    """Public keys of throw-away pairs."""


    def facts(self) -> dict[str, list[str]]:
        """What of it decides whether something may be signed, for the key of an action. Roots stand there already."""
        return {"passwords": list(self.passwords), "dev keys": sorted(key.hex() for key in self.dev_keys)}


def require_none(image: release.SlotImage, known: Known) -> None:
    """Raises RefusedError: there is an objection."""
    if found := objections(image, known):
        rows = (f"  {one.where}: {one.text} [{one.code}]" for one in found)
        first = "it must not leave the desk, and keys that are no throw-away sign it not:"
        raise RefusedError("\n".join([first, *rows]),
                           hint="--no-dev builds it without built-in passwords; the list: docs/formats/release.md")


def objections(image: release.SlotImage, known: Known) -> list[Finding]:
    """Everything that forbids to sign the release; nothing: it may be signed."""
    found = list(_header(image))
    found += _loader(bytes(image.section(SectionType.LOADER)), known)
    tree = erofs.Erofs(image.section(SectionType.EROFS))
    for path, node in tree.walk():
        if stat.S_ISREG(node.mode) and node.size:
            data = tree.contents(node)
            found += _file(path, data, known)
            if path in ACCOUNTS:
                found += _accounts(path, data, known)
    return found


def _header(image: release.SlotImage) -> Iterator[Finding]:
    if image.header.flags_critical & CriticalFlag.DEV:
        yield Finding(where="header", code="dev-flag", text="it is marked dev: for a desk, never for a network")


def _loader(loader: bytes, known: Known) -> Iterator[Finding]:
    try:
        carried = rootkeys.find(loader)
    except DamageError as error:
        yield Finding(where="loader", code="root-keys", text=error.message)
        return
    if _told(carried) != _told(known.roots):
        yield Finding(where="loader", code="root-keys",
                      text=f"it trusts {_shown(carried)}; the key folder's root is {_shown(known.roots)}")
    for key in carried.keys:
        if key.key in known.dev_keys:
            yield Finding(where="loader", code="dev-key", text=f"it trusts the throw-away key {key.key_id.hex()[:16]}")


def _told(roots: Roots) -> list[tuple[int, frozenset[bytes]]]:
    return [(quorum.threshold, frozenset(key.key_id for key in quorum.keys)) for quorum in roots.quorums]


def _shown(roots: Roots) -> str:
    return ", before ".join(f"{quorum.threshold} of {' '.join(key.key_id.hex()[:16] for key in quorum.keys)}"
                            for quorum in roots.quorums)


def _file(path: str, data: bytes, known: Known) -> Iterator[Finding]:
    name = path.rpartition("/")[2]
    private = PRIVATE_KEY.search(data)
    if HOST_KEY.fullmatch(name) or (private and private[1].startswith(b"OPENSSH")):
        yield Finding(where=path, code="ssh-host-key", text="a private key of SSH: every machine would have the same")
    elif private:
        yield Finding(where=path, code="private-key", text="a private key, which every owner of a copy could use")
    for key in known.dev_keys:
        # in PEM the key ends its last line, at a place where base64 does not shift: 12 bytes stand before it
        if key in data or base64.b64encode(key) in data:
            yield Finding(where=path, code="dev-key", text=f"it holds the throw-away public key {key.hex()[:16]}…")


def _accounts(path: str, data: bytes, known: Known) -> Iterator[Finding]:
    for line in data.decode(errors="replace").splitlines():
        user, colon, rest = line.partition(":")
        hashed = rest.partition(":")[0]
        if colon and not hashed:
            yield Finding(where=path, code="no-password", text=f"{user} needs no password")
        elif any(matches(hashed, password) for password in known.passwords):
            yield Finding(where=path, code="built-in-password", text=f"{user} has the built-in password of a profile")
