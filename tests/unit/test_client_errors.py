"""Protects the errors of consumers that get no token: typed, with a stable code and what to do about it, after no call
more than is useful, and never with a token in them."""

from __future__ import annotations

import copy
import logging
import pickle
import traceback
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from evergrant_client import (
    AccessDenied,
    AuthorizationRequired,
    ClientRefused,
    ConnectionUnusable,
    Disconnected,
    Evergrant,
    EvergrantError,
    InvalidRequest,
    MissingHeaders,
    NotConfigured,
    Paused,
    TemporarilyUnavailable,
    UnexpectedAnswer,
    UnknownConnection,
)
from tests.unit.client_fakes import GETTER, START, Clock, FakeAws, build_answer, client_error, refusal

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


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("unknown_connection", UnknownConnection),
        ("authorization_required", AuthorizationRequired),
        ("client_refused", ClientRefused),
        ("paused", Paused),
        ("disconnected", Disconnected),
        ("invalid_request", InvalidRequest),
        ("temporarily_unavailable", TemporarilyUnavailable),
    ],
)
def test_each_of_getters_codes_is_a_type(
    evergrant: Evergrant, aws: FakeAws, code: str, kind: type[EvergrantError]
) -> None:
    aws.getter = lambda _: refusal(code)
    with pytest.raises(kind) as caught:
        evergrant.token(KEAP)
    error = caught.value
    assert type(error) is kind
    assert (error.code, error.connection, error.hint) == (code, KEAP, "Do something.")
    assert str(error) == f"It is {code}. Do something. [{code}]"


def test_retry_after_is_kept_and_getter_left_alone_for_so_long(
    evergrant: Evergrant, aws: FakeAws, clock: Clock
) -> None:
    aws.getter = lambda _: refusal("temporarily_unavailable", retry_after=20)
    for wait, expected in ((0, 20), (12, 8)):
        clock.pass_seconds(wait)
        with pytest.raises(TemporarilyUnavailable) as caught:
            evergrant.token(KEAP)
        assert caught.value.retry_after == expected
    assert len(aws.caller_waits) == 1
    clock.pass_seconds(8)
    aws.getter = lambda _: build_answer(KEAP, "again", expires_at=START + 3600)
    assert evergrant.token(KEAP) == "again"


def test_refused_token_that_getter_repeats_is_not_renewed_each_time(
    evergrant: Evergrant, aws: FakeAws, clock: Clock
) -> None:
    """A refused token that getter gave again is not renewed on every refusal."""
    aws.publish(KEAP, "same", expires_at=START + 3600)
    aws.getter = lambda _: build_answer(KEAP, "same", expires_at=START + 3600)
    for _ in range(4):
        with pytest.raises(TemporarilyUnavailable, match="no other token"):
            evergrant.token(KEAP, rejected="same")
    assert len(aws.caller_waits) == 1
    clock.pass_seconds(6)
    aws.getter = lambda _: build_answer(KEAP, "other", expires_at=START + 3600)
    assert evergrant.token(KEAP, rejected="same") == "other"


def test_refusals_do_not_reach_a_getter_that_is_left_alone(evergrant: Evergrant, aws: FakeAws) -> None:
    aws.publish(KEAP, "refused", expires_at=START + 3600)
    aws.getter = lambda _: refusal("temporarily_unavailable", retry_after=20)
    for _ in range(3):
        with pytest.raises(TemporarilyUnavailable):
            evergrant.token(KEAP, rejected="refused")
    assert len(aws.caller_waits) == 1


def test_new_secret_is_noticed_at_once_while_getter_is_left_alone(evergrant: Evergrant, aws: FakeAws) -> None:
    aws.getter = lambda _: refusal("authorization_required")
    with pytest.raises(AuthorizationRequired):
        evergrant.token(KEAP)
    aws.publish(KEAP, "connected", expires_at=START + 3600)
    assert evergrant.token(KEAP) == "connected"


