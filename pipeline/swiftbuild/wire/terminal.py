"""What a program has changed of a terminal by control sequences (ECMA-48, DEC private modes), and how to undo it."""

from __future__ import annotations

import re

CHANGE = re.compile(r"\x1b\[\?([0-9;]+)([hl])|\x1b([=>c])|\x1b\[[0-9;]*m")
UNFINISHED = re.compile(r"\x1b(?:\[[0-9;?]*)?\Z")
ON_AT_FIRST = frozenset({"7", "25"})
"""Lines wrap, the cursor is shown. Every other mode is off: the other screen, mouse reports, bracketed paste, …"""
MODES_MAX = 64
"""Modes that are remembered; terminals have fewer."""


class Changes:
    """Follows the text that goes to a terminal, piece by piece."""

    def __init__(self) -> None:
        self._held = ""
        self._modes: dict[str, bool] = {}
        self._keypad = False
        self._colours = False

    def feed(self, text: str) -> None:
        """Takes in what was printed."""
        text = self._held + text
        cut = UNFINISHED.search(text[-64:])
        self._held = cut[0] if cut else ""
        for match in CHANGE.finditer(text):
            modes, on, other = match.groups()
            if modes:
                for mode in modes.split(";"):
                    self._set(mode, on=on == "h")
            elif other == "c":
                self._modes, self._keypad, self._colours = {}, False, False
            elif other:
                self._keypad = other == "="
            else:
                self._colours = True

    def _set(self, mode: str, *, on: bool) -> None:
        if on == (mode in ON_AT_FIRST):
            self._modes.pop(mode, None)
        elif len(self._modes) < MODES_MAX:
            self._modes[mode] = on

    def undoing(self) -> str:
        """What to print so that the terminal is as it was; the last change is undone first."""
        parts = ["\x1b[0m"] if self._colours else []
        parts += ["\x1b>"] if self._keypad else []
        parts += [f"\x1b[?{mode}{'l' if on else 'h'}" for mode, on in reversed(self._modes.items())]
        return "".join(parts)
