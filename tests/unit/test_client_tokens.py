"""Protects what consumers rely on when they ask for a token: it is valid, it is fetched as seldom as
possible, and with it come the headers of the call."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from botocore.exceptions import EndpointConnectionError

from evergrant_client import (
    Evergrant,
    MissingHeaders,
    TemporarilyUnavailable,
)
from tests.unit.client_fakes import GETTER, START, Clock, FakeAws, build_answer, client_error, fingerprint, refusal

KEAP = "keap/main"
SECRET = "evergrant/tokens/keap/main"


@pytest.fixture
def aws() -> FakeAws:
    return FakeAws()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def evergrant(aws: FakeAws, clock: Clock) -> Evergrant:
    return Evergrant(prefix="evergrant", getter=GETTER, session=aws, clock=clock)


# Reading and caching


def test_secret_is_read_once_for_as_long_as_its_token_lives(evergrant: Evergrant, aws: FakeAws, clock: Clock) -> None:
    aws.publish(KEAP, "first", expires_at=START + 86_400)
    assert evergrant.token(KEAP) == "first"
    clock.pass_seconds(86_400 - 60 - 6)
    assert evergrant.token(KEAP) == "first"
    assert aws.reads == [SECRET]
    assert aws.caller_waits == []


def test_token_is_read_anew_when_it_ends_within_min_ttl(evergrant: Evergrant, aws: FakeAws, clock: Clock) -> None:
    aws.publish(KEAP, "first", expires_at=START + 3600)
    evergrant.token(KEAP)
    aws.publish(KEAP, "second", expires_at=START + 7200, generation=2)
    clock.pass_seconds(3600 - 65)
    assert evergrant.token(KEAP) == "second"


def test_even_with_min_ttl_zero_a_token_in_its_last_seconds_is_not_used(
    evergrant: Evergrant, aws: FakeAws, clock: Clock
) -> None:
    aws.publish(KEAP, "first", expires_at=START + 3600)
    evergrant.token(KEAP, min_ttl=0)
    aws.publish(KEAP, "second", expires_at=START + 7200, generation=2)
    clock.pass_seconds(3600 - 4)
    assert evergrant.token(KEAP, min_ttl=0) == "second"


def test_clock_set_back_makes_a_token_stale_not_younger(evergrant: Evergrant, aws: FakeAws, clock: Clock) -> None:
    aws.publish(KEAP, "first", expires_at=START + 3600)
    evergrant.token(KEAP)
    clock.pass_seconds(-600)
    evergrant.token(KEAP)
    assert len(aws.reads) == 2


@pytest.mark.parametrize("source", ["secret", "getter"])
def test_slow_clock_does_not_make_a_token_outlive_its_end(
    evergrant: Evergrant, aws: FakeAws, clock: Clock, source: str
) -> None:
    aws.server_time = format_datetime(datetime.fromtimestamp(START + 120, UTC), usegmt=True)
    if source == "secret":
        aws.publish(KEAP, "first", expires_at=START + 3600)
    else:
        aws.getter = lambda _: build_answer(KEAP, "first", expires_at=START + 3600)
    evergrant.token(KEAP, min_ttl=0)
    aws.publish(KEAP, "second", expires_at=START + 7200, generation=2)
    aws.getter = lambda _: build_answer(KEAP, "second", expires_at=START + 7200, generation=2)
    clock.pass_seconds(3600 - 120 - 6)
    assert evergrant.token(KEAP, min_ttl=0) == "first"
    clock.pass_seconds(2)
    assert evergrant.token(KEAP, min_ttl=0) == "second"


@pytest.mark.parametrize("date", ["", "yesterday", "Fri, 15 Jan 2027 08:00:01 GMT", "Fri, 15 Jan 2027 07:00:00 GMT"])
def test_fast_clock_and_an_unreadable_date_give_a_token_no_longer_life(
    evergrant: Evergrant, aws: FakeAws, clock: Clock, date: str
) -> None:
    aws.server_time = date
    aws.publish(KEAP, "first", expires_at=START + 3600)
    evergrant.token(KEAP, min_ttl=0)
    clock.pass_seconds(3600 - 6)
    assert evergrant.token(KEAP, min_ttl=0) == "first"
    assert len(aws.reads) == 1


def test_getter_is_asked_when_the_secret_is_stale(evergrant: Evergrant, aws: FakeAws) -> None:
    aws.publish(KEAP, "old", expires_at=START + 30)
    aws.getter = lambda _: build_answer(KEAP, "new", expires_at=START + 3600, generation=2)
    assert evergrant.token(KEAP) == "new"
    assert aws.caller_waits == [{"connection": KEAP, "min_ttl": 70}]


@pytest.mark.parametrize(
    "why_not",
    [
        client_error("ResourceNotFoundException"),
        client_error("InvalidRequestException"),  # scheduled for deletion
        client_error("AccessDeniedException"),  # also the answer for a name that does not exist
        client_error("ThrottlingException"),
        client_error("InternalServiceError", 500),
        EndpointConnectionError(endpoint_url="https://secretsmanager.example"),
        "not JSON",
    ],
    ids=["absent", "deleted", "denied", "throttled", "down", "unreachable", "unreadable"],
)
def test_getter_is_asked_when_the_secret_cannot_be_read(
    evergrant: Evergrant, aws: FakeAws, why_not: str | Exception
) -> None:
    aws.secrets[SECRET] = why_not
    aws.getter = lambda _: build_answer(KEAP, "from getter", expires_at=START + 300)
    assert evergrant.token(KEAP) == "from getter"


def test_token_shorter_lived_than_min_ttl_is_not_fetched_on_every_call(
    evergrant: Evergrant, aws: FakeAws, clock: Clock
) -> None:
    aws.getter = lambda _: build_answer(KEAP, f"token {len(aws.caller_waits)}", expires_at=clock.now + 300)
    assert [evergrant.token(KEAP, min_ttl=3600) for _ in range(3)] == ["token 1"] * 3
    clock.pass_seconds(140)
    assert evergrant.token(KEAP, min_ttl=3600) == "token 1"
    clock.pass_seconds(20)
    assert evergrant.token(KEAP, min_ttl=3600) == "token 2"
    assert len(aws.caller_waits) == 2


def test_min_ttl_that_getter_could_meet_is_kept_to_the_second(evergrant: Evergrant, aws: FakeAws, clock: Clock) -> None:
    aws.getter = lambda _: build_answer(KEAP, f"token {len(aws.caller_waits)}", expires_at=clock.now + 300)
    evergrant.token(KEAP, min_ttl=200)
    clock.pass_seconds(94)
    assert evergrant.token(KEAP, min_ttl=200) == "token 1"
    clock.pass_seconds(1)
    assert evergrant.token(KEAP, min_ttl=200) == "token 2"


def test_older_generation_in_the_secret_does_not_replace_a_newer_one(
    evergrant: Evergrant, aws: FakeAws, clock: Clock
) -> None:
    aws.publish(KEAP, "seventh", expires_at=START + 100, generation=7)
    aws.getter = lambda _: build_answer(KEAP, "eighth", expires_at=START + 200, generation=8)
    assert evergrant.token(KEAP, min_ttl=120) == "eighth"
    assert evergrant.token(KEAP, min_ttl=60, rejected="some other") == "eighth"
    clock.pass_seconds(150)
    aws.getter = lambda _: refusal("temporarily_unavailable")
    assert evergrant.token(KEAP) == "eighth"


def test_everything_published_is_handed_on(evergrant: Evergrant, aws: FakeAws) -> None:
    aws.publish(KEAP, "secret", expires_at=START + 3600, captured={"realmId": "9"}, generation=4, unheard_of=1)
    token = evergrant.access_token(KEAP)
    assert (token.value, token.expires_at, token.generation, token.scope) == ("secret", START + 3600, 4, "full")
    assert token.captured == {"realmId": "9"}
    assert token.fingerprint == fingerprint("secret")


def test_prefix_and_getter_come_from_the_environment(
    aws: FakeAws, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVERGRANT_PREFIX", "team/staging")
    monkeypatch.setenv("EVERGRANT_GETTER", GETTER)
    aws.getter = lambda _: build_answer(KEAP, "x", expires_at=START + 3600)
    assert Evergrant(session=aws, clock=clock).token(KEAP) == "x"
    assert aws.reads == ["team/staging/tokens/keap/main"]


# Headers


def test_headers_are_the_profiles_with_those_of_the_call(evergrant: Evergrant, aws: FakeAws) -> None:
    aws.publish(
        KEAP,
        "t",
        expires_at=START + 3600,
        headers={"Authorization": "Bearer t", "Accept": "application/json; version=1.0.0"},
        required_headers=["x-user-id"],
    )
    given = {"X-User-Id": "u-17", "accept": "*/*"}
    headers = evergrant.headers(KEAP, given)
    assert headers == {
        "X-User-Id": "u-17",
        "Authorization": "Bearer t",
        "Accept": "application/json; version=1.0.0",
    }
    headers.clear()
    assert evergrant.headers(KEAP, given)["Authorization"] == "Bearer t"


@pytest.mark.parametrize("given", [None, {}, {"x-user-id": ""}])
def test_missing_per_call_header_is_named(evergrant: Evergrant, aws: FakeAws, given: dict[str, str] | None) -> None:
    aws.publish(KEAP, "t", expires_at=START + 3600, required_headers=["x-user-id"])
    with pytest.raises(MissingHeaders, match="x-user-id") as caught:
        evergrant.headers(KEAP, given)
    assert caught.value.names == ("x-user-id",)


# Refused tokens, without an auth class


def test_rejected_token_is_replaced_by_what_the_secret_holds_now(evergrant: Evergrant, aws: FakeAws) -> None:
    aws.publish(KEAP, "first", expires_at=START + 3600)
    first = evergrant.token(KEAP)
    aws.publish(KEAP, "second", expires_at=START + 3600, generation=2)
    assert evergrant.token(KEAP, rejected=first) == "second"
    assert aws.caller_waits == []


def test_rejected_token_that_is_still_published_is_renewed_by_getter(evergrant: Evergrant, aws: FakeAws) -> None:
    aws.publish(KEAP, "first", expires_at=START + 3600)
    aws.getter = lambda _: build_answer(KEAP, "second", expires_at=START + 3600, generation=2)
    assert evergrant.token(KEAP, rejected=evergrant.token(KEAP)) == "second"
    assert aws.caller_waits == [{"connection": KEAP, "min_ttl": 70, "rejected": fingerprint("first")}]
    assert evergrant.token(KEAP) == "second"


def test_rejected_token_that_cannot_be_replaced_is_an_error(evergrant: Evergrant, aws: FakeAws) -> None:
    aws.publish(KEAP, "same", expires_at=START + 3600)
    aws.getter = lambda _: build_answer(KEAP, "same", expires_at=START + 3600)
    with pytest.raises(TemporarilyUnavailable, match="no other token"):
        evergrant.token(KEAP, rejected="same")


def test_getters_answer_to_a_refusal_wins_even_at_a_lower_generation(evergrant: Evergrant, aws: FakeAws) -> None:
    """Getter's answer to a refused token is believed, even if its generation is lower."""
    aws.publish(KEAP, "before the restore", expires_at=START + 3600, generation=9)
    aws.getter = lambda _: build_answer(KEAP, "after it", expires_at=START + 3600, generation=5)
    assert evergrant.token(KEAP, rejected=evergrant.token(KEAP)) == "after it"
