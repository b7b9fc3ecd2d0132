"""The loader's block of root keys: as the Rust side lays it out, and everything that must be refused."""

from __future__ import annotations

import struct

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError
from swiftbuild.core import keysets, trust
from swiftbuild.errors import DamageError, TrustError
from swiftbuild.model.signing import Algorithm, PublicKey, Quorum, Role, Roots, Signature
from swiftbuild.wire import keyset, rootkeys

PRIVATE = [Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in range(9)]


def public(number: int) -> PublicKey:
    raw = PRIVATE[number].public_key().public_bytes_raw()
    return PublicKey(algorithm=Algorithm.ED25519, key_id=keyset.key_id(Algorithm.ED25519, raw), key=raw)


KEYS = tuple(public(number) for number in range(9))
OLD, NEW = Quorum(threshold=2, keys=KEYS[:3]), Quorum(threshold=1, keys=(KEYS[2], KEYS[3]))
ROTATING = Roots(quorums=(NEW, OLD))


def block(
    *quorums: tuple[int, int], keys: tuple[PublicKey, ...] = KEYS[:1], version: int = 2, count: int | None = None
) -> bytes:
    """The block by the format's table."""
    pairs = [*quorums, *[(0, 0)] * (2 - len(quorums))]
    head = struct.pack("<8sII4I", b"SWROOTKY", version, len(keys) if count is None else count, *sum(pairs, ()))
    return head + b"".join(key.key for key in keys).ljust(256, b"\0")


def test_a_block_says_who_root_is() -> None:
    assert rootkeys.decode(block((2, 0b111), keys=KEYS[:3])) == Roots.of(KEYS[:3], 2)
    rotating = block((1, 0b11), (2, 0b1101), keys=(KEYS[2], KEYS[3], KEYS[0], KEYS[1]))
    found = rootkeys.decode(rotating)
    assert [(q.threshold, {k.key_id for k in q.keys}) for q in found.quorums] == [
        (q.threshold, {k.key_id for k in q.keys}) for q in ROTATING.quorums]
    assert rootkeys.text(ROTATING) == (
        f"1:{KEYS[2].key.hex()},{KEYS[3].key.hex()};2:{KEYS[0].key.hex()},{KEYS[1].key.hex()},{KEYS[2].key.hex()}")


def test_it_is_found_in_a_loader() -> None:
    whole = block((1, 1), keys=KEYS[:1])
    assert rootkeys.find(bytes(4096) + whole + bytes(512)) == Roots.of(KEYS[:1])
    for loader in (bytes(4096), bytes(4) + whole, whole + whole, whole[:-1]):
        with pytest.raises(DamageError, match="blocks of root keys"):
            rootkeys.find(loader)


@pytest.mark.parametrize("raw", [
    block((1, 1), version=1), block((1, 1), count=0), block((1, 1), count=9), block((1, 2)), block((2, 1)),
    block((0, 1)), block((1, 0)), block(), block((1, 3), keys=(KEYS[0], KEYS[0])),
    block((1, 1), keys=KEYS[:2], count=1), b"SWROOTKX" + block((1, 1))[8:], block((1, 1))[:100],
])  # fmt: skip
def test_a_block_that_makes_no_sense_is_refused(raw: bytes) -> None:
    with pytest.raises(DamageError):
        rootkeys.decode(raw)


def test_a_loader_has_room_for_eight() -> None:
    with pytest.raises(ValidationError, match="a loader holds 8"):
        Roots(quorums=(Quorum(threshold=1, keys=KEYS[:5]), Quorum(threshold=1, keys=KEYS[5:])))


@pytest.mark.parametrize(("signers", "accepted"), [
    ((3,), True), ((2,), True), ((0, 1), True), ((0,), False), ((4,), False), ((0, 0), False), ((), False),
])  # fmt: skip
def test_while_root_is_rotated_either_root_signs_whole(signers: tuple[int, ...], accepted: bool) -> None:
    key_set = keysets.first([(Role.RELEASE, KEYS[8])], dev=False, signed_at=1, expires=0)
    message = keyset.signed_message(keyset.digest(keyset.encode_signed(key_set)))
    by = [Signature(algorithm=1, key_id=KEYS[n].key_id, signature=PRIVATE[n].sign(message)) for n in signers or (4,)]
    signed = keyset.decode(keyset.encode(key_set, by))
    if accepted:
        assert trust.accept_key_set(signed, ROTATING) == key_set
    else:
        with pytest.raises(TrustError) as refused:
            trust.accept_key_set(signed, ROTATING)
        assert refused.value.code == "root"


def test_half_of_one_root_and_half_of_the_other_is_nobody() -> None:
    roots = Roots(quorums=(Quorum(threshold=2, keys=KEYS[3:5]), Quorum(threshold=2, keys=KEYS[:2])))
    key_set = keysets.first([(Role.RELEASE, KEYS[8])], dev=False, signed_at=1, expires=0)
    message = keyset.signed_message(keyset.digest(keyset.encode_signed(key_set)))
    by = [Signature(algorithm=1, key_id=KEYS[n].key_id, signature=PRIVATE[n].sign(message)) for n in (0, 3)]
    with pytest.raises(TrustError, match="signed by 1 of 2 root keys, 2 must"):
        trust.accept_key_set(keyset.decode(keyset.encode(key_set, by)), roots)
