"""Protects the judgement behind `evergrant status`: whom it wakes, whom it leaves alone, and what it advises."""

from __future__ import annotations

from typing import Any

import pytest

from evergrant.record.circuit import Circuit, Failure
from evergrant.record.connection import Connection
from evergrant.record.status import Status
from evergrant_cli.health import Health, Level, Trouble, assess_health, summarize_health

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


def judge_in(trouble: Trouble, **fields: Any) -> Health:
    return assess_health(connection(**fields), NOW, trouble=trouble)


URL = "https://api.example.com/token"
ENDPOINT = Circuit(f"endpoint#{URL}", opened_at=NOW - 1800, code="unclear", http_status=503)
CLIENT = Circuit("client#keap", opened_at=NOW - 1800, code="invalid_client", http_status=401)
#: The fields of a connection whose refresh failed three times, and whose token has expired.
EXPIRED: dict[str, Any] = {"status": Status.DEGRADED, "expires_at": NOW - 60, "refresh_at": NOW + 60, "failures": 3}


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
            {"status": Status.DEGRADED, "failures": 4, "last_error": "lost_response", "in_doubt_since": NOW - 60},
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


# What concerns several connections


def test_a_held_connection_waits_and_is_not_overdue() -> None:
    """A connection that an open circuit holds back waits for the endpoint: the scheduler does run."""
    verdict = judge_in(Trouble(ENDPOINT), refresh_at=NOW - 1800)
    assert verdict.level is Level.WATCH
    assert verdict.reason.startswith(
        "it waits for the endpoint api.example.com, which does not work; its token is good"
    )
    assert verdict.circuit == ENDPOINT.key
    late = judge(refresh_at=NOW - 1800)
    assert "its refresh is 30 min late" in late.reason


def test_a_held_connection_needs_action_once_its_token_has_expired() -> None:
    verdict = judge_in(Trouble(ENDPOINT), refresh_at=NOW - 1800, expires_at=NOW - 1)
    assert verdict.level is Level.ACT
    assert "status page" in verdict.advice


def test_an_endpoint_in_trouble_does_not_concern_what_is_not_due() -> None:
    assert judge_in(Trouble(ENDPOINT)) == Health(Level.FINE)


@pytest.mark.parametrize(("refresh_at", "waits"), [(NOW - 5, "it waits for"), (NOW + 5, "its next refresh waits for")])
def test_every_connection_of_a_refused_client_needs_action(refresh_at: int, waits: str) -> None:
    verdict = judge_in(Trouble(CLIENT), refresh_at=refresh_at)
    assert verdict.level is Level.ACT
    assert verdict.reason.startswith(f"{waits} client keap, which its provider refuses")
    assert verdict.advice == "evergrant client set keap"


def test_a_refused_grant_of_an_incident_is_one_of_many() -> None:
    refusals = {f"keap/{number}": Failure(NOW, "invalid_grant") for number in range(7)}
    incident = Circuit("client#keap", incident_at=NOW - 60, refusals=refusals)
    verdict = judge_in(Trouble(None, incident), status=Status.DEGRADED, failures=1, last_error="invalid_grant")
    assert (verdict.level, verdict.circuit) == (Level.ACT, "client#keap")
    assert "one of 7 that the provider refuses at once" in verdict.reason
    assert "evergrant client show keap" in verdict.advice


# No failure is silent for ever


@pytest.mark.parametrize("error", ["lost_response", "not_reached", "unclear", "rate_limited", "service_unavailable"])
@pytest.mark.parametrize("expires_at", [NOW - DAY, None], ids=["expired", "never had a token"])
def test_a_day_without_a_valid_token_needs_a_person_after_any_error(error: str, expires_at: int | None) -> None:
    silent: dict[str, Any] = {
        "status": Status.DEGRADED,
        "expires_at": expires_at,
        "failing_since": NOW - DAY,
        "last_error": error,
    }
    verdict = judge(**silent, failures=40)
    assert verdict.level is Level.ACT
    assert "no valid token for 1 d: " in verdict.reason
    assert f"({error})" in verdict.reason
    assert "evergrant connect keap/main" in verdict.advice


