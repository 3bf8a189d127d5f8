"""Protects the one spelling of times that people and consumers see: RFC 3339, UTC, whole seconds."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergrant.times import format_rfc3339, parse_rfc3339
from tests.unit.samples import NOW


def test_a_moment_is_written_in_utc_to_the_second() -> None:
    assert format_rfc3339(NOW) == "2026-11-22T10:00:00Z"
    assert format_rfc3339(0) == "1970-01-01T00:00:00Z"


@given(st.integers(min_value=0, max_value=253_402_300_799))
def test_what_is_written_is_read_back(at: int) -> None:
    assert datetime.fromisoformat(format_rfc3339(at)).timestamp() == at


@given(st.integers(min_value=0, max_value=253_402_300_798))
def test_later_moments_sort_later_as_text(at: int) -> None:
    assert format_rfc3339(at) < format_rfc3339(at + 1)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-11-22T10:00:00Z", NOW),
        ("2026-11-22T11:00:00+01:00", NOW),
        ("2026-11-22T10:00:00.9Z", NOW),
        ("2026-11-22", NOW - 36_000),
    ],
)
def test_a_time_or_a_date_is_read(text: str, at: int) -> None:
    assert parse_rfc3339(text) == at


@pytest.mark.parametrize("text", ["", "2026-11-22T10:00:00", "tomorrow", "1795341600", "2026-13-01", "31.01.2027"])
def test_what_is_nobodys_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_rfc3339(text)
