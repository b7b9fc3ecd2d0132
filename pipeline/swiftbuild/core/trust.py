"""Who signed what: the host's verifier. The loader's is kernel/release/src/trust.rs, which shares
no code with this one; tests/vectors/trust holds the two together, classes of refusal included. Ed25519 alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from swiftbuild.errors import DamageError, TrustError
from swiftbuild.model.release import CriticalFlag, ReleaseHeader
from swiftbuild.model.signing import (
    Algorithm,
    KeySet,
    KeySetFlag,
    PublicKey,
    Quorum,
    Role,
    Roots,
    Signature,
    SignedKeySet,
)
from swiftbuild.wire import keyset, release
from swiftbuild.wire.view import Buffer, take


def signers(message: bytes, signatures: Iterable[Signature], keys: Iterable[PublicKey]) -> frozenset[bytes]:
    """Ids of those of the keys that signed: each once, however often it did. Other algorithms than Ed25519 are
    passed over."""
    known = {key.key_id: key for key in keys if key.algorithm == Algorithm.ED25519}
    return frozenset(
        s.key_id for s in signatures
        if s.algorithm == Algorithm.ED25519 and s.key_id in known and _is_valid(known[s.key_id], s, message)
    )


def met(signed: frozenset[bytes], quorum: Quorum) -> bool:
    """As many of its keys have signed as must."""
    return len(signed & {key.key_id for key in quorum.keys}) >= quorum.threshold


def accept_key_set(signed: SignedKeySet, roots: Roots) -> KeySet:
    """The key set, if as many root keys signed it as must.

    Raises TrustError: too few did.
    """
    good = signers(keyset.signed_message(signed.digest), signed.signatures, roots.keys)
    if not any(met(good, quorum) for quorum in roots.quorums):
        present = roots.quorums[0]
        count = len(good & {key.key_id for key in present.keys})
        raise TrustError(
            f"key set {signed.key_set.version}: signed by {count} of {len(present.keys)} root keys, "
            f"{present.threshold} must", code="root",
            hint="it belongs to another root, or was changed after it was signed")
    return signed.key_set


@dataclass(frozen=True)
class Signed:
    """Header and key set of a slot image, and which keys have signed each; whether that is enough is not said."""

    header: ReleaseHeader
    key_set: SignedKeySet
    by_root: frozenset[bytes]
    by_keys: frozenset[bytes]


def read_signed(raw: Buffer, roots: Roots) -> Signed:
    """Who signed a slot image.

    Raises DamageError: a format is broken.
    """
    header = release.decode_header(raw)
    area = release.decode_signatures(take(raw, release.HEADER_SIZE, release.SIGNATURE_AREA_SIZE, "signature area"))
    try:
        signed = keyset.decode(area.key_set)
    except DamageError as error:
        raise TrustError(error.message, code="key-set") from error
    by_root = signers(keyset.signed_message(signed.digest), signed.signatures, roots.keys)
    message = release.signed_message(release.release_digest(raw))
    return Signed(header, signed, by_root, signers(message, area.signatures, signed.key_set.of_role(Role.RELEASE)))


def accept_release(raw: Buffer, roots: Roots) -> tuple[ReleaseHeader, KeySet]:
    """Header and key set of a slot image, if root signed the set, and keys of the set the header.

    Raises DamageError: a format is broken; TrustError: too few signed; see docs/formats/key-set.md.
    """
    found = read_signed(raw, roots)
    header, key_set = found.header, accept_key_set(found.key_set, roots)
    wanted = key_set.threshold(Role.RELEASE)
    if not wanted:
        raise TrustError(f"release {header.version}: no key of key set {key_set.version} may sign a release",
                         code="no-role")
    if len(found.by_keys) < wanted:
        raise TrustError(f"release {header.version}: signed by {len(found.by_keys)} keys of key set {key_set.version}, "
                         f"{wanted} must", code="release")
    if key_set.flags & KeySetFlag.DEV and not header.flags_critical & CriticalFlag.DEV:
        raise TrustError(f"release {header.version}: signed by throw-away keys, and not marked dev", code="unmarked")
    return header, key_set


def _is_valid(key: PublicKey, signature: Signature, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key.key).verify(signature.signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
