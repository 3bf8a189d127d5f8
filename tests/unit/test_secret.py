"""Protects secrets from being seen: no type that holds one shows its value in a log, an exception or a copy."""

from __future__ import annotations

import copy
import io
import json
import logging
import pickle
import traceback
from collections.abc import Callable
from dataclasses import asdict, fields, is_dataclass
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergrant.adapters.aws.seal import KmsDataKey
from evergrant.connect.authorization_flow import AuthorizationStart
from evergrant.errors import UnreadableResponse
from evergrant.http_messages import HttpRequest, HttpResponse
from evergrant.oauth import token_request
from evergrant.oauth.authorization_response import AuthorizationResponse
from evergrant.oauth.client import Client
from evergrant.oauth.token_response import parse_token_response
from evergrant.oauth.unreadable_response import KeptResponse
from evergrant.record.sealed import Sealed
from evergrant.rotation import refresh_attempt, refresh_demand
from evergrant.secret import Secret, fingerprint
from tests.unit.samples import KEAP, connection, respond, tokens

CANARY = "canary-1f0b7c5d"


def test_a_fingerprint_is_the_beginning_of_the_sha256() -> None:
    assert fingerprint("hunter2") == sha256(b"hunter2").hexdigest()[:16]
    assert Secret("hunter2").fingerprint == "f52fbd32b2b3b86f"


def test_only_reveal_gives_the_value_out() -> None:
    secret = Secret(CANARY)
    assert secret.reveal() == CANARY
    for shown in (repr(secret), str(secret), f"{secret}", f"{secret!r:>40}", f"{secret} {secret!r}", [secret]):
        assert CANARY not in str(shown)
    assert f"{secret}" == f"Secret({fingerprint(CANARY)})"


def test_equal_values_are_equal_secrets_and_no_secret_equals_its_value() -> None:
    """Equal values are equal secrets, and a secret is not equal to its value."""
    assert Secret("a") == Secret("a")
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2
    assert Secret("a") != Secret("b")
    assert Secret(CANARY) != CANARY


@pytest.mark.parametrize("take", [pickle.dumps, copy.copy, copy.deepcopy, json.dumps, vars, lambda s: s.__getstate__()])
def test_a_secret_is_not_copied_out(take: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError) as refused:
        take(Secret(CANARY))
    assert CANARY not in str(refused.value)


@given(st.text(min_size=12))
def test_no_way_of_printing_shows_the_value(value: str) -> None:
    secret = Secret(value)
    assert repr(secret) == str(secret) == format(secret) == f"Secret({fingerprint(value)})"


def an_attempt() -> refresh_attempt.RefreshAttempt:
    return refresh_attempt.RefreshAttempt(
        connection(),
        KEAP,
        refresh_attempt.TokenRequests((a_request(),), lambda: ()),
        ("api.example.com",),
        secret_tokens(),
        0.0,
    )


def secret_tokens() -> Any:
    return tokens(access_token=Secret(CANARY), refresh_token=Secret(CANARY), captured={"id_token": CANARY})


def a_request() -> HttpRequest:
    values = {"refresh_token": CANARY}
    client = Client("keap", CANARY, (), ("api.example.com",))
    return token_request.build_token_request(KEAP, "refresh", KEAP.bind({}), client, Secret(CANARY), values, now=0)


HOLDERS: dict[str, Callable[[], Any]] = {
    "Secret": lambda: Secret(CANARY),
    "TokenSet": secret_tokens,
    "Client": lambda: Client("keap", "client-1", (Secret(CANARY),), ("api.example.com",)),
    "Client that logs in": lambda: Client("x", None, (), (), {"password": Secret(CANARY)}, Secret(CANARY), "key-1"),
    "CallbackAnswer": lambda: AuthorizationResponse(CANARY, None, None, {"realm": CANARY}),
    "HttpRequest": a_request,
    "HttpRequest with all in its URL": lambda: HttpRequest("GET", f"https://x/?secret={CANARY}", {}, b""),
    "HttpResponse": lambda: HttpResponse(200, {"x-token": CANARY}, CANARY.encode()),
    "Sealed": lambda: Sealed(CANARY.encode(), CANARY.encode(), CANARY.encode()),
    "KmsDataKey": lambda: KmsDataKey(CANARY.encode(), CANARY.encode(), b"context"),
    "Connection": lambda: connection(sealed=Sealed(b"", b"", CANARY.encode())),
    "Result": lambda: refresh_demand.Result("fresh", connection(), secret_tokens()),
    "Unreadable": lambda: refresh_attempt.KeptUnreadable(
        KeptResponse(0, HttpResponse(200, {"x": CANARY}, CANARY.encode()))
    ),
    "RefreshAttempt": an_attempt,
    "AuthorizationStart": lambda: AuthorizationStart(f"https://login.example.com/?state={CANARY}", CANARY, "Keap"),
}


@pytest.mark.parametrize("make", HOLDERS.values(), ids=HOLDERS.keys())
def test_no_holder_of_a_secret_shows_it(make: Callable[[], Any]) -> None:
    holder = make()
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    raised = "".join(traceback.format_exception(ValueError(holder)))
    handler.emit(logging.LogRecord("leaks", logging.ERROR, "", 0, "%s %r", (holder, holder), None))
    shown = [repr(holder), str(holder), f"{holder}", repr({"in": [holder]}), raised, stream.getvalue()]
    assert stream.getvalue()
    assert not [text for text in shown if CANARY in text]
    assert CANARY in "".join(inside(holder)), "the holder held nothing, so this test proved nothing"


def inside(holder: Any) -> list[str]:
    """Every text and byte string that is really inside."""
    if isinstance(holder, Secret):
        return [holder.reveal()]
    if isinstance(holder, bytes):
        return [holder.decode("latin-1")]
    if isinstance(holder, tuple | list):
        return [text for part in holder for text in inside(part)]
    if isinstance(holder, dict):
        return [text for part in holder.values() for text in inside(part)]
    if is_dataclass(holder):
        return [text for field in fields(holder) for text in inside(getattr(holder, field.name))]
    return inside(vars(holder)) if isinstance(holder, Exception) else [str(holder)]


@pytest.mark.parametrize("make", [HOLDERS["TokenSet"], HOLDERS["Client"]], ids=["TokenSet", "Client"])
def test_a_dataclass_with_secrets_is_not_turned_into_a_dict(make: Callable[[], Any]) -> None:
    with pytest.raises(TypeError) as refused:
        asdict(make())
    assert CANARY not in str(refused.value)


@pytest.mark.parametrize(
    "body",
    [
        {"refresh_token": CANARY},
        {"access_token": {"value": CANARY}, "refresh_token": CANARY},
        f'{{"access_token": "{CANARY}'.encode(),
        f"access_token={CANARY}&token_type=mac".encode(),
    ],
)
def test_an_unreadable_response_is_shown_without_any_of_its_content(body: Any) -> None:
    with pytest.raises(UnreadableResponse) as unread:
        parse_token_response(KEAP, respond(200, body), 1)
    assert CANARY not in "".join(traceback.format_exception(unread.value))
    assert CANARY not in json.dumps(unread.value.as_dict())
