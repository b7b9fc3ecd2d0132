"""What a run of a scenario came to, and the record of all of them (docs/formats/verify-record.md)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Status = Literal["passed", "failed", "error"]
STATEMENT_TYPE: Literal["https://in-toto.io/Statement/v1"] = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Literal["urn:swift-os:verify:1"] = "urn:swift-os:verify:1"
PAYLOAD_TYPE: Literal["application/vnd.in-toto+json"] = "application/vnd.in-toto+json"
Hex = Annotated[str, Field(pattern=r"\A[0-9a-f]{64}\Z")]


class Exchanged(BaseModel):
    """Frozen; a reader passes over what it does not know (in-toto attestation framework, "Parsing rules")."""

    model_config = ConfigDict(frozen=True, extra="ignore", regex_engine="python-re", populate_by_name=True)


class Job(Exchanged):
    """One run, for the process that does it. Paths are files of this machine."""

    root: str
    scenario: str
    profile: str
    cpus: int
    old: str
    new: str
    image: str
    keys: str | None
    password: str
    folder: str


class BootRecord(Exchanged):
    """A boot of a run: its console log by SHA-256, and what that says (`core.bootlog`)."""

    log: Hex
    word: str
    panic: str = ""


class Outcome(Exchanged):
    """How it ended. `failed`: the release did not do what it must; `error`: it could not be tried."""

    status: Status
    message: str = ""
    started_at: int = 0
    ended_at: int = 0
    """Seconds since 1970-01-01 UTC."""
    boots: tuple[BootRecord, ...] = ()


class RunRecord(Exchanged):
    """A run, as the record tells it."""

    scenario: str
    profile: str
    cpus: int
    artifact: Literal["release", "twin"]
    kind: Literal["own", "between", "next"]
    old: Hex
    """Digest of the release that the machine started with; of `new`, the one that it was given."""
    new: Hex
    kept: bool
    """An earlier call ran it, on the same bytes by the same harness."""
    outcome: Outcome


class ReleaseRecord(Exchanged):
    """A release that took part."""

    role: Literal["subject", "from", "twin"]
    profile: str
    version: str
    digest: Hex
    payloads: dict[str, Hex]
    """Section → SHA-256, but for the loader: a twin has those of its release."""


class Harness(Exchanged):
    """What ran the scenarios."""

    commit: str
    """Empty where it is unknown; ends in `-dirty` when the tree had changes."""
    digest: Hex
    scenario_set: Hex
    qemu: str
    qemu_sha256: Hex
    firmware_sha256: Hex


class Predicate(Exchanged):
    """What was proved, and how."""

    verdict: Literal["passed", "failed"]
    scope: Literal["full", "bounded", "chosen"]
    seed: int | None = None
    started_at: int
    ended_at: int
    """Seconds since 1970-01-01 UTC."""
    harness: Harness
    releases: tuple[ReleaseRecord, ...]
    runs: tuple[RunRecord, ...]


class Named(Exchanged):
    """A file and its digests (in-toto ResourceDescriptor)."""

    name: str
    digest: dict[str, str]


class Statement(Exchanged):
    """An in-toto statement, version 1."""

    type: Literal["https://in-toto.io/Statement/v1"] = Field(alias="_type")
    subject: Annotated[tuple[Named, ...], Field(min_length=1)]
    predicate_type: Literal["urn:swift-os:verify:1"] = Field(alias="predicateType")
    predicate: Predicate


class EnvelopeSignature(Exchanged):
    """One signature, in base64."""

    keyid: Hex
    sig: str


class Envelope(Exchanged):
    """A DSSE envelope, version 1: the payload in base64, and who signed it."""

    payload_type: Literal["application/vnd.in-toto+json"] = Field(alias="payloadType")
    payload: str
    signatures: Annotated[tuple[EnvelopeSignature, ...], Field(min_length=1, max_length=16)]
