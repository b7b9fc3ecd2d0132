"""Key sets (docs/formats/key-set.md). The signed bytes are hashed as they came."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence

from swiftbuild.errors import DamageError
from swiftbuild.model.signing import (
    KEY_BYTES_MAX,
    Algorithm,
    KeySet,
    KeySetFlag,
    PublicKey,
    Signature,
    SignedKeySet,
    Threshold,
)
from swiftbuild.wire import signature
from swiftbuild.wire.view import Buffer, padded, record, take, zero

BYTES_MAX = 8192
ROLES_MAX, KEYS_MAX, SIGNATURES_MAX = 8, 32, 8
DOMAIN = b"swift-os/key-set/v1\0"
FIXED = struct.Struct("<8sHHIQQQIHH16s")
ROLE = struct.Struct("<IIQ")
KEY = struct.Struct("<HHI32s80sQ")
SIGNATURES = struct.Struct("<II")
assert FIXED.size == 64 and ROLE.size == 16 and KEY.size == 128  # noqa: S101
SPKI = {
    Algorithm.ED25519: (bytes.fromhex("302a300506032b6570032100"), 32),
    Algorithm.ECDSA_P256: (bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200"), 65),
}
"""DER of a SubjectPublicKeyInfo before the key's own bytes (RFC 8410, section 4; RFC 5480, section 2); their length."""


def key_id(algorithm: Algorithm, key: bytes) -> bytes:
    """SHA-256 of the SubjectPublicKeyInfo."""
    return hashlib.sha256(SPKI[algorithm][0] + key).digest()


def signed_message(digest: bytes) -> bytes:
    """What root signs."""
    return DOMAIN + digest


def digest(signed: Buffer) -> bytes:
    """What identifies the signed bytes, and what root signs."""
    return hashlib.sha256(signed).digest()


def encode_signed(key_set: KeySet) -> bytes:
    """The signed bytes."""
    length = FIXED.size + ROLE.size * len(key_set.thresholds) + KEY.size * len(key_set.keys)
    fixed = FIXED.pack(b"SWKEYSET", 1, key_set.minor, length, key_set.version, key_set.signed_at, key_set.expires,
                       key_set.flags, len(key_set.thresholds), len(key_set.keys), bytes(16))
    roles = (ROLE.pack(row.role, row.keys, 0) for row in key_set.thresholds)
    keys = (KEY.pack(k.algorithm, len(k.key), k.roles, k.key_id, padded(k.key, KEY_BYTES_MAX), 0)
            for k in key_set.keys)
    return b"".join((fixed, *roles, *keys))


def encode(key_set: KeySet, signatures: Sequence[Signature]) -> bytes:
    """The whole key set, read back as everybody will read it."""
    return with_signatures(encode_signed(key_set), signatures)


def with_signatures(signed: Buffer, signatures: Sequence[Signature]) -> bytes:
    """The signed bytes as they are, with these signatures; with none it is a draft, which only `draft` reads."""
    raw = bytes(signed) + SIGNATURES.pack(len(signatures), 0) + signature.encode(signatures)
    draft(raw)
    return raw


def decode(raw: Buffer) -> SignedKeySet:
    """A key set, with every rule that its bytes alone must keep. Whether root signed it is core.trust's to say."""
    found = draft(raw)
    if not found.signatures:
        raise DamageError(f"key set: no signatures, 1 to {SIGNATURES_MAX} are allowed")
    return found


def draft(raw: Buffer) -> SignedKeySet:
    """A key set that nobody need have signed yet."""
    key_set, length = decode_signed(raw)
    count, reserved_count = SIGNATURES.unpack(take(raw, length, SIGNATURES.size, "key set: signatures"))
    if count > SIGNATURES_MAX or reserved_count:
        raise DamageError(f"key set: {count} signatures, 1 to {SIGNATURES_MAX} are allowed")
    signatures = signature.decode(raw, length + SIGNATURES.size, count, "key set")
    return SignedKeySet(key_set=key_set, digest=digest(take(raw, 0, length, "key set")), signatures=signatures)


