"""What to say about a name that is not known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def close(name: str, known: Iterable[str], *, before: str = "", after: str = "") -> str:
    """`; did you mean 'qemu'?` behind a message about `name`, or nothing when no name is like it. Of a path only one
    name is compared: what stands `before` and `after` it is the same for all."""
    found = difflib.get_close_matches(name, sorted(known), n=1)
    return f"; did you mean '{before}{found[0]}{after}'?" if found else ""


def choice(name: str, known: Iterable[str]) -> str:
    """The same behind a list of all names that there are."""
    names = sorted(known)
    return f"; there are: {', '.join(names) or 'none'}{close(name, names)}"
