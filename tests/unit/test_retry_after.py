"""Protects the reading of Retry-After: any form of it is whole seconds within a bound, or nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergrant.oauth.retry_after import parse_retry_after
from evergrant.oauth.token_response import parse_token_response
from tests.unit.samples import NOW, acme, respond

#: NOW as HTTP writes it.
DATE = "Sun, 22 Nov 2026 10:00:00 GMT"
TWO_MINUTES_ON = "Sun, 22 Nov 2026 10:02:00 GMT"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        *(("120", 120), (" 7 ", 7), ("0", 0), ("1.5", 1), ("120.", 120), ("30s", 30), ("30 seconds", 30)),
        *(("3600", 3600), ("3601", 3600), ("86401", 3600), ("3600000", 3600), ("999999999", 3600)),
        # Unix time, in seconds and milliseconds.
        *((str(NOW + 120), 120), (str((NOW + 120) * 1000), 120), (str(NOW - 120), 0)),
        # The header came twice.
        *(("5, 60", 60), ("60, 5", 60), ("soon, 60", 60), (f"{TWO_MINUTES_ON}, {TWO_MINUTES_ON}", 120)),
        *(("9" * 30, None), ("-5", None), ("soon", None), ("", None), ("²", None), ("1e3", None), ("0x10", None)),
        (TWO_MINUTES_ON, 120),
        ("Sun, 22 Nov 2026 09:00:00 GMT", 0),
        ("Mon, 22 Nov 2027 10:00:00 GMT", 3600),
        ("Sun, 22 Nov 2026 10:02:00 -0000", 120),
        ("Sunday, 22-Nov-26 10:02:00 GMT", 120),
        ("Sun, 22 Nov 99999999999 10:02:00 GMT", None),
        ("Sun, 22 Nov 2026 10:02:00 +99999999999", None),
    ],
)
def test_each_form_is_bounded_seconds_or_nothing(value: str, seconds: int | None) -> None:
    for date in (DATE, "", "now"):
        assert parse_retry_after(respond(429, b"", retry_after=value, date=date), NOW, 3600) == seconds


def test_a_date_counts_from_the_responses_own_date() -> None:
    """The server's clock is an hour ahead."""
    response = respond(503, b"", retry_after="Sun, 22 Nov 2026 11:02:00 GMT", date="Sun, 22 Nov 2026 11:00:00 GMT")
    assert parse_retry_after(response, NOW, 3600) == 120


def test_a_profile_may_follow_a_longer_wait() -> None:
    response = respond(429, b"", retry_after="86400")
    patient = acme("[rotation]\nmax_retry_after = 43200")
    waits = [parse_token_response(profile, response, NOW) for profile in (acme(), patient)]
    assert [wait.retry_after for wait in waits if not hasattr(wait, "access_token")] == [3600, 43_200]


def test_a_503_was_not_acted_upon_only_with_a_retry_after() -> None:
    for headers, kind in (({"retry_after": "soon"}, "transient"), ({"retry_after": "9"}, "transient"), ({}, "unclear")):
        answer = parse_token_response(acme(), respond(503, b"<html>", **headers), NOW)
        assert getattr(answer, "kind", None) == kind


@given(st.text(alphabet="Sun,0123456789 :.NovGMT+-es", max_size=60), st.integers(0, 4_000_000_000))
def test_no_text_raises_or_waits_beyond_the_bound(value: str, now: int) -> None:
    wait = parse_retry_after(respond(429, b"", retry_after=value, date=DATE), now, 3600)
    assert wait is None or 0 <= wait <= 3600
