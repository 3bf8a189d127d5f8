"""Times: epoch seconds inside, RFC 3339 in UTC outside; and the intervals of the scheduler's tick."""

from __future__ import annotations

from datetime import UTC, date, datetime

DAY_SECONDS = 86_400
#: How often the scheduler ticks, and how far ahead one tick takes what is due.
TICK_SECONDS, TICK_HORIZON_SECONDS = 60, 75


def format_rfc3339(at: int) -> str:
    """Epoch seconds as RFC 3339 in UTC, such as ``2026-11-22T10:00:00Z``."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def parse_rfc3339(text: str) -> int:
    """RFC 3339, or a date, which means its first second in UTC, as epoch seconds.

    Raises
    ------
    ValueError
        It is neither: a time without an offset is nobody's.
    """
    try:
        day = date.fromisoformat(text)
    except ValueError:
        at = datetime.fromisoformat(text)
        if at.tzinfo is None:
            raise ValueError("a time without an offset") from None
        return int(at.timestamp())
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