def test_living_token_is_served_while_nothing_fresher_can_be_had(
    evergrant: Evergrant, aws: FakeAws, clock: Clock
) -> None:
    aws.publish(KEAP, "old", expires_at=START + 50)
    aws.getter = lambda _: refusal("temporarily_unavailable", retry_after=30)
    assert [evergrant.token(KEAP) for _ in range(5)] == ["old"] * 5
    assert (len(aws.reads), len(aws.caller_waits)) == (1, 1)
    clock.pass_seconds(45)
    with pytest.raises(TemporarilyUnavailable):
        evergrant.token(KEAP)


@pytest.mark.parametrize("code", ["authorization_required", "client_refused", "paused"])
def test_living_token_is_served_although_a_person_has_to_act(
    evergrant: Evergrant, aws: FakeAws, clock: Clock, caplog: pytest.LogCaptureFixture, code: str
) -> None:
    aws.publish(KEAP, "old", expires_at=START + 50)
    aws.getter = lambda _: refusal(code)
    with caplog.at_level(logging.WARNING, "evergrant_client"):
        assert [evergrant.token(KEAP) for _ in range(5)] == ["old"] * 5
    assert [record.getMessage().count(code) for record in caplog.records] == [2]
    assert len(aws.caller_waits) == 1
    clock.pass_seconds(46)
    with pytest.raises(ConnectionUnusable, match=code):
        evergrant.token(KEAP)


@pytest.mark.parametrize("code", ["disconnected", "unknown_connection"])
def test_withdrawn_token_is_not_served_though_it_lives(evergrant: Evergrant, aws: FakeAws, code: str) -> None:
    aws.publish(KEAP, "old", expires_at=START + 50)
    evergrant.token(KEAP, min_ttl=0)
    aws.secrets.clear()
    aws.getter = lambda _: refusal(code)
    for min_ttl in (60, 0):
        with pytest.raises(ConnectionUnusable, match=code):
            evergrant.token(KEAP, min_ttl=min_ttl)


def test_getters_warning_comes_with_the_token_and_is_logged(
    evergrant: Evergrant, aws: FakeAws, caplog: pytest.LogCaptureFixture
) -> None:
    warning = {"code": "temporarily_unavailable", "message": "Its provider is down."}
    aws.getter = lambda _: build_answer(KEAP, "t", expires_at=START + 3600, warning=warning)
    with caplog.at_level(logging.WARNING, "evergrant_client"):
        assert evergrant.access_token(KEAP).warning == "Its provider is down."
    assert caplog.messages == ["keap/main: Its provider is down."]


def test_ended_token_from_getter_is_not_handed_on(evergrant: Evergrant, aws: FakeAws) -> None:
    aws.getter = lambda _: build_answer(KEAP, "dead", expires_at=START - 1)
    with pytest.raises(TemporarilyUnavailable, match="has expired"):
        evergrant.token(KEAP)


def test_without_getter_what_the_secret_gives_is_all_there_is(
    aws: FakeAws, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EVERGRANT_GETTER", raising=False)
    evergrant = Evergrant(session=aws, clock=clock)
    with pytest.raises(NotConfigured, match="EVERGRANT_GETTER"):
        evergrant.token(KEAP)
    aws.secrets[SECRET] = client_error("AccessDeniedException")
    with pytest.raises(AccessDenied, match="ConsumerPolicyArn"):
        evergrant.token(KEAP)
    aws.publish(KEAP, "nearly over", expires_at=START + 40)
    assert evergrant.token(KEAP) == "nearly over"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (client_error("AccessDeniedException", 403), AccessDenied),
        (client_error("TooManyRequestsException", 429), TemporarilyUnavailable),
        (client_error("ServiceException", 500), TemporarilyUnavailable),
        (client_error("ResourceNotFoundException", 404), NotConfigured),
        (client_error("InvalidRuntimeException"), UnexpectedAnswer),
        (EndpointConnectionError(endpoint_url="https://lambda.example"), TemporarilyUnavailable),
        (b"<html>", UnexpectedAnswer),
        ({"error": {"code": "of_the_future"}}, UnexpectedAnswer),
        ({"error": "text"}, UnexpectedAnswer),
        ({"access_token": "t"}, UnexpectedAnswer),
        (
            build_answer(KEAP, "t", expires_at=START + 3600, expires_at_="") | {"expires_at": "tomorrow"},
            UnexpectedAnswer,
        ),
        (build_answer(KEAP, "t", expires_at=START) | {"expires_at": "2027-01-15T10:00:00"}, UnexpectedAnswer),
        (build_answer("keap/other", "t", expires_at=START + 3600), UnexpectedAnswer),
    ],
)
def test_what_goes_wrong_with_getter_is_typed(
    evergrant: Evergrant, aws: FakeAws, answer: Any, kind: type[EvergrantError]
) -> None:
    aws.getter = lambda _: answer
    with pytest.raises(kind) as caught:
        evergrant.token(KEAP)
    assert type(caught.value) is kind
    assert caught.value.hint