def decode_signed(raw: Buffer) -> tuple[KeySet, int]:
    """The signed bytes at the start of `raw`, and how many they are."""
    if len(raw) > BYTES_MAX:
        raise DamageError(f"key set: {len(raw)} bytes, at most {BYTES_MAX} are allowed")
    magic, major, minor, length, version, signed_at, expires, flags, role_count, key_count, reserved = FIXED.unpack(
        take(raw, 0, FIXED.size, "key set"))
    if magic != b"SWKEYSET" or major != 1:
        raise DamageError("key set: not 'SWKEYSET' version 1")
    if not 1 <= role_count <= ROLES_MAX or not 1 <= key_count <= KEYS_MAX:
        raise DamageError(f"key set: {role_count} roles and {key_count} keys")
    keys_at = FIXED.size + ROLE.size * role_count
    if length != keys_at + KEY.size * key_count:
        raise DamageError(f"key set: signed length {length} does not fit {role_count} roles and {key_count} keys")
    if unknown := flags & ~int(KeySetFlag.DEV):
        raise DamageError(f"key set: unknown flags {unknown:#x}")
    signed = take(raw, 0, length, "key set")
    if minor == 0 and not zero(reserved):
        raise DamageError("key set: reserved bytes are not zero")
    key_set = record("key set", lambda: KeySet(
        minor=minor, version=version, signed_at=signed_at, expires=expires, flags=flags,
        thresholds=tuple(_role(signed, FIXED.size + ROLE.size * index, minor) for index in range(role_count)),
        keys=tuple(_key(signed, keys_at + KEY.size * index, minor) for index in range(key_count)),
    ))
    _check(key_set)
    return key_set, length


def _role(signed: Buffer, at: int, minor: int) -> Threshold:
    role, keys, reserved = ROLE.unpack_from(signed, at)
    if minor == 0 and reserved:
        raise DamageError(f"key set: role {role}: reserved bytes are not zero")
    return Threshold(role=role, keys=keys)


def _key(signed: Buffer, at: int, minor: int) -> PublicKey:
    algorithm, length, roles, identity, key, reserved = KEY.unpack_from(signed, at)
    what = f"key set: key {identity.hex()[:16]}"
    if not 1 <= length <= KEY_BYTES_MAX or not zero(key[length:]) or (minor == 0 and reserved):
        raise DamageError(f"{what}: {length} bytes, or bytes behind them")
    if algorithm in list(Algorithm):
        known = Algorithm(algorithm)
        if length != SPKI[known][1]:
            raise DamageError(f"{what}: {length} bytes, {known.name} has {SPKI[known][1]}")
        if identity != key_id(known, key[:length]):
            raise DamageError(f"{what}: its id is that of another key")
    return PublicKey(algorithm=algorithm, key_id=identity, key=key[:length], roles=roles)


def _check(key_set: KeySet) -> None:
    """Each role and key once, each key for something, and no role that its keys cannot satisfy."""
    roles = [row.role for row in key_set.thresholds]
    if len(set(roles)) != len(roles) or 0 in roles or max(roles) > 31:
        raise DamageError(f"key set: roles {roles}: each stands once and is 1 to 31")
    identities = [key.key_id for key in key_set.keys]
    if len(set(identities)) != len(identities):
        raise DamageError("key set: a key stands twice")
    named = sum(1 << role for role in roles)
    for key in key_set.keys:
        if not key.roles or key.roles & ~named:
            raise DamageError(f"key set: key {key.key_id.hex()[:16]}: roles {key.roles:#x}, the set has {named:#x}")
    for row in key_set.thresholds:
        count = len(key_set.of_role(row.role))
        if not 1 <= row.keys <= count:
            raise DamageError(f"key set: role {row.role} wants {row.keys} keys and has {count}")
