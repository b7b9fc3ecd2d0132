"""A complete request, and the file that it was made for → the signed file."""

from __future__ import annotations

from swiftbuild.core import requests, trust
from swiftbuild.errors import DamageError, RefusedError
from swiftbuild.model.release import SignatureArea
from swiftbuild.model.request import RequestKind, SignRequest
from swiftbuild.model.signing import Roots
from swiftbuild.wire import keyset, release


def finished(request: SignRequest, raw: bytes, roots: Roots, present: bytes | None) -> bytes:
    """The file with the signatures, accepted as everybody will who has these root keys. `present`: the key set that is
    in use, below whose version nothing is signed any more.

    Raises RefusedError: it is another file, or the key set has changed since; TrustError: too few signed.
    """
    if request.kind is RequestKind.RELEASE:
        return _release(request, raw, roots, present)
    # who root is, and how many must sign, says the key folder: of a request of root nobody can tell that it was altered
    names = {holder.id: holder.name for group in request.groups for holder in group.holders}
    requests.require_complete(requests.for_key_set(request.payload, roots, request.signatures, names))
    return with_root_signatures(request, raw, roots)


def _release(request: SignRequest, raw: bytes, roots: Roots, present: bytes | None) -> bytes:
    if raw[: release.HEADER_SIZE] != request.payload:
        raise RefusedError("it is another release than the one that the request is for",
                           hint="the request names its digest: swiftbuild sign status")
    wanted, theirs = (keyset.decode(found).key_set.version if found else 0 for found in (present, request.key_set))
    if theirs < wanted:
        raise RefusedError(f"the request is held to key set {theirs}, and {wanted} is in use now",
                           hint="swiftbuild sign request asks anew")
    image = release.read_slot(raw)
    if wrong := image.wrong_digests():
        raise DamageError(f"the {wrong[0].name} section is not the one that the header names", hint="build it again")
    by = requests.with_those_of(request, image.signatures.signatures).signatures
    area = release.encode_signatures(SignatureArea(key_set=request.key_set, signatures=by))
    signed = raw[: release.HEADER_SIZE] + area + raw[release.SECTIONS_START :]
    trust.accept_release(signed, roots)
    return signed


def with_root_signatures(request: SignRequest, raw: bytes, roots: Roots) -> bytes:
    """The key set with the request's signatures, accepted by these root keys."""
    if requests.payload_of_key_set(raw) != request.payload:
        raise RefusedError("it is another key set than the one that the request is for",
                           hint="the request names its digest: swiftbuild sign status")
    by = requests.with_those_of(request, keyset.draft(raw).signatures).signatures
    signed = keyset.with_signatures(request.payload, by)
    trust.accept_key_set(keyset.decode(signed), roots)
    return signed
