"""Moments as tools write them: Unix time in any unit, ISO 8601, HTTP's dates, JavaScript's and .NET's. Pure."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

#: A greater number (the year 5138 in seconds) is in milliseconds, and a thousand times that in microseconds.
_MAX_EPOCH_SECONDS = 100_000_000_000
#: A smaller number (September 2001) is a duration and no moment.
MIN_EPOCH_SECONDS = 1_000_000_000
_MAX_CHARACTERS = 80
#: JavaScript's ``Date.toString``, whose zone in words comes last, and the dates of .NET's JavaScriptSerializer.
_JAVASCRIPT_DATE = re.compile(r"\w{3} (\w{3} \d{2} \d{4} \d{2}:\d{2}:\d{2} )GMT([+-]\d{4})(?: \(.*\))?")
_DOTNET_DATE = re.compile(r"/Date\((\d+)(?:[+-]\d{4})?\)/")
#: A year before this stands for no date at all: Go writes the year 1.
_MIN_YEAR = 1970


class Moment(NamedTuple):
    """Epoch seconds. ``is_zoneless``: the text names no time zone, and was read as UTC."""

    at: int
    is_zoneless: bool = False


def parse_moment(value: Any) -> Moment | None:
    """Parse a moment; None where the value stands for no date.

    Raises
    ------
    ValueError
        It is no moment.
    """
    if isinstance(value, str):
        text = value.strip()
        if not text or len(text) > _MAX_CHARACTERS:
            raise ValueError("no moment")
        number = _parse_number(text)
        return _parse_text(text) if number is None else _parse_epoch(number)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("no moment")  # noqa: TRY004 - the value is an operator's, not a caller's
    return _parse_epoch(value)


def _parse_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _parse_epoch(number: float) -> Moment:
    if not math.isfinite(number) or number < 0:
        raise ValueError("no moment")
    while number > _MAX_EPOCH_SECONDS:
        number /= 1000
    if 0 < number < MIN_EPOCH_SECONDS:
        raise ValueError("no moment")
    return Moment(int(number))


def _parse_text(text: str) -> Moment | None:
    if found := _DOTNET_DATE.fullmatch(text):
        return _parse_epoch(int(found[1]) / 1000)
    try:
        moment = _parse_date(text)
    except (ValueError, TypeError):
        raise ValueError("no moment") from None
    if moment.year < _MIN_YEAR:
        return None
    is_zoneless = moment.tzinfo is None
    return Moment(int((moment.replace(tzinfo=UTC) if is_zoneless else moment).timestamp()), is_zoneless)


def _parse_date(text: str) -> datetime:
    if found := _JAVASCRIPT_DATE.fullmatch(text):
        return datetime.strptime(found[1] + found[2], "%b %d %Y %H:%M:%S %z")
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return parsedate_to_datetime(text)
