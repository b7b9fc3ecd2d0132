"""Requests for signatures as JSON (docs/formats/sign-request.md)."""

from __future__ import annotations

from pydantic import ValidationError

from swiftbuild.errors import DamageError
from swiftbuild.model.request import SignRequest

BYTES_MAX = 512 * 1024


def encode(request: SignRequest) -> bytes:
    """One field a line, so that two of them can be compared by eye; bytes in hexadecimal."""
    return (request.model_dump_json(indent=2) + "\n").encode()


def decode(raw: bytes) -> SignRequest:
    """The fields, each within its bounds. Whether they agree is core.requests' to say."""
    if len(raw) > BYTES_MAX:
        raise DamageError(f"sign request: {len(raw)} bytes, at most {BYTES_MAX} are allowed")
    try:
        return SignRequest.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise DamageError(f"sign request: {where}: {first['msg']}",
                          hint="swiftbuild sign request makes one") from None
