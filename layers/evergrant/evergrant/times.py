"""Times, as epoch seconds inside and RFC 3339 in UTC outside, and the intervals of the scheduler's tick."""

from __future__ import annotations

from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime

HOUR_SECONDS, DAY_SECONDS = 3600, 86_400
#: The interval between two ticks of the scheduler.
TICK_SECONDS = 60
#: A tick claims the connections that become due within this time. It is longer than the interval, so none is missed.
TICK_HORIZON_SECONDS = 75


def format_rfc3339(at: int) -> str:
    """Format epoch seconds as RFC 3339 in UTC, such as ``2026-11-22T10:00:00Z``."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def parse_rfc3339(text: str) -> int:
    """Parse RFC 3339, or a date, which means its first second in UTC, into epoch seconds.

    Raises
    ------
    ValueError
        The text is neither. A time without an offset is ambiguous, and so refused.
    """
    try:
        day = date.fromisoformat(text)
    except ValueError:
        at = datetime.fromisoformat(text)
        if at.tzinfo is None:
            raise ValueError("a time without an offset") from None
        return int(at.timestamp())
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


def parse_http_date(text: str) -> int | None:
    """Parse a date of HTTP (RFC 9110 section 5.6.7) into epoch seconds; None if it is none."""
    try:
        moment: datetime = parsedate_to_datetime(text.strip())
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    except (TypeError, ValueError, OverflowError):
        return None
