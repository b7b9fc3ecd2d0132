"""Requests for signatures: whatever is changed in one is refused, or what is signed and by whom is as it was."""

from __future__ import annotations

import contextlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from swiftbuild.core import keysets, requests
from swiftbuild.errors import DamageError, RefusedError
from swiftbuild.model.request import SignRequest
from swiftbuild.model.signing import Algorithm, PublicKey, Quorum, Role, Roots, Signature
from swiftbuild.wire import keyset, request

PRIVATE = [Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in range(5)]


def public(number: int) -> PublicKey:
    raw = PRIVATE[number].public_key().public_bytes_raw()
    return PublicKey(algorithm=Algorithm.ED25519, key_id=keyset.key_id(Algorithm.ED25519, raw), key=raw)


def by(number: int, asked: SignRequest) -> Signature:
    signature = PRIVATE[number].sign(requests.message(asked))
    return Signature(algorithm=Algorithm.ED25519, key_id=public(number).key_id, signature=signature)


ROOTS = Roots(quorums=(Quorum(threshold=2, keys=(public(0), public(1), public(2))),
                       Quorum(threshold=1, keys=(public(2), public(3)))))
SET = keysets.first([(Role.RELEASE, public(4))], dev=False, signed_at=1, expires=0)
ASKED = requests.for_key_set(keyset.encode_signed(SET), ROOTS, (), {public(0).key_id: "alice"})


def test_a_request_reads_back() -> None:
    assert requests.check(request.decode(request.encode(ASKED))) == ASKED
    signed = requests.add(ASKED, by(1, ASKED))
    assert requests.check(request.decode(request.encode(signed))) == signed


def test_one_key_counts_in_each_group_that_it_belongs_to() -> None:
    asked = requests.add(ASKED, by(2, ASKED))
    assert [(len(count.signed), count.met) for count in requests.counts(asked)] == [(1, False), (1, True)]
    with pytest.raises(RefusedError, match="root: 1 of 2 have signed"):
        requests.require_complete(asked)
    requests.require_complete(requests.add(asked, by(0, asked)))


@pytest.mark.parametrize("wrong", [
    by(4, ASKED), by(0, ASKED).model_copy(update={"key_id": public(1).key_id}),
    by(0, ASKED).model_copy(update={"algorithm": 2}), by(0, ASKED).model_copy(update={"signature": bytes(64)}),
    Signature(algorithm=1, key_id=public(0).key_id, signature=PRIVATE[0].sign(ASKED.digest)),
])  # fmt: skip
def test_a_signature_of_nobody_who_may_is_not_taken(wrong: Signature) -> None:
    with pytest.raises(RefusedError, match="may not sign this"):
        requests.add(ASKED, wrong)
    assert requests.with_those_of(ASKED, [wrong]) == ASKED


def meaning(asked: SignRequest) -> object:
    """What is signed, and who may; names prove nothing."""
    groups = [(group.role, group.threshold, [holder.id for holder in group.holders]) for group in asked.groups]
    return asked.payload, asked.digest, asked.domain, asked.about, groups if asked.kind == "release" else len(groups)


@given(at=st.integers(0, len(request.encode(ASKED)) - 1), byte=st.integers(0, 255))
def test_no_change_goes_unseen(at: int, byte: int) -> None:
    raw = bytearray(request.encode(requests.add(ASKED, by(0, ASKED))))
    raw[at] = byte
    with contextlib.suppress(DamageError):
        found = requests.check(request.decode(bytes(raw)))
        assert meaning(found) == meaning(ASKED)
        assert {signature.key_id for signature in found.signatures} <= {public(0).key_id}


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_in_words(raw: bytes) -> None:
    with pytest.raises(DamageError):
        request.decode(raw)
    with pytest.raises(DamageError):
        request.decode(request.encode(ASKED)[: len(raw)] + raw)
