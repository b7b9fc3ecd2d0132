"""Event lines ↔ events (docs/formats/events.md), and console bytes → plain text."""

from __future__ import annotations

import re
from collections.abc import Iterator

from swiftbuild.errors import DamageError
from swiftbuild.model.event import Event

MARK = "[evt] "
NAME = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)+\Z")
TIME = re.compile(r"t=(\d+\.\d{6})\Z")
PAIR = re.compile(
    r' ([a-z][a-z0-9_]*)=(?:([A-Za-z0-9_.:/,+@%-]+)|"((?:[^"\\]|\\(?:["\\n]|x[0-9a-fA-F]{2}))*)")(?= |\Z)'
)
ESCAPE = re.compile(r'\\(["\\n]|x[0-9a-fA-F]{2})')
# ECMA-48 control sequences; those that move the cursor (A-H, J, K, d, f) are where a firmware starts a new line
CURSOR = re.compile(r"\x1b\[[0-9;?]*[A-HJKdf]")
CONTROL = re.compile(r"\x1b\[[0-9;?=]*[ -/]*[@-~]|\x1b[()][A-Za-z0-9]|\x1b[=>78cM]|[\x00\x07\x08\x0e\x0f]")
UNFINISHED = re.compile(r"\x1b(?:\[[0-9;?=]*|[()])?\Z")


def parse(line: str) -> Event | None:
    """The event in a line of console text, which may have text before it; None when there is none."""
    at = line.find(MARK)
    if at < 0:
        return None
    text = line[at + len(MARK) :].rstrip()
    name, _, rest = text.partition(" ")
    first, space, pairs = rest.partition(" ")
    time = TIME.match(first)
    if not NAME.match(name) or not time:
        raise DamageError(f"event without name or time: {line!r}")
    fields: dict[str, str] = {}
    pairs = space + pairs
    while pairs:
        match = PAIR.match(pairs)
        if not match or match[1] in fields:
            raise DamageError(f"event {name}: not key=value, or a key twice: {pairs.strip()!r}")
        fields[match[1]] = match[2] if match[2] is not None else ESCAPE.sub(_unescape, match[3])
        pairs = pairs[match.end() :]
    return Event(name=name, time=float(time[1]), fields=fields)


def _unescape(match: re.Match[str]) -> str:
    code = match[1]
    return chr(int(code[1:], 16)) if code[0] == "x" else "\n" if code == "n" else code


class Cleaner:
    """Turns what a terminal would get into plain lines, chunk by chunk."""

    def __init__(self) -> None:
        self._held = ""

    def feed(self, text: str) -> str:
        """The text that is complete; a sequence cut by the chunk's end waits for the next."""
        text = self._held + text
        cut = UNFINISHED.search(text)
        end = cut.start() if cut else len(text)
        self._held, text = text[end:], text[:end]
        return CONTROL.sub("", CURSOR.sub("\n", text)).replace("\r", "")


class Lines:
    """Plain text, piece by piece → the events of the lines that are whole."""

    def __init__(self) -> None:
        self.partial = ""
        """What stands in a line that is not yet whole."""

    def feed(self, clean: str) -> Iterator[Event | DamageError]:
        """Each event, or what is wrong with a line that has the mark of one."""
        *lines, self.partial = (self.partial + clean).split("\n")
        for line in lines:
            try:
                event = parse(line)
            except DamageError as error:
                yield error
            else:
                if event:
                    yield event
