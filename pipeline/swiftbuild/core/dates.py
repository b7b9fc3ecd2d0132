"""Seconds since 1970 as a date, without a clock or a time zone."""

from __future__ import annotations

DAY = 86_400
ERA = 146_097
"""Days of 400 years, after which the calendar repeats."""
TO_ERA = 719_468
"""Days from 0000-03-01, where an era begins, to 1970-01-01."""


def utc(seconds: int) -> str:
    """As 2031-12-31T23:59:59Z."""
    days, rest = divmod(seconds, DAY)
    era, day = divmod(days + TO_ERA, ERA)
    year = (day - day // 1460 + day // 36_524 - day // 146_096) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153  # from March on, so that a leap day is a year's last
    day -= (153 * month + 2) // 5
    month, year = (month + 3, year) if month < 10 else (month - 9, year + 1)
    return f"{year + 400 * era:04}-{month:02}-{day + 1:02}T{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}Z"
