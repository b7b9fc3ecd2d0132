"""Signed records: DSSE envelopes (secure-systems-lab/dsse, protocol.md) around in-toto statements."""

from __future__ import annotations

import base64

from pydantic import ValidationError

from swiftbuild.errors import DamageError
from swiftbuild.model.proof import PAYLOAD_TYPE, Envelope, EnvelopeSignature, Statement
from swiftbuild.model.signing import Algorithm, Signature

BYTES_MAX = 16 << 20
HINT = "docs/formats/verify-record.md tells what it must be"


def message(payload: bytes) -> bytes:
    """What is signed: the pre-authentication encoding, in which type and length stand before the payload."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def payload(statement: Statement) -> bytes:
    """The bytes of a statement."""
    return statement.model_dump_json(by_alias=True).encode()


def encode(body: bytes, signatures: tuple[Signature, ...]) -> bytes:
    """The envelope, one line of JSON."""
    rows = tuple(EnvelopeSignature(keyid=s.key_id.hex(), sig=base64.b64encode(s.signature).decode())
                 for s in signatures)
    text = base64.b64encode(body).decode()
    envelope = Envelope(payload_type=PAYLOAD_TYPE, payload=text, signatures=rows)
    return envelope.model_dump_json(by_alias=True).encode() + b"\n"


def decode(raw: bytes) -> tuple[bytes, tuple[Signature, ...]]:
    """Payload and signatures; who they are by, and whether they are right, is not looked at.

    Raises DamageError: no envelope, or one of another type.
    """
    if len(raw) > BYTES_MAX:
        raise DamageError(f"record: {len(raw)} bytes, at most {BYTES_MAX} are allowed", hint=HINT)
    try:
        envelope = Envelope.model_validate_json(raw)
        body = base64.b64decode(envelope.payload, validate=True)
        return body, tuple(
            Signature(algorithm=Algorithm.ED25519, key_id=bytes.fromhex(row.keyid),
                      signature=base64.b64decode(row.sig, validate=True)) for row in envelope.signatures)
    except ValueError as error:  # pydantic's, and base64's for what is no ASCII or no base64
        raise DamageError(f"record: no DSSE envelope: {_first(error)}", hint=HINT) from None


def statement(body: bytes) -> Statement:
    """What the payload states. Only of a payload whose signatures are right.

    Raises DamageError: no statement of a verification.
    """
    try:
        return Statement.model_validate_json(body)
    except ValidationError as error:
        raise DamageError(f"record: no statement of a verification: {_first(error)}", hint=HINT) from None


def _first(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
    return str(error)
