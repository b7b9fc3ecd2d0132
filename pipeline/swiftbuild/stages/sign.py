"""An unsigned slot image, and those who sign → the slot image as it is shipped."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from swiftbuild.core import policy
from swiftbuild.model.release import SignatureArea
from swiftbuild.model.signing import Roots, Signature
from swiftbuild.wire import release


class Signer(Protocol):
    """Who signs. What it is shows before anything is built; it is asked to sign only when it must."""

    @property
    def roots(self) -> Roots:
        """The root that the loader is built with."""

    @property
    def key_set(self) -> bytes:
        """The key set that root signed."""

    @property
    def dev(self) -> bool:
        """Its keys are throw-away, and what they sign is marked so."""

    @property
    def keys(self) -> tuple[bytes, ...]:
        """Ids of the release keys that sign."""

    def sign(self, message: bytes) -> tuple[Signature, ...]:
        """A signature by each of them."""


def prepare_slot(unsigned: Path, key_set: bytes) -> bytes:
    """The slot image with the key set in place, and nobody's signature yet."""
    raw = bytearray(unsigned.read_bytes())
    raw[release.HEADER_SIZE : release.SECTIONS_START] = release.encode_signatures(SignatureArea(key_set=key_set))
    release.read_slot(raw)
    return bytes(raw)


def sign_slot(unsigned: Path, signer: Signer, image: Path, forbidden: policy.Known | None = None) -> None:
    """Puts key set and signatures in, and reads all of it back as a loader with these roots will. `forbidden`: what
    must not be signed; None, with throw-away keys: nothing is.

    Raises RefusedError: it holds something of that; DamageError: the loader would refuse it.
    """
    from swiftbuild.core.trust import accept_release  # noqa: PLC0415 - a build with nothing to sign needs none of it

    raw = bytearray(unsigned.read_bytes())
    if forbidden:
        policy.require_none(release.read_slot(raw), forbidden)
    message = release.signed_message(release.release_digest(raw))
    area = SignatureArea(key_set=signer.key_set, signatures=signer.sign(message))
    raw[release.HEADER_SIZE : release.SECTIONS_START] = release.encode_signatures(area)
    accept_release(raw, signer.roots)
    image.write_bytes(raw)
