"""What a scenario finds is compared here: what differs ends it, and says what was expected."""

from __future__ import annotations

from collections.abc import Container

from swiftbuild.errors import ProofError


def require(what: str, found: object, wanted: object) -> None:
    """Raises ProofError: they differ."""
    if found != wanted:
        raise ProofError(f"{what}: {found!r}, expected {wanted!r}")


def require_in(what: str, wanted: str, found: Container[str]) -> None:
    """Raises ProofError: it is not in there."""
    if wanted not in found:
        raise ProofError(f"{what}: {found!r}, expected {wanted!r} in it")
