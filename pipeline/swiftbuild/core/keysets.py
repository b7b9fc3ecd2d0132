"""Which key set comes next: the first one of a folder, and one with keys added, revoked, or another threshold."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from swiftbuild.errors import UsageError
from swiftbuild.model.signing import KeySet, KeySetFlag, PublicKey, Role, Threshold


@dataclass(frozen=True)
class Change:
    """What becomes of one role."""

    role: Role
    add: tuple[PublicKey, ...] = ()
    revoke: tuple[str, ...] = ()
    """Beginnings of key ids."""
    threshold: int | None = None
    expires: int | None = None
    """Seconds since 1970-01-01 UTC, of the whole set; 0: never."""


def mask(role: Role) -> int:
    """The bit of a role in a key's roles."""
    return 1 << role


def first(keys: Iterable[tuple[Role, PublicKey]], *, dev: bool, signed_at: int, expires: int) -> KeySet:
    """Version 1: one key must sign for each role."""
    rows = list(keys)
    return KeySet(
        version=1, signed_at=signed_at, expires=expires, flags=int(KeySetFlag.DEV) if dev else 0,
        thresholds=tuple(Threshold(role=role, keys=1) for role in sorted({role for role, _ in rows})),
        keys=tuple(key.model_copy(update={"roles": mask(role)}) for role, key in rows),
    )


def following(old: KeySet, change: Change, *, signed_at: int) -> KeySet:
    """The version behind `old`, with one role's keys changed.

    Raises UsageError: a key to revoke is not there, or not one alone; nobody could sign for the role any more.
    """
    role, keys = change.role, list(old.keys)
    for start in change.revoke:
        gone = [key for key in keys if key.may(role) and key.key_id.hex().startswith(start.lower())]
        if len(gone) != 1:
            raise UsageError(f"--revoke {start}: {len(gone)} keys of role {role.name.lower()} have ids that begin so",
                             hint="'swiftbuild keys show' lists them")
        at = keys.index(gone[0])
        keys[at] = gone[0].model_copy(update={"roles": gone[0].roles & ~mask(role)})
    for key in change.add:
        at = next((at for at, known in enumerate(keys) if known.key_id == key.key_id), len(keys))
        roles = (keys[at].roles if at < len(keys) else 0) | mask(role)
        keys[at : at + 1] = [key.model_copy(update={"roles": roles})]
    keys = [key for key in keys if key.roles]
    wanted = old.threshold(role) if change.threshold is None else change.threshold
    count = sum(key.may(role) for key in keys)
    if not 1 <= wanted <= count:
        raise UsageError(f"role {role.name.lower()}: {wanted} of its keys must sign, and it would have {count}",
                         hint="add a key, or give a smaller --threshold")
    others = [row for row in old.thresholds if row.role != role]
    return KeySet(
        version=old.version + 1, signed_at=signed_at,
        expires=old.expires if change.expires is None else change.expires,
        flags=old.flags, keys=tuple(keys),
        thresholds=tuple(sorted((*others, Threshold(role=role, keys=wanted)), key=lambda row: row.role)),
    )
