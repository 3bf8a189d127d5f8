"""Times as people and consumers read them: RFC 3339 in UTC, to the second. Inside, times are epoch seconds."""

from __future__ import annotations

from datetime import UTC, datetime


def rfc3339(at: int) -> str:
    """Epoch seconds as RFC 3339 in UTC, such as ``2026-11-22T10:00:00Z``."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def epoch_seconds(moment: str) -> int:
    """The inverse of :func:`rfc3339`. Raises ValueError for anything else."""
    return int(datetime.strptime(moment, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp())
