"""Who root is next: a rotation begins with two roots, the new one and the one before, and ends with the new one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from swiftbuild.errors import UsageError
from swiftbuild.model.rootfile import RootFile, RootGroup


@dataclass(frozen=True)
class RootChange:
    """What becomes of root."""

    add: tuple[str, ...] = ()
    """Names of keys."""
    revoke: tuple[str, ...] = ()
    """Beginnings of key ids."""
    threshold: int | None = None


def present(file: RootFile, listed: Sequence[str]) -> RootGroup:
    """Who root is now, each key named."""
    return RootGroup(threshold=file.threshold, keys=file.keys or tuple(listed))


def begun(old: RootGroup, change: RootChange, ids: Mapping[str, str]) -> RootFile:
    """Both roots, from the root that was. `ids`: name of each key → its id in hexadecimal.

    Raises UsageError: a key to revoke is not root's, or not one alone; too few would be left.
    """
    names = list(old.keys)
    for start in change.revoke:
        gone = [name for name in names if ids[name].startswith(start.lower())]
        if len(gone) != 1:
            raise UsageError(f"--revoke {start}: {len(gone)} keys of root have ids that begin so",
                             hint="'swiftbuild keys show' lists them")
        names.remove(gone[0])
    names += [name for name in change.add if name not in names]
    threshold = old.threshold if change.threshold is None else change.threshold
    if not 1 <= threshold <= len(names):
        raise UsageError(f"root: {threshold} of its keys must sign, and it would have {len(names)}",
                         hint="add a key, or give a smaller --threshold")
    if (threshold, set(names)) == (old.threshold, set(old.keys)):
        raise UsageError("root would be the same", hint="--add, --revoke or --threshold says what changes")
    return RootFile(threshold=threshold, keys=tuple(names), previous=old)


def committed(file: RootFile) -> RootFile:
    """The new root alone."""
    return file.model_copy(update={"previous": None})
