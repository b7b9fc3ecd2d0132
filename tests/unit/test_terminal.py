"""What is undone of a terminal that a machine has printed on."""

from __future__ import annotations

import pytest
from swiftbuild.wire.terminal import Changes


@pytest.mark.parametrize(
    ("printed", "undone"),
    [
        (["plain\r\n"], ""),
        (["\x1b[?1049h\x1b[?25l text"], "\x1b[?25h\x1b[?1049l"),
        (["\x1b[?1049h\x1b[?25l", "\x1b[?1049l\x1b[?25h"], ""),
        (["\x1b[?10", "49", "h"], "\x1b[?1049l"),
        (["\x1b", "[?1000;1006h"], "\x1b[?1006l\x1b[?1000l"),
        (["\x1b[?7l"], "\x1b[?7h"),
        (["\x1b[1;31mred", "\x1b="], "\x1b[0m\x1b>"),
        (["\x1b=\x1b>"], ""),
        (["\x1b[?2004h\x1b=\x1b[1m\x1bc"], ""),
    ],
)
def test_what_was_changed_is_undone_and_nothing_else(printed: list[str], undone: str) -> None:
    changes = Changes()
    for piece in printed:
        changes.feed(piece)
    assert changes.undoing() == undone


def test_a_flood_of_modes_is_bounded() -> None:
    changes = Changes()
    changes.feed("".join(f"\x1b[?{mode}h" for mode in range(3000, 10000)) + "\x1b[?" + "1;" * 10000)
    assert len(changes.undoing()) < 1000
