"""Key sets: round trip, everything that must be refused, who signed, and which set comes next."""

from __future__ import annotations

import contextlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from swiftbuild.core import keysets, trust
from swiftbuild.core.keysets import Change
from swiftbuild.errors import DamageError, UsageError
from swiftbuild.model.signing import Algorithm, KeySet, PublicKey, Role, Roots, Signature, Threshold
from swiftbuild.wire import keyset

PRIVATE = [Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in range(8)]


def public(number: int, *roles: Role) -> PublicKey:
    """The public half of a key of these tests."""
    key = PRIVATE[number].public_key().public_bytes_raw()
    return PublicKey(algorithm=Algorithm.ED25519, key_id=keyset.key_id(Algorithm.ED25519, key), key=key,
                     roles=sum(keysets.mask(role) for role in roles))


def signature(number: int, message: bytes) -> Signature:
    return Signature(algorithm=Algorithm.ED25519, key_id=public(number).key_id, signature=PRIVATE[number].sign(message))


SET = KeySet(
    version=5, signed_at=7, expires=9, flags=1,
    thresholds=(Threshold(role=Role.RELEASE, keys=2), Threshold(role=Role.EVIDENCE, keys=1)),
    keys=(public(2, Role.RELEASE), public(3, Role.RELEASE, Role.EVIDENCE), public(4, Role.RELEASE)),
)
ROOTS = [public(0), public(1)]


def message(key_set: KeySet = SET) -> bytes:
    return keyset.signed_message(keyset.digest(keyset.encode_signed(key_set)))


def whole(*signers: int, key_set: KeySet = SET) -> bytearray:
    """A key set with these root keys' signatures."""
    return bytearray(keyset.encode(key_set, [signature(number, message(key_set)) for number in signers]))


def test_reads_back_what_was_signed() -> None:
    signed = keyset.decode(whole(0, 1))
    assert signed.key_set == SET
    assert trust.accept_key_set(signed, Roots.of(ROOTS, 2)) == SET
    assert [key.key_id for key in SET.of_role(Role.EVIDENCE)] == [public(3).key_id]


@pytest.mark.parametrize(("signers", "threshold", "accepted"), [
    ((0,), 1, True), ((0, 1), 2, True), ((1, 0), 2, True), ((0,), 2, False), ((0, 0), 2, False), ((2, 3), 1, False),
    ((2, 0), 1, True), ((2, 0), 2, False),
])  # fmt: skip
def test_only_different_keys_of_root_count(signers: tuple[int, ...], threshold: int, accepted: bool) -> None:
    signed = keyset.decode(whole(*signers))
    with contextlib.nullcontext() if accepted else pytest.raises(DamageError, match="root keys"):
        trust.accept_key_set(signed, Roots.of(ROOTS, threshold))


def test_a_signature_of_another_set_algorithm_or_key_is_none() -> None:
    good = signature(0, message())
    for wrong in (
        signature(0, message(SET.model_copy(update={"version": 6}))),
        signature(0, b"swift-os/release-header/v1\0" + message()[len(keyset.DOMAIN):]),
        good.model_copy(update={"algorithm": 2}),
        good.model_copy(update={"key_id": public(1).key_id}),
        good.model_copy(update={"signature": good.signature[:63]}),
        good.model_copy(update={"signature": b""}),
    ):
        assert trust.signers(message(), [wrong], ROOTS) == frozenset()
    assert trust.signers(message(), [good, good], ROOTS) == {public(0).key_id}


@given(at=st.integers(0, len(whole(0)) - 1), bit=st.integers(0, 7))
def test_one_flipped_bit_is_refused(at: int, bit: int) -> None:
    raw = whole(0)
    raw[at] ^= 1 << bit
    padding = len(raw) - 64 - 40 + 2 <= at < len(raw) - 64 - 40 + 4  # of the signature's entry; ignored by every reader
    with contextlib.suppress(DamageError) if padding else pytest.raises(DamageError):
        trust.accept_key_set(keyset.decode(raw), Roots.of(ROOTS))