def test_a_new_headless_connection_that_fails_is_watched_for_a_day() -> None:
    young: dict[str, Any] = {
        "status": Status.DEGRADED,
        "expires_at": None,
        "failing_since": NOW - DAY + 1,
        "failures": 9,
    }
    assert judge(**young, last_error="unclear", grant="client_credentials").level is Level.WATCH


# What a refusal means


def test_the_first_refused_grant_names_the_command_once_the_token_expired() -> None:
    """After one invalid_grant the command is named at once if the access token has expired."""
    rejected: dict[str, Any] = {"last_error": "invalid_grant", "rejected_code": "invalid_grant", "rejected_at": NOW - 5}
    assert judge(**{**EXPIRED, "failures": 1}, **rejected).advice.startswith("`evergrant connect keap/main`")
    living = judge(status=Status.DEGRADED, failures=1, **rejected)
    assert "connect" not in living.advice
    assert "once more" in living.advice


@pytest.mark.parametrize(("doubt", "said"), [("not_credible", "not credible"), ("expired", "had expired when it came")])
def test_a_lifetime_that_is_not_believed_is_said(doubt: str, said: str) -> None:
    verdict = judge(expiry_doubt=doubt)
    assert (verdict.level, said in verdict.reason) == (Level.WATCH, True)


@pytest.mark.parametrize("error", ["unauthorized_client", "client_unauthorized"])
def test_an_unauthorized_client_alone_has_two_readings(error: str) -> None:
    verdict = judge(**EXPIRED, last_error=error)
    assert "evergrant client set keap" in verdict.advice
    assert "evergrant connect keap/main" in verdict.advice
    headless = judge(**EXPIRED, last_error=error, grant="client_credentials").advice
    assert "evergrant client set keap" in headless
    assert "connect" not in headless, "there is no owner who could"


@pytest.mark.parametrize(
    ("error", "explanation"),
    [
        ("invalid_request", "the same request worked before"),
        ("unauthorized_client", "other connections of the client are accepted"),
        ("rejected_unknown", "its endpoint answers other connections properly"),
    ],
)
def test_a_refusal_that_names_no_grant_is_explained_where_it_is_final(error: str, explanation: str) -> None:
    required: dict[str, Any] = {"status": Status.AUTHORIZATION_REQUIRED, "last_error": error, "last_status": 400}
    verdict = judge(**required, rejected_code=error, rejected_at=NOW - DAY)
    assert explanation in verdict.reason
    assert f"({error}, HTTP 400)" in verdict.reason
    assert verdict.advice == "evergrant connect keap/main"


def test_a_failure_of_one_account_alone_is_said_to_be_that() -> None:
    alone: dict[str, Any] = {
        "status": Status.AUTHORIZATION_REQUIRED,
        "last_error": "fails_for_this_account",
        "last_status": 500,
    }
    verdict = judge(**alone, alone_since=NOW - DAY, expires_at=NOW - DAY)
    assert verdict.reason.startswith("the provider fails for this account alone, while other connections")
    assert "suspended" in verdict.advice
    assert "evergrant connect keap/main" in verdict.advice


def test_repeated_malformed_requests_name_the_grant_and_the_profile() -> None:
    verdict = judge(**EXPIRED, last_error="invalid_request", last_status=400)
    assert "evergrant connect keap/main" in verdict.advice
    assert "correct the profile" in verdict.advice


@pytest.mark.parametrize(
    ("detail", "advice"),
    [
        ("host", "evergrant client set keap"),
        ("request", "evergrant client set keap"),
        ("address", "evergrant connect keap/main --var"),
        ("tls", "certificate"),
        ("connect", "retried by itself"),
    ],
)
def test_the_advice_for_an_unsent_request_follows_its_reason(detail: str, advice: str) -> None:
    assert advice in judge(**EXPIRED, last_error="not_sent", last_detail=detail).advice
