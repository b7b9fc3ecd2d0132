"""Who signed what: the host's verifier. Ed25519 alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from swiftbuild.errors import DamageError
from swiftbuild.model.signing import Algorithm, KeySet, PublicKey, Signature, SignedKeySet
from swiftbuild.wire import keyset


def signers(message: bytes, signatures: Iterable[Signature], keys: Iterable[PublicKey]) -> frozenset[bytes]:
    """Ids of those of the keys that signed: each once, however often it did. Other algorithms than Ed25519 are
    passed over."""
    known = {key.key_id: key for key in keys if key.algorithm == Algorithm.ED25519}
    return frozenset(
        s.key_id for s in signatures
        if s.algorithm == Algorithm.ED25519 and s.key_id in known and _is_valid(known[s.key_id], s, message)
    )


def accept_key_set(signed: SignedKeySet, roots: Sequence[PublicKey], threshold: int = 1) -> KeySet:
    """The key set, if as many root keys signed it as must.

    Raises DamageError: too few did.
    """
    good = signers(keyset.signed_message(signed.digest), signed.signatures, roots)
    if len(good) < threshold:
        raise DamageError(
            f"key set {signed.key_set.version}: signed by {len(good)} of {len(roots)} root keys, {threshold} must",
            hint="it belongs to another root, or was changed after it was signed")
    return signed.key_set


def _is_valid(key: PublicKey, signature: Signature, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key.key).verify(signature.signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
