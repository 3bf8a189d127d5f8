"""Protects getter's other way in, its signed path of the HTTP API: what is sent is what AWS verifies, answers and
errors are those of direct invocation, and nothing is sent to an address that is not the API's."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import boto3
import botocore.session
import pytest

from evergrant_client import (
    AccessDenied,
    AuthorizationRequired,
    Disconnected,
    Evergrant,
    EvergrantError,
    NotConfigured,
    TemporarilyUnavailable,
    UnexpectedAnswer,
    UnknownConnection,
    _api,
)
from tests.unit.client_fakes import START, Clock, SignedApi, build_answer, fingerprint, refusal, signed_api

KEAP = "keap/main"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    access_key, secret, token = SignedApi.key
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    monkeypatch.setenv("AWS_SESSION_TOKEN", token)
    monkeypatch.setenv("AWS_DEFAULT_REGION", SignedApi.region)
    monkeypatch.setenv("EVERGRANT_ALLOW_LOOPBACK", "true")


@pytest.fixture
def api() -> Iterator[SignedApi]:
    with signed_api() as api:
        api.getter = lambda _: build_answer(KEAP, "t", expires_at=START + 3600)
        yield api


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def evergrant(api: SignedApi, clock: Clock) -> Evergrant:
    return Evergrant(getter=api.url, read_secrets=False, clock=clock)


def test_signed_request_is_accepted_and_its_token_cached(evergrant: Evergrant, api: SignedApi) -> None:
    assert [evergrant.token(KEAP) for _ in range(3)] == ["t"] * 3
    assert api.paths == ["/tokens/keap/main?min_ttl=70"]
    assert api.refused == 0


def test_refused_token_is_reported_by_its_fingerprint(evergrant: Evergrant, api: SignedApi) -> None:
    assert evergrant.token(KEAP) == "t"
    api.getter = lambda _: build_answer(KEAP, "other", expires_at=START + 3600, generation=2)
    assert evergrant.token(KEAP, rejected="t") == "other"
    assert api.caller_waits[1:] == [{"connection": KEAP, "min_ttl": 70, "rejected": fingerprint("t")}]


@pytest.mark.parametrize("account", ["someone@example.com", "a..b", "A_b.c-d"])
def test_every_character_of_an_account_is_signed_as_it_is_sent(
    evergrant: Evergrant, api: SignedApi, account: str
) -> None:
    name = f"keap/{account}"
    api.getter = lambda _: build_answer(name, "t", expires_at=START + 3600)
    assert evergrant.token(name) == "t"
    assert api.caller_waits[0]["connection"] == name


@pytest.mark.parametrize("kind", ["boto3", "botocore"])
def test_credentials_and_region_come_from_the_given_session(
    api: SignedApi, clock: Clock, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    access_key, secret, token = SignedApi.key
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    session = boto3.Session(access_key, secret, token, region_name=SignedApi.region)
    given = session if kind == "boto3" else session._session
    assert Evergrant(getter=api.url, read_secrets=False, session=given, clock=clock).token(KEAP) == "t"


def test_another_secret_key_is_refused_as_aws_does_it(
    evergrant: Evergrant, api: SignedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    with pytest.raises(AccessDenied, match="execute-api:Invoke on GET/tokens/keap/main"):
        evergrant.token(KEAP)
    assert api.refused == 1


@pytest.mark.parametrize("missing", ["credentials", "region"])
def test_process_that_cannot_sign_gets_an_error_that_says_so(
    api: SignedApi, clock: Clock, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    session = botocore.session.get_session()
    session.set_config_variable("region", None if missing == "region" else "eu-west-1")
    if missing == "region":
        monkeypatch.delenv("AWS_DEFAULT_REGION")
    else:
        monkeypatch.setattr(session, "get_credentials", lambda: None)
    with pytest.raises(NotConfigured, match="AWS credentials and a Region"):
        Evergrant(getter=api.url, read_secrets=False, session=session, clock=clock).token(KEAP)
    assert api.paths == []


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("abc123.execute-api.ap-southeast-2.amazonaws.com", "ap-southeast-2"),
        ("abc123.execute-api.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("tokens.example.com", "eu-west-1"),
    ],
)
def test_address_made_by_aws_names_the_region_to_sign_for(host: str, region: str) -> None:
    assert _api._find_region(host, boto3.Session(region_name="eu-west-1")) == region


# Errors


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("unknown_connection", UnknownConnection),
        ("authorization_required", AuthorizationRequired),
        ("disconnected", Disconnected),
    ],
)
def test_problem_details_are_the_errors_of_direct_invocation(
    evergrant: Evergrant, api: SignedApi, code: str, kind: type[EvergrantError]
) -> None:
    api.getter = lambda _: refusal(code)
    with pytest.raises(kind) as caught:
        evergrant.token(KEAP)
    error = caught.value
    assert (type(error), error.message, error.hint) == (kind, f"It is {code}.", "Do something.")


def test_retry_after_is_kept(evergrant: Evergrant, api: SignedApi) -> None:
    api.getter = lambda _: refusal("temporarily_unavailable", retry_after=17)
    with pytest.raises(TemporarilyUnavailable) as caught:
        evergrant.token(KEAP)
    assert caught.value.retry_after == 17


@pytest.mark.parametrize(
    ("status", "headers", "body", "kind", "retry_after"),
    [
        (403, {}, b'{"message":"Forbidden"}', AccessDenied, None),
        (404, {}, b'{"message":"Not Found"}', NotConfigured, None),
        (429, {"Retry-After": "3"}, b'{"message":"Too Many Requests"}', TemporarilyUnavailable, 3),
        (503, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, b"", TemporarilyUnavailable, None),
        (500, {}, b'{"message":"Internal Server Error"}', TemporarilyUnavailable, None),
        (302, {"Location": "https://elsewhere.example/"}, b"", UnexpectedAnswer, None),
        (418, {}, b"[]", UnexpectedAnswer, None),
        (409, {}, b'{"code": "of_the_future"}', UnexpectedAnswer, None),
        (409, {}, b'{"code": 7}', UnexpectedAnswer, None),
        (200, {}, b"<html>", UnexpectedAnswer, None),
        (200, {}, b" " * (_api.MAX_BYTES + 1), UnexpectedAnswer, None),
    ],
)
def test_what_api_gateway_says_by_itself_is_typed(
    evergrant: Evergrant,
    api: SignedApi,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    kind: type[EvergrantError],
    retry_after: float | None,
) -> None:
    api.reply = status, headers, body
    with pytest.raises(kind) as caught:
        evergrant.token(KEAP)
    assert type(caught.value) is kind
    assert getattr(caught.value, "retry_after", None) == retry_after
    assert len(api.paths) == 1, "neither followed nor tried again"


def test_api_that_cannot_be_reached_is_temporarily_unavailable(clock: Clock) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(TemporarilyUnavailable):
        Evergrant(getter=f"http://127.0.0.1:{port}", read_secrets=False, clock=clock).token(KEAP)


def test_api_that_does_not_answer_is_given_up(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_api, "READ_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(TemporarilyUnavailable, match="ReadTimeout"):
            Evergrant(getter=url, read_secrets=False, clock=clock).token(KEAP)


def test_no_error_holds_credentials_or_tokens(evergrant: Evergrant, api: SignedApi) -> None:
    api.reply = 200, {}, b'{"access_token": "hush-hush"'
    with pytest.raises(UnexpectedAnswer) as caught:
        evergrant.token(KEAP)
    error: BaseException | None = caught.value
    while error is not None:
        shown = f"{error} {error!r} {vars(error)}"
        assert not any(secret in shown for secret in (*SignedApi.key[1:], "hush"))
        error = error.__cause__ or error.__context__


# Where it may be


@pytest.mark.parametrize(
    "url",
    [
        "http://api.example.com",
        "ftp://api.example.com",
        "https://",
        "https://user:hush@api.example.com",
        "https://api.example.com/?stage=1",
        "https://api.example.com/#x",
        "https://api.example.com:port",
        "http://localhost.example.com",
        "http://127.0.0.1.example.com",
    ],
)
def test_url_that_is_no_https_address_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(NotConfigured) as caught:
        Evergrant(getter=url)
    assert "hush" not in str(caught.value)
    assert "example" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["https://api.example.com", "https://api.example.com/base/", "https://abc.execute-api.eu-west-1.amazonaws.com"],
)
def test_https_address_is_taken(url: str) -> None:
    Evergrant(getter=url)


def test_plain_http_is_for_the_local_run_only(monkeypatch: pytest.MonkeyPatch) -> None:
    Evergrant(getter="http://abc123.execute-api.localhost:4566")
    monkeypatch.delenv("EVERGRANT_ALLOW_LOOPBACK")
    with pytest.raises(NotConfigured):
        Evergrant(getter="http://127.0.0.1:4566")


def test_threads_that_wait_make_one_request(evergrant: Evergrant, api: SignedApi) -> None:
    ready = threading.Barrier(8)
    got: list[str] = []

    def ask() -> None:
        ready.wait()
        got.append(evergrant.token(KEAP))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == ["t"] * 8
    assert len(api.caller_waits) == 1


def test_answer_has_everything_that_direct_invocation_has(evergrant: Evergrant, api: SignedApi) -> None:
    document: dict[str, Any] = build_answer(KEAP, "t", expires_at=START + 3600, required_headers=["x-user-id"])
    api.getter = lambda _: json.loads(json.dumps(document))
    assert evergrant.headers(KEAP, {"x-user-id": "u"}) == {"Authorization": "Bearer t", "x-user-id": "u"}
