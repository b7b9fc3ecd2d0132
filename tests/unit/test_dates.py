"""Dates without a clock: the same as the standard library's."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import example, given
from hypothesis import strategies as st
from swiftbuild.core.dates import utc


@given(st.integers(0, 253_402_300_799))
@example(951_782_400)  # 2000-02-29
@example(4_107_542_399)  # 2100-02-28, behind which there is no 29th
@example(4_107_542_400)
def test_as_the_library_says(seconds: int) -> None:
    assert utc(seconds) == datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ").rjust(20, "0")


def test_any_number_of_a_header_is_a_date() -> None:
    assert utc(2**64 - 1).endswith("Z")