@given(st.binary(max_size=400))
def test_any_bytes_are_refused_in_words(raw: bytes) -> None:
    with pytest.raises(DamageError):
        keyset.decode(raw)
    with pytest.raises(DamageError):
        keyset.decode(bytes(whole(0))[: len(raw)] + raw)


@pytest.mark.parametrize("change", [
    {"thresholds": (Threshold(role=Role.RELEASE, keys=4), Threshold(role=Role.EVIDENCE, keys=1))},
    {"thresholds": (Threshold(role=Role.RELEASE, keys=0), Threshold(role=Role.EVIDENCE, keys=1))},
    {"thresholds": (Threshold(role=Role.RELEASE, keys=1), Threshold(role=Role.RELEASE, keys=1))},
    {"thresholds": (Threshold(role=Role.RELEASE, keys=2), Threshold(role=0, keys=1))},
    {"thresholds": (Threshold(role=Role.RELEASE, keys=2), Threshold(role=32, keys=1))},
    {"thresholds": (Threshold(role=Role.RELEASE, keys=2),)},
    {"keys": (*SET.keys, public(2, Role.RELEASE))},
    {"keys": (*SET.keys, public(5))},
    {"keys": (*SET.keys, public(5, Role.PACKAGES))},
    {"keys": (*SET.keys, public(5, Role.RELEASE).model_copy(update={"key_id": bytes(32)}))},
    {"keys": (*SET.keys, public(5, Role.RELEASE).model_copy(update={"key": b"k" * 33}))},
    {"flags": 2},
])  # fmt: skip
def test_a_set_that_makes_no_sense_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(DamageError):
        whole(0, key_set=SET.model_copy(update=change))


def test_what_a_later_version_adds_is_passed_over() -> None:
    """An algorithm and a role without meaning here; a larger minor version with its reserved bytes in use."""
    odd = PublicKey(algorithm=9, key_id=b"o" * 32, key=b"x" * 80, roles=1 << 7 | 1 << Role.RELEASE)
    later = SET.model_copy(update={"minor": 1, "keys": (*SET.keys, odd),
                                   "thresholds": (*SET.thresholds, Threshold(role=7, keys=1))})
    assert keyset.decode(whole(0, key_set=later)).key_set == later


def test_the_next_set_adds_and_revokes() -> None:
    revoked = public(2).key_id.hex()[:8].upper()
    change = Change(Role.RELEASE, add=(public(5),), revoke=(revoked,), threshold=3, expires=0)
    following = keysets.following(SET, change, signed_at=11)
    assert (following.version, following.signed_at, following.expires, following.flags) == (6, 11, 0, 1)
    assert [key.key_id for key in following.of_role(Role.RELEASE)] == [public(n).key_id for n in (3, 4, 5)]
    assert [key.key_id for key in following.of_role(Role.EVIDENCE)] == [public(3).key_id]
    assert following.threshold(Role.RELEASE) == 3
    whole(0, key_set=following)
    # Revoked for one role, a key keeps the other; a role that is new gets its threshold.
    kept = keysets.following(SET, Change(Role.RELEASE, revoke=(public(3).key_id.hex(),)), signed_at=0)
    assert public(3).key_id in {key.key_id for key in kept.of_role(Role.EVIDENCE)}
    new = keysets.following(SET, Change(Role.PACKAGES, add=(public(2),), threshold=1), signed_at=0)
    assert [row.role for row in new.thresholds] == [Role.RELEASE, Role.PACKAGES, Role.EVIDENCE]
    whole(0, key_set=kept)
    whole(0, key_set=new)


@pytest.mark.parametrize(("change", "says"), [
    (Change(Role.RELEASE, revoke=("",)), "3 keys"),
    (Change(Role.RELEASE, revoke=(public(0).key_id.hex(),)), "0 keys"),
    (Change(Role.EVIDENCE, revoke=(public(3).key_id.hex(),)), "1 of its keys must sign, and it would have 0"),
    (Change(Role.RELEASE, threshold=4), "4 of its keys must sign, and it would have 3"),
    (Change(Role.PACKAGES, add=(public(5),)), "0 of its keys must sign"),
])  # fmt: skip
def test_a_set_that_nobody_could_satisfy_is_not_made(change: Change, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        keysets.following(SET, change, signed_at=0)