def test_crash_of_getter_is_temporary_and_its_text_is_not_repeated(evergrant: Evergrant, aws: FakeAws) -> None:
    aws.function_error = True
    aws.getter = lambda _: {"errorMessage": "secret text", "errorType": "KeyError"}
    with pytest.raises(TemporarilyUnavailable) as caught:
        evergrant.token(KEAP)
    assert "secret text" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["keap", "Keap/main", "keap/", "/main", "keap/main/x", "keap/main-abc123", "keap/ma in", "", None, 7]
)
def test_malformed_names_are_refused_without_a_call_or_an_echo(evergrant: Evergrant, aws: FakeAws, name: Any) -> None:
    """Malformed names are refused without a call, and the message does not repeat them."""
    with pytest.raises(InvalidRequest) as caught:
        evergrant.token(name)
    assert isinstance(caught.value, ValueError)
    assert aws.reads == []


@pytest.mark.parametrize("min_ttl", [-1, float("nan"), float("inf")])
def test_min_ttl_that_is_no_number_of_seconds_is_refused_even_when_warm(
    evergrant: Evergrant, aws: FakeAws, min_ttl: float
) -> None:
    aws.publish(KEAP, "t", expires_at=START + 3600)
    evergrant.token(KEAP)
    with pytest.raises(InvalidRequest):
        evergrant.token(KEAP, min_ttl=min_ttl)


def test_prefix_that_is_none_is_refused() -> None:
    with pytest.raises(NotConfigured):
        Evergrant(prefix="ever grant")


@pytest.mark.parametrize(
    "error",
    [
        AuthorizationRequired("It is.", connection=KEAP),
        TemporarilyUnavailable("Not now.", connection=KEAP, retry_after=3),
        MissingHeaders(KEAP, ("x-user-id",)),
    ],
)
def test_errors_survive_pickling_and_copying(error: EvergrantError) -> None:
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), error.copy()):  # noqa: S301 - our own bytes
        assert type(again) is type(error)
        assert (str(again), vars(again)) == (str(error), vars(error))


def test_unusable_connections_share_a_base() -> None:
    kinds = {UnknownConnection, AuthorizationRequired, ClientRefused, Paused, Disconnected}
    assert set(ConnectionUnusable.__subclasses__()) == kinds


def test_tokens_show_neither_in_repr_nor_in_str(evergrant: Evergrant, aws: FakeAws) -> None:
    aws.publish(KEAP, "hush-hush", expires_at=START + 3600)
    token = evergrant.access_token(KEAP)
    shown = f"{token} {token!r} {evergrant!r} {[token]}"
    assert "hush" not in shown
    assert token.fingerprint in shown


def test_no_exception_holds_a_document_with_a_token(evergrant: Evergrant, aws: FakeAws) -> None:
    aws.secrets[SECRET] = '{"access_token": "hush-hush", '
    aws.getter = lambda _: b'{"access_token": "hush-hush", '
    with pytest.raises(UnexpectedAnswer) as caught:
        evergrant.token(KEAP)
    error: BaseException | None = caught.value
    assert "hush" not in "".join(traceback.format_exception(caught.value))
    while error is not None:
        assert "hush" not in repr(vars(error))
        error = error.__cause__ or error.__context__
