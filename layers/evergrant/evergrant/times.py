"""Times as people and consumers read them: RFC 3339 in UTC, to the second. Inside, times are epoch seconds."""

from __future__ import annotations

from datetime import UTC, datetime


def rfc3339(at: int) -> str:
    """Epoch seconds as RFC 3339 in UTC, such as ``2026-11-22T10:00:00Z``."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
