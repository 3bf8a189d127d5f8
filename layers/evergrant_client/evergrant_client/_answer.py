"""An answer of AWS or getter, and what it shows about this machine's clock."""

from __future__ import annotations

from typing import NamedTuple

# The Date header is in whole seconds, and the answer takes time to arrive.
_TOLERANCE_SECONDS = 2.0


class Answer(NamedTuple):
    """A body, and by how many seconds this machine's clock is behind the sender's."""

    text: str | bytes
    behind: float = 0.0


def compute_seconds_behind(date: object, now: float) -> float:
    """Compare an answer's Date header (RFC 9110 section 6.6.1) with the local time of its arrival, in epoch seconds.

    A slow clock would take an expired token for a valid one. A fast clock only asks early, and is not
    corrected for: it may be set right while the token is cached.
    """
    if not isinstance(date, str):
        return 0.0
    from email.utils import parsedate_to_datetime  # botocore, which sent the request, has loaded it

    try:
        behind = parsedate_to_datetime(date).timestamp() - now
    except ValueError:
        return 0.0
    return behind if behind > _TOLERANCE_SECONDS else 0.0
