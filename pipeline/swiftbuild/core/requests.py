"""Requests for signatures: made, checked, merged, added to; docs/formats/sign-request.md.

The order of the checks of one that came from outside: 1. digest and domain follow from the signed bytes; 2. so do the
words; 3. those who may sign are those of its key set; 4. each signature is by one of them, and right. A kind more is a
row of `KINDS`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from swiftbuild.core.dates import utc
from swiftbuild.core.trust import signers
from swiftbuild.errors import DamageError, RefusedError
from swiftbuild.model.release import CriticalFlag
from swiftbuild.model.request import Group, Holder, RequestKind, SignRequest
from swiftbuild.model.signing import Algorithm, KeySet, KeySetFlag, PublicKey, Role, Roots, Signature
from swiftbuild.wire import keyset, release

Names = Mapping[bytes, str]
"""Key id → name."""


@dataclass(frozen=True)
class Kind:
    """What differs between the things that can be signed."""

    domain: bytes
    """Stands before the digest in what is signed."""
    about: Callable[[bytes, bytes], dict[str, str]]
    """(signed bytes, key set) → what they are, in words."""


@dataclass(frozen=True)
class Count:
    """How far a group is."""

    group: Group
    signed: tuple[Holder, ...]

    @property
    def met(self) -> bool:
        """As many have signed as must."""
        return len(self.signed) >= self.group.threshold


def for_release(header: bytes, key_set: bytes, signatures: Iterable[Signature], names: Names) -> SignRequest:
    """The request for a release whose signed bytes are `header`; signatures that it has and that count are kept."""
    known = keyset.decode(key_set).key_set
    if not known.threshold(Role.RELEASE):
        raise RefusedError(f"key set {known.version}: no key of it may sign a release",
                           hint="swiftbuild keys rotate release --add FILE.pub")
    dev = bool(release.decode_header(header).flags_critical & CriticalFlag.DEV)
    if known.flags & KeySetFlag.DEV and not dev:
        raise RefusedError("throw-away keys sign only a release that is marked dev, and this one is not",
                           hint="SWIFTBUILD_KEYS names the folder of the keys that are to sign")
    return _made(RequestKind.RELEASE, header, key_set, (_release_group(known, names),), signatures)


def for_key_set(signed: bytes, roots: Roots, signatures: Iterable[Signature], names: Names) -> SignRequest:
    """The request for a key set whose signed bytes are `signed`: both roots are asked while root is rotated."""
    titles = ("root", "root before")
    groups = tuple(_group(title, quorum.threshold, quorum.keys, names)
                   for title, quorum in zip(titles, roots.quorums, strict=False))
    return _made(RequestKind.KEY_SET, signed, b"", groups, signatures)


def payload_of_key_set(raw: bytes) -> bytes:
    """The signed bytes of a key set."""
    return raw[: keyset.decode_signed(raw)[1]]


def message(request: SignRequest) -> bytes:
    """What a holder signs."""
    return KINDS[request.kind].domain + request.digest


def check(request: SignRequest) -> SignRequest:
    """The request, if nothing in it contradicts the rest: see the module's first lines."""
    kind = KINDS[request.kind]
    if request.digest != hashlib.sha256(request.payload).digest() or request.domain != _shown(kind.domain):
        raise _altered("digest or domain are not those of the signed bytes")
    if request.about != kind.about(request.payload, request.key_set):
        raise _altered("its words say something else than the bytes that are signed")
    if request.kind is RequestKind.RELEASE:
        names = {holder.id: holder.name for group in request.groups for holder in group.holders}
        if request.groups != (_release_group(keyset.decode(request.key_set).key_set, names),):
            raise _altered("those who may sign are not those of its key set")
    elif request.key_set:
        raise _altered("a key set is signed by root, and by no other set")
    for holder in (holder for group in request.groups for holder in group.holders):
        if holder.algorithm == Algorithm.ED25519 and keyset.key_id(Algorithm.ED25519, holder.key) != holder.id:
            raise _altered(f"key {holder.id.hex()[:16]} has the id of another")
    known = _keys(request.groups)
    for signature in request.signatures:
        if not signers(message(request), [signature], known):
            raise _altered(f"the signature by {signature.key_id.hex()[:16]} is wrong, or by nobody who may sign")
    return request


def merge(requests: Sequence[SignRequest]) -> SignRequest:
    """Copies of one request, to which different people added, as one; each key counts once."""
    first, *others = requests
    bare = first.model_copy(update={"signatures": ()})
    for other in others:
        if other.model_copy(update={"signatures": ()}) != bare:
            raise RefusedError(f"two requests for different things: {_named(first)}, and {_named(other)}",
                               hint="only copies of one request can be put together")
    return first.model_copy(update={"signatures": _once(s for request in requests for s in request.signatures)})


def add(request: SignRequest, signature: Signature) -> SignRequest:
    """The request with one signature more; one by a key that has signed already changes nothing.

    Raises RefusedError: the key may not sign this.
    """
    if not signers(message(request), [signature], _keys(request.groups)):
        raise RefusedError(f"key {signature.key_id.hex()[:16]} may not sign this", hint=f"who may: {who_may(request)}")
    return request.model_copy(update={"signatures": _once((*request.signatures, signature))})


