"""Retry-After: how long a provider asks to wait (RFC 9110 section 10.2.3). Pure."""

from __future__ import annotations

import re

from ..http_messages import HttpResponse
from ..times import parse_http_date

#: Seconds, as the RFC has them, or with the fraction and the unit that some servers add. A header that came twice is
#: joined by a comma.
_SECONDS = re.compile(r"([0-9]{1,15})(?:\.[0-9]*)? ?(?:s|sec|seconds)?", re.ASCII | re.IGNORECASE)
_DATE = re.compile(r"[A-Za-z]{3,9}, ?[^,]+")
#: A number from here on is no duration (31 years) but a moment, as Unix time in seconds or in milliseconds.
_MIN_EPOCH, _MIN_EPOCH_MILLISECONDS = 10**9, 10**12


def parse_retry_after(response: HttpResponse, now: int, limit: int) -> int | None:
    """Return the seconds to wait, at most ``limit``; None where the header is missing or cannot be read.

    A date counts from the response's own Date, since the server's clock may be wrong; without one from ``now``. Of
    several values the longest counts.

    Parameters
    ----------
    now
        Epoch seconds.
    limit
        Seconds.
    """
    value = response.headers.get("retry-after", "").strip()[:500]
    answered_at = parse_http_date(response.headers.get("date", ""))
    reference = now if answered_at is None else answered_at
    waits = [_read_number(part.strip(), reference) for part in value.split(",")]
    dates = [parse_http_date(part) for part in _DATE.findall(value)]
    waits += [max(at - reference, 0) for at in dates if at is not None]
    known = [wait for wait in waits if wait is not None]
    return min(max(known), limit) if known else None


def _read_number(text: str, reference: int) -> int | None:
    matched = _SECONDS.fullmatch(text)
    if not matched:
        return None
    number = int(matched[1])
    if number >= _MIN_EPOCH_MILLISECONDS:
        return max(number // 1000 - reference, 0)
    return max(number - reference, 0) if number >= _MIN_EPOCH else number
