"""What the tests of the pure core start from: the two shipped profiles, a moment, a connection, a token set."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast
from urllib.parse import parse_qsl

from evergrant.http_messages import HttpRequest, HttpResponse
from evergrant.oauth.issuance import Issuance
from evergrant.oauth.token_set import TokenSet
from evergrant.profiles import built_in
from evergrant.profiles.loader import load_profile
from evergrant.profiles.model import Profile
from evergrant.record.circuit import Circuit, Surroundings, create_client_key, create_endpoint_key
from evergrant.record.connection import Connection, RecordChange
from evergrant.record.sealed import Sealed
from evergrant.record.status import Status
from evergrant.secret import Secret

#: 2026-11-22T10:00:00Z
NOW = 1_795_341_600
KEAP = built_in.load_built_in()["keap"]
WEALTHYHOOD = built_in.load_built_in()["wealthyhood"]
SEALED = Sealed(b"key", b"nonce", b"text")
ISSUANCE = Issuance("keap", None, "0" * 64)

_CODE_GRANT = """
name = "acme"
title = "Acme"
[authorize]
url = "https://login.example.com/authorize"
[exchange]
url = "https://api.example.com/token"
[refresh]
url = "https://api.example.com/token"
"""


def acme(more: str = "") -> Profile:
    """A plain authorization code profile, with more TOML tables behind it."""
    return load_profile(_CODE_GRANT + more)


def respond(status: int, body: Mapping[str, Any] | bytes, **headers: str) -> HttpResponse:
    """A provider's answer; a mapping is sent as JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpResponse(status, {"content-type": "application/json", **named}, raw)


def form_of(request: HttpRequest) -> dict[str, str]:
    """The body's form fields, each of which may come once."""
    pairs = parse_qsl(request.body.decode(), keep_blank_values=True, strict_parsing=True)
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def tokens(lifetime: int = 86_400, **fields: Any) -> TokenSet:
    """A token set issued now."""
    return TokenSet(
        **{
            "access_token": Secret("access-1"),
            "refresh_token": Secret("refresh-1"),
            "issued_at": NOW,
            "expires_at": NOW + lifetime,
            "expiry_rule": "expires_in:seconds",
            **fields,
        }
    )


def connection(**fields: Any) -> Connection:
    """An active connection with a token set issued now."""
    return Connection(
        **{
            "name": "keap/main",
            "status": Status.ACTIVE,
            "grant": "authorization_code",
            "client": "keap",
            "profile_hash": "0" * 64,
            "generation": 3,
            "published_generation": 3,
            "sealed": SEALED,
            "issued_at": NOW,
            "expires_at": NOW + 86_400,
            **fields,
        }
    )


def apply(current: Connection, change: RecordChange) -> Connection:
    """Apply a change as the table does."""
    outbox = {event_id: body for event_id, body in {**current.outbox, **change.events}.items() if body is not None}
    return replace(current, **cast(dict[str, Any], change.fields), outbox=outbox)


def event_types(change: RecordChange) -> list[str]:
    """The types of the events that a change adds."""
    return [str(body["type"]) for body in change.events.values() if body]


def fields_of(change: RecordChange) -> dict[str, Any]:
    """The fields that a change sets, the status among them."""
    return cast(dict[str, Any], change.fields)


ENDPOINT_URL = "https://api.example.com/token"


def surround(
    client: Mapping[str, Any] | None = None, endpoint: Mapping[str, Any] | None = None, version: str | None = None
) -> Surroundings:
    """The circuits of a connection, by their fields."""
    return Surroundings(
        Circuit(create_client_key("keap"), **(client or {})),
        Circuit(create_endpoint_key(ENDPOINT_URL), **(endpoint or {})),
        version,
    )
