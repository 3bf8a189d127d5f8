"""Put an answer through the real HTTP client, and through the real parser with the case's profile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from evergrant.adapters.http import GuardedHttp
from evergrant.errors import LostResponse, NotSent, UnreadableResponse
from evergrant.http_messages import HttpRequest, HttpResponse
from evergrant.oauth.client import Client
from evergrant.oauth.error_response import Refusal
from evergrant.oauth.token_request import build_token_request
from evergrant.oauth.token_response import parse_token_response
from evergrant.oauth.token_set import TokenSet
from evergrant.oauth.unreadable_response import KeptResponse
from evergrant.secret import Secret
from tests.field.case_format import AnswerCase, Expected, ExpectedTokens, Previous
from tests.field.placeholders import NOW, fill
from tests.field.server import FieldServer
from tests.unit.samples import ISSUANCE

#: Enough for loopback; only a server that stays silent makes a request take as long.
TIMEOUT_SECONDS, SHORT_SECONDS = 10.0, 0.2
CLIENT = Client("acme", "client-1", (Secret("canary-client-secret"),), ())
_VALUES = {"redirect_uri": "https://grants.example.com/callback", "scope": "read"}


@dataclass(frozen=True)
class LoopbackProvider:
    """:class:`evergrant.ports.Provider` that sends each request to the server of the corpus, by the real client."""

    http: GuardedHttp
    host: str
    timeout: float = TIMEOUT_SECONDS

    def send(self, request: HttpRequest, *, hosts: tuple[str, ...], timeout: float) -> HttpResponse:
        """Send the request with its path and query, not to the host that it names."""
        url = urlsplit(request.url)._replace(scheme="http", netloc=self.host).geturl()
        return self.http.send(replace(request, url=url), hosts=(self.host,), timeout=self.timeout)


#: What comes of one request.
Fetched = HttpResponse | LostResponse | NotSent


def fetch(case: AnswerCase, server: FieldServer, http: GuardedHttp) -> Fetched:
    """Send the case's request by the real client to the server, which answers with the case's bytes."""
    profile = case.load_profile()
    values: Mapping[str, str | None] = {**_VALUES, "refresh_token": "refresh-1", "code": "code-1"}
    request = build_token_request(
        profile, case.phase, case.bind_variables(profile), CLIENT, CLIENT.secrets[0], values, now=NOW
    )
    server.play(case.answer)
    provider = LoopbackProvider(http, server.host, SHORT_SECONDS if case.answer.ends == "silence" else TIMEOUT_SECONDS)
    try:
        return provider.send(request, hosts=(), timeout=0)
    except (LostResponse, NotSent) as error:
        return error


def read(case: AnswerCase, fetched: Fetched) -> dict[str, Any]:
    """Read what came by the case's profile, and describe it in the terms of ``[expect]``.

    A token set is read twice: from the response as it came, and from what would be kept of it.
    """
    if isinstance(fetched, LostResponse | NotSent):
        return {"class": "lost" if isinstance(fetched, LostResponse) else fetched.code, "reason": fetched.reason}
    profile = case.load_profile()
    variables = case.bind_variables(profile)
    previous = build_previous(case.previous) if case.phase == "refresh" else None
    try:
        parsed = parse_token_response(profile, fetched, NOW, previous, variables)
    except UnreadableResponse:
        return {"class": "kept"}
    if isinstance(parsed, Refusal):
        return describe_refusal(parsed)
    kept = KeptResponse.decode(KeptResponse(NOW, fetched).encode(ISSUANCE))
    assert parse_token_response(profile, kept.response, kept.sent_at, previous, variables) == parsed
    return {"class": "token_set", "tokens": describe_tokens(parsed)}


def describe_refusal(refusal: Refusal) -> dict[str, Any]:
    """Describe a refusal in the terms of ``[expect]``."""
    return {
        "class": refusal.answer_class,
        "kind": refusal.kind,
        "code": refusal.code,
        "retry_after": refusal.retry_after,
        "content_type": refusal.content_type,
    }


def describe_tokens(tokens: TokenSet) -> dict[str, Any]:
    """Describe a token set in the terms of ``[expect.tokens]``."""
    ends_at = tokens.refresh_expires_at
    return {
        "access_token": tokens.access_token.reveal(),
        "refresh_token": tokens.refresh_token.reveal() if tokens.refresh_token else None,
        "token_type": tokens.token_type,
        "lifetime": tokens.expires_at - NOW,
        "refresh_lifetime": ends_at - NOW if ends_at is not None else None,
        "scope": tokens.scope,
        "captured": dict(tokens.captured),
    }


def build_previous(previous: Previous) -> TokenSet:
    """Build the token set that is refreshed. It was issued one lifetime ago."""
    left = previous.refresh_lifetime
    return TokenSet(
        access_token=Secret("access-1"),
        issued_at=NOW - previous.lifetime,
        expires_at=NOW,
        expiry_rule="expires_in:seconds",
        refresh_token=Secret("refresh-1"),
        refresh_expires_at=NOW + left if left is not None else None,
        scope=previous.scope,
        captured=previous.captured,
    )


def find_differences(expected: Expected | ExpectedTokens, got: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return each key whose value is not as expected, with both values."""
    wanted = list_expectations(expected)
    found: dict[str, tuple[Any, Any]] = {}
    for name, value in wanted.items():
        if isinstance(value, ExpectedTokens):
            inner = find_differences(value, got.get(name) or {})
            found |= {f"{name}.{key}": pair for key, pair in inner.items()}
        elif (wanted_value := fill(value) if isinstance(value, str) else value) != got.get(name):
            found[name] = (wanted_value, got.get(name))
    return found


def list_expectations(expected: Any) -> dict[str, Any]:
    """List what is expected under the keys of the file, without what the case leaves open."""
    names = zip(expected.__struct_fields__, expected.__struct_encode_fields__, strict=True)
    values = {key: getattr(expected, name) for name, key in names}
    return {key: value for key, value in values.items() if type(value).__name__ != "UnsetType"}
