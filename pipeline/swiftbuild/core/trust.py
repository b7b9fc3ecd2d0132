"""Who signed what: the host's verifier. The loader's is kernel/release/src/trust.rs, which shares
no code with this one; tests/vectors/trust holds the two together. Ed25519 alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from swiftbuild.errors import DamageError
from swiftbuild.model.release import CriticalFlag, ReleaseHeader
from swiftbuild.model.signing import Algorithm, KeySet, KeySetFlag, PublicKey, Role, Signature, SignedKeySet
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


def accept_release(raw: Buffer, roots: Sequence[PublicKey], threshold: int = 1) -> tuple[ReleaseHeader, KeySet]:
    """Header and key set of a slot image, if root signed the set, and keys of the set the header.

    Raises DamageError: a format is broken, or too few signed; see docs/formats/key-set.md.
    """
    header = release.decode_header(raw)
    area = release.decode_signatures(take(raw, release.HEADER_SIZE, release.SIGNATURE_AREA_SIZE, "signature area"))
    key_set = accept_key_set(keyset.decode(area.key_set), roots, threshold)
    wanted = key_set.threshold(Role.RELEASE)
    message = release.signed_message(release.release_digest(raw))
    good = signers(message, area.signatures, key_set.of_role(Role.RELEASE))
    if not wanted or len(good) < wanted:
        raise DamageError(f"release {header.version}: signed by {len(good)} keys of key set {key_set.version}, "
                          f"{wanted or 'and none of the set may sign a release; 1'} must")
    if key_set.flags & KeySetFlag.DEV and not header.flags_critical & CriticalFlag.DEV:
        raise DamageError(f"release {header.version}: signed by throw-away keys, and not marked dev")
    return header, key_set


def _is_valid(key: PublicKey, signature: Signature, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key.key).verify(signature.signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