def with_those_of(request: SignRequest, signatures: Iterable[Signature]) -> SignRequest:
    """The request, and those of the signatures that count for it: what a file has already is not lost."""
    known = _keys(request.groups)
    good = [signature for signature in signatures if signers(message(request), [signature], known)]
    return request.model_copy(update={"signatures": _once((*request.signatures, *good))})


def counts(request: SignRequest) -> tuple[Count, ...]:
    """How far each group is."""
    by = {signature.key_id for signature in request.signatures}
    return tuple(Count(group, tuple(h for h in group.holders if h.id in by)) for group in request.groups)


def may_sign(request: SignRequest) -> frozenset[bytes]:
    """Ids of the keys that may."""
    return frozenset(holder.id for group in request.groups for holder in group.holders)


def who_may(request: SignRequest) -> str:
    """The same for a person."""
    shown = {holder.id: holder for group in request.groups for holder in group.holders}.values()
    return ", ".join(f"{holder.name} ({holder.id.hex()[:16]})" for holder in shown)


def require_complete(request: SignRequest) -> None:
    """Raises RefusedError while a group is not met."""
    for count in counts(request):
        if not count.met:
            raise RefusedError(f"{count.group.role}: {len(count.signed)} of {count.group.threshold} have signed",
                               hint=f"swiftbuild sign add; who may: {who_may(request)}")


def _made(
    kind: RequestKind, payload: bytes, key_set: bytes, groups: tuple[Group, ...], signatures: Iterable[Signature]
) -> SignRequest:
    row, digest, known = KINDS[kind], hashlib.sha256(payload).digest(), _keys(groups)
    kept = _once(s for s in signatures if signers(row.domain + digest, [s], known))
    return check(SignRequest(kind=kind, about=row.about(payload, key_set), domain=_shown(row.domain), digest=digest,
                             payload=payload, key_set=key_set, groups=groups, signatures=kept))


def _once(signatures: Iterable[Signature]) -> tuple[Signature, ...]:
    """The first one by each key."""
    found: dict[bytes, Signature] = {}
    for signature in signatures:
        found.setdefault(signature.key_id, signature)
    return tuple(found.values())


def _group(role: str, threshold: int, keys: Iterable[PublicKey], names: Names) -> Group:
    holders = tuple(Holder(id=key.key_id, name=names.get(key.key_id, "?"), algorithm=key.algorithm, key=key.key)
                    for key in keys)
    return Group(role=role, threshold=threshold, holders=holders)


def _release_group(key_set: KeySet, names: Names) -> Group:
    return _group("release", key_set.threshold(Role.RELEASE), key_set.of_role(Role.RELEASE), names)


def _keys(groups: Iterable[Group]) -> list[PublicKey]:
    return [PublicKey(algorithm=h.algorithm, key_id=h.id, key=h.key) for group in groups for h in group.holders]


def _altered(why: str) -> DamageError:
    return DamageError(f"sign request: it was altered: {why}", hint="ask for the request again; sign nothing")


def _named(request: SignRequest) -> str:
    what = [request.kind, request.about.get("profile"), request.about.get("version")]
    return f"{' '.join(word for word in what if word)} ({request.digest.hex()[:16]})"


def _shown(domain: bytes) -> str:
    return domain.rstrip(b"\0").decode()


def _day(seconds: int, none: str) -> str:
    return utc(seconds) if seconds else none


def _about_release(payload: bytes, key_set: bytes) -> dict[str, str]:
    if len(payload) != release.HEADER_SIZE:
        raise _altered(f"a release header has {release.HEADER_SIZE} bytes")
    header, known = release.decode_header(payload), keyset.decode(key_set)
    flags = [flag.name.lower() for flag in CriticalFlag if header.flags_critical & flag and flag.name]
    return {
        "product": header.product, "profile": header.profile, "version": header.version,
        "rollback index": str(header.rollback_index), "flags": ", ".join(flags) or "none",
        "signed at": _day(header.signed_at, "not told"), "bytes": str(header.min_slot_size),
        "verity root": header.verity_root.hex(),
        **{f"{section.name} sha256": section.digest.hex() for section in header.sections},
        "key set": f"version {known.key_set.version}, digest {known.digest.hex()}",
    }


def _about_key_set(payload: bytes, _key_set: bytes) -> dict[str, str]:
    known, length = keyset.decode_signed(payload)
    if len(payload) != length:
        raise _altered("bytes stand behind the key set")
    rows = {
        role.name.lower(): f"{known.threshold(role)} of " + ", ".join(k.key_id.hex()[:16] for k in known.of_role(role))
        for role in Role if known.threshold(role)
    }
    return {
        "version": str(known.version), "flags": "dev" if known.flags & KeySetFlag.DEV else "none",
        "signed at": _day(known.signed_at, "not told"), "expires": _day(known.expires, "never"),
        **{f"may sign as {role}": _short(row) for role, row in rows.items()},
    }


def _short(row: str) -> str:
    """A line's length at most: who signs sees the first keys, and that there are more."""
    return row if len(row) <= 256 else f"{row[:240]}, and more"


KINDS: Mapping[RequestKind, Kind] = {
    RequestKind.RELEASE: Kind(release.DOMAIN, _about_release),
    RequestKind.KEY_SET: Kind(keyset.DOMAIN, _about_key_set),
}
