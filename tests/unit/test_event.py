"""Event lines, and console bytes turned into lines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from swiftbuild.core.timeline import phases
from swiftbuild.errors import DamageError
from swiftbuild.model.event import Event
from swiftbuild.wire.event import Cleaner, parse


def test_every_kind_of_value() -> None:
    event = parse(r'login: [evt] loader.error t=12.000345 what=slot size=0x40 why="a \"b\" \\ c\n\x7f" empty=""')
    assert event is not None
    assert (event.name, event.time) == ("loader.error", 12.000345)
    assert event.fields == {"what": "slot", "size": "0x40", "why": 'a "b" \\ c\n\x7f', "empty": ""}


def test_a_line_without_a_mark_is_no_event() -> None:
    assert parse("swift-os login: [evt]") is None


@pytest.mark.parametrize(
    "text",
    ["boot.ready", "boot.ready t=1", "boot.ready t=1.0000001", "Boot.ready t=1.000000", "boot t=1.000000",
     "a.b t=1.000000 key", "a.b t=1.000000 key=", "a.b t=1.000000 k=a k=b", 'a.b t=1.000000 k="open',
     'a.b t=1.000000 k="\\q"', "a.b t=1.000000 k=a;b", "a.b t=1.000000  k=a", "a.b k=a t=1.000000",
     "a.b t=1.000000 K=a"],
)  # fmt: skip
def test_what_breaks_the_format_is_refused(text: str) -> None:
    with pytest.raises(DamageError):
        parse(f"[evt] {text}")


@given(st.text(max_size=80))
def test_any_line_is_read_or_refused(text: str) -> None:
    for line in (text, f"[evt] {text}", f"[evt] a.b t=1.000000 {text}"):
        try:
            parse(line)
        except DamageError:
            continue


def test_terminal_sequences_go_and_moves_of_the_cursor_start_lines() -> None:
    raw = "\x1b[2J\x1b[01;01H\x1b[=3h\x1b[40m\x1b[37mBdsDxe: loading\r\n\x1b[0m[evt] a.b t=1.000000\r\n"
    assert Cleaner().feed(raw).splitlines()[-2:] == ["BdsDxe: loading", "[evt] a.b t=1.000000"]


@given(st.lists(st.integers(0, 60)))
def test_where_chunks_are_cut_makes_no_difference(cuts: list[int]) -> None:
    raw = "\x1b[2J\x1b[01;01Hab\x1b[0m\r\nc\x1b(Bd\x1b[40;37me\n"
    cleaner, out, last = Cleaner(), "", 0
    for cut in [*sorted(c for c in cuts if c < len(raw)), len(raw)]:
        out += cleaner.feed(raw[last:cut])
        last = cut
    assert out == Cleaner().feed(raw)


def boot(*names: str) -> list[Event]:
    """Events a second apart."""
    return [Event(name=name, time=float(i + 1), wall=i + 2.0, fields={}) for i, name in enumerate(names)]


def test_phases_follow_the_events() -> None:
    events = boot("loader.start", "loader.exit", "kernel.entry", "cpu.online", "cpu.online", "boot.ready", "cpu.online")
    assert [(p.name, p.time, p.took) for p in phases(events)] == [
        ("firmware", 1.0, 1.0), ("loader", 2.0, 1.0), ("kernel entry", 3.0, 1.0), ("processors", 5.0, 2.0),
        ("services", 6.0, 1.0),
    ]  # fmt: skip
