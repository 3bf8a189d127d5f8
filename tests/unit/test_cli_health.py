"""Protects the judgement behind `evergrant status`: whom it wakes, whom it leaves alone, and what it advises."""

from __future__ import annotations

from typing import Any

import pytest

from evergrant.record.connection import Connection
from evergrant.record.status import Status
from evergrant_cli.health import Health, Level, assess_health, summarize_health

NOW = 1_800_000_000
DAY = 86_400


def connection(**fields: Any) -> Connection:
    given = {
        "name": "keap/main",
        "status": Status.ACTIVE,
        "grant": "authorization_code",
        "client": "keap",
        "profile_hash": "0" * 64,
        "generation": 3,
        "issued_at": NOW - 3600,
        "expires_at": NOW + 82_800,
        "refresh_at": NOW + 72_000,
        **fields,
    }
    return Connection(**given)


def judge(*, prolonged: bool = True, **fields: Any) -> Health:
    return assess_health(connection(**fields), NOW, prolonged=prolonged)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"status": Status.DISCONNECTED, "expires_at": NOW - DAY},
        {"refresh_at": NOW - 60},
        {"refresh_at": NOW - DAY, "lease_owner": "w", "lease_until": NOW + 30},
        {"refresh_expires_at": NOW + 3600, "refresh_at": NOW + 600},
        {"refresh_at": None, "expires_at": NOW - DAY},
        {"refresh_at": NOW + 30 * 365 * DAY, "expires_at": NOW - DAY},
        {"status": Status.AWAITING_AUTHORIZATION, "grant": "client_credentials", "expires_at": None, "refresh_at": NOW},
    ],
    ids=[
        "as it should be",
        "disconnected",
        "due a minute ago",
        "being refreshed",
        "each refresh prolongs the grant",
        "nothing refreshes it",
        "refreshed on demand only",
        "just connected",
    ],
)
def test_what_is_fine_is_left_alone(fields: dict[str, Any]) -> None:
    assert judge(**fields) == Health(Level.FINE)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"status": Status.PAUSED}, "paused"),
        (
            {"status": Status.DEGRADED, "failures": 4, "last_error": "lost_response"},
            "whether it used the refresh token is unknown (lost_response), 4 times in a row",
        ),
        ({"failures": 1, "last_error": "server_error"}, "retried by itself"),
        ({"missing_scope": "contacts.write"}, "missing: contacts.write"),
        ({"lost_scope": "contacts.write"}, "fewer scopes than were granted; it lacks contacts.write"),
        ({"status": Status.AWAITING_AUTHORIZATION, "expires_at": None, "refresh_at": None}, "not authorized yet"),
    ],
)
def test_what_recovers_by_itself_or_is_intended_is_watched(fields: dict[str, Any], reason: str) -> None:
    verdict = judge(**fields)
    assert verdict.level is Level.WATCH
    assert reason in verdict.reason


@pytest.mark.parametrize(
    ("fields", "reason", "advice"),
    [
        ({"status": Status.AUTHORIZATION_REQUIRED}, "be authorized again", "evergrant connect keap/main"),
        ({"status": Status.CLIENT_REFUSED}, "refuses client keap", "evergrant client set keap"),
        ({"last_error": "unknown_client", "failures": 3}, "unknown_client", "evergrant client set keap"),
        (
            {"last_error": "unreadable_response", "status": Status.DEGRADED},
            "no token in the response (unreadable_response)",
            "evergrant provider add FILE",
        ),
        ({"refresh_at": NOW - 3600}, "1 h late", "scheduler"),
        (
            {"expires_at": NOW - 5, "refresh_at": NOW + 60, "failures": 9, "last_error": "lost_response"},
            "expired",
            "itself",
        ),
    ],
)
def test_what_needs_a_person_says_why_and_what_to_do(fields: dict[str, Any], reason: str, advice: str) -> None:
    verdict = judge(**fields)
    assert verdict.level is Level.ACT
    assert reason in verdict.reason
    assert advice in verdict.advice


def test_how_long_the_token_serves_yet_is_said() -> None:
    assert "good for 23 h yet" in judge(status=Status.AUTHORIZATION_REQUIRED).reason
    assert "expired 1 h ago" in judge(status=Status.AUTHORIZATION_REQUIRED, expires_at=NOW - 3600).reason
    assert "there is no token" in judge(status=Status.CLIENT_REFUSED, expires_at=None).reason


def test_a_grant_that_nothing_prolongs_is_announced_a_week_before() -> None:
    assert judge(prolonged=False, refresh_expires_at=NOW + 8 * DAY).level is Level.FINE
    verdict = judge(prolonged=False, refresh_expires_at=NOW + 6 * DAY)
    assert verdict.level is Level.ACT
    assert "ends in 6 days" in verdict.reason


def test_a_grant_that_ends_before_its_next_refresh_needs_a_person() -> None:
    assert judge(refresh_expires_at=NOW + 3600, refresh_at=NOW + 7200).level is Level.ACT


def test_the_headline_puts_the_worst_first_and_names_no_more_than_three() -> None:
    fine, watch, act = Health(Level.FINE), Health(Level.WATCH), Health(Level.ACT)
    assert summarize_health([]).startswith("There are no connections yet.")
    assert summarize_health([("a", fine)]) == "Nothing is about to break: 1 connection kept alive."
    assert summarize_health([("a", fine), ("b", watch)]) == "Nothing needs action now. Keep an eye on b."
    assert summarize_health([("a", act), ("b", watch)]) == "1 of 2 connections needs action: a."
    assert summarize_health([(name, act) for name in "abcde"]) == "5 of 5 connections need action: a, b, c and 2 more."
