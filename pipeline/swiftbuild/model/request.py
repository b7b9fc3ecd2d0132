"""A request for signatures (docs/formats/sign-request.md): what is to be signed, who may, and who has."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from swiftbuild.model.binary import U32, Bytes32, Record
from swiftbuild.model.signing import Signature

FORMAT = "swift-os/sign-request"
PAYLOAD_BYTES_MAX = 65536
KEY_SET_BYTES_MAX = 8192
SIGNERS_MAX = 32
Line = Annotated[str, Field(max_length=256, pattern=r"^[^\x00-\x1f\x7f]*$")]
"""One line that a person reads: nothing that a terminal would obey."""


class RequestKind(StrEnum):
    """What is signed."""

    RELEASE = "release"
    KEY_SET = "key-set"


class Holder(Record):
    """Who may sign: a key, and the name of its file where the request was made."""

    id: Bytes32
    name: Line
    algorithm: Annotated[int, Field(ge=0, le=0xFFFF)]
    key: Annotated[bytes, Field(min_length=1, max_length=80)]


class Group(Record):
    """Holders of one role, and how many of them must sign."""

    role: Line
    threshold: Annotated[U32, Field(ge=1)]
    holders: Annotated[tuple[Holder, ...], Field(min_length=1, max_length=SIGNERS_MAX)]


class SignRequest(Record):
    """The whole file. Of a field that it does not know a reader could not say what is signed: none is allowed."""

    format: Literal["swift-os/sign-request"] = "swift-os/sign-request"
    format_version: Literal[1] = 1
    kind: RequestKind
    about: Annotated[dict[Line, Line], Field(max_length=64)]
    """What is signed, in words. They follow from `payload` and `key_set`; other ones are refused."""
    domain: Line
    digest: Bytes32
    payload: Annotated[bytes, Field(min_length=1, max_length=PAYLOAD_BYTES_MAX)]
    """The signed bytes themselves, so that who signs need not believe the words."""
    key_set: Annotated[bytes, Field(max_length=KEY_SET_BYTES_MAX)] = b""
    """The set that says who may sign, with root's signatures; empty when root signs."""
    groups: Annotated[tuple[Group, ...], Field(min_length=1, max_length=2)]
    """Each of them must be met."""
    signatures: Annotated[tuple[Signature, ...], Field(max_length=SIGNERS_MAX)] = ()
