"""Requests to the token and revocation endpoints, as the profile writes each. Pure.

They are those of RFC 6749 sections 4.1.3, 4.4 and 6, RFC 7009 and RFC 7523, and log-ins, which no standard describes.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple, TypeVar
from urllib.parse import quote_plus, urlencode

from ..errors import InvalidClient, InvalidVariable
from ..http_messages import HttpRequest
from ..profiles.model import Profile
from ..profiles.request_specs import JwtBearer, Login, TokenRequest
from ..profiles.templates import fill_headers, fill_params, fill_template, fill_url
from ..secret import Secret
from .client import Client
from .client_assertion import CLIENT_ASSERTION_TYPE, sign_assertion
from .token_set import TokenSet

Sent = TypeVar("Sent")
Answer = TypeVar("Answer")
Phase = Literal["exchange", "refresh", "client_credentials", "login", "jwt_bearer", "revoke"]

#: A request's parameters before those of the profile; a parameter without a value is left out.
_DEFAULT_PARAMS: dict[Phase, dict[str, str]] = {
    "exchange": {
        "grant_type": "authorization_code",
        "code": "{code}",
        "redirect_uri": "{redirect_uri}",
        "code_verifier": "{code_verifier}",
    },
    "refresh": {"grant_type": "refresh_token", "refresh_token": "{refresh_token}"},
    "client_credentials": {"grant_type": "client_credentials", "scope": "{scope}"},
    "login": {},  # its parameters are the credentials that the profile names
    "jwt_bearer": {
        "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "assertion": "{assertion}",
        "scope": "{scope}",
    },
    "revoke": {"token": "{token}", "token_type_hint": "{token_type_hint}"},
}
_CLIENT_ID_PARAM = {"client_id": "{client_id}"}
_CLIENT_SECRET_PARAM = {"client_secret": "{client_secret}"}
_CLIENT_ASSERTION_PARAMS = {
    "client_assertion_type": CLIENT_ASSERTION_TYPE,
    "client_assertion": "{client_assertion}",
}


class _ClientAuthentication(NamedTuple):
    """What authenticates the client in one request."""

    params: Mapping[str, str]
    headers: Mapping[str, str]
    values: Mapping[str, str | None]


def choose_phase(profile: Profile, grant: str, tokens: TokenSet | None) -> Phase:
    """Choose the request that obtains the next token set of a connection with this grant and these tokens."""
    if grant == "client_credentials":
        return "client_credentials"
    if grant == "jwt_bearer":
        return "jwt_bearer"
    has_refresh_token = tokens is not None and tokens.refresh_token is not None
    if grant == "login" and not (profile.refresh and has_refresh_token):
        return "login"
    return "refresh"


def find_endpoint(profile: Profile, phase: Phase, variables: Mapping[str, str], *, loopback: bool = False) -> str:
    """Return the URL that the requests of a phase go to, without a query."""
    spec: TokenRequest | None = getattr(profile, phase)
    return fill_url(spec.url, variables, loopback=loopback).partition("?")[0] if spec else ""


def build_token_request(
    profile: Profile,
    phase: Phase,
    variables: Mapping[str, str],
    client: Client,
    client_secret: Secret | None,
    values: Mapping[str, str | None],
    *,
    now: int,
    loopback: bool = False,
) -> HttpRequest:
    """Build the request of one phase, ready to send.

    Parameters
    ----------
    client_secret
        The one of the client's secrets to send.
    values
        The values that the phase's templates may name besides client and variables: code, redirect_uri, code_verifier,
        refresh_token, scope, token, token_type_hint. A parameter whose value is None is left out.
    now
        Epoch seconds, for the ``iat`` and ``exp`` of a signed assertion.
    loopback
        Set by the local run alone: requests to a host on loopback use plain HTTP.

    Raises
    ------
    InvalidClient
        The client's entry lacks what this phase needs.
    InvalidVariable
        A value cannot stand where the profile puts it.
    """
    spec: TokenRequest | None = getattr(profile, phase)
    if spec is None:
        raise InvalidVariable(f"The profile {profile.name} has no [{phase}].")
    url = fill_url(spec.url, variables, loopback=loopback)
    secret = client_secret.reveal() if client_secret else None
    known = {**variables, **values, "client_id": client.client_id, "client_secret": secret}
    templates = dict(_DEFAULT_PARAMS[phase])
    if isinstance(spec, Login):
        known |= _choose_credentials(spec, client)
        templates |= {name: f"{{{name}}}" for names in spec.credentials for name in names}
    if isinstance(spec, JwtBearer):
        known["assertion"] = _sign_grant(spec, client, {**known, "url": url}, now)
    authentication = _authenticate_client(spec, client, secret, url, now)
    known |= authentication.values
    params = fill_params({**templates, **authentication.params, **spec.params}, known)
    headers = {"accept": "application/json", **authentication.headers}
    body = b""
    if spec.format == "query" or spec.method == "GET":
        url = f"{url}?{urlencode(params)}"
    elif spec.format == "json":
        headers["content-type"] = "application/json"
        body = json.dumps(params).encode()
    else:
        headers["content-type"] = "application/x-www-form-urlencoded"
        body = urlencode(params).encode()
    headers |= {name.lower(): value for name, value in fill_headers(spec.headers, known).items()}
    return HttpRequest(spec.method, url, headers, body)


def build_token_requests(
    profile: Profile,
    phase: Phase,
    variables: Mapping[str, str],
    client: Client,
    values: Mapping[str, str | None],
    *,
    now: int,
    loopback: bool = False,
) -> tuple[HttpRequest, ...]:
    """Build the request of one phase with each of the client's secrets, the newest first.

    A client without a secret gets one request. For the parameters see :func:`build_token_request`.
    """
    return tuple(
        build_token_request(profile, phase, variables, client, secret, values, now=now, loopback=loopback)
        for secret in client.secrets or (None,)
    )


def try_each_secret(
    requests: Sequence[Sent], send: Callable[[Sent], Answer], is_client_refused: Callable[[Answer], bool]
) -> Answer:
    """Send the requests, one for each secret, until the provider accepts the client. Returns the last answer."""
    *newer, oldest = requests
    for request in newer:
        answer = send(request)
        if not is_client_refused(answer):
            return answer
    return send(oldest)


def _authenticate_client(
    spec: TokenRequest, client: Client, secret: str | None, url: str, now: int
) -> _ClientAuthentication:
    """Authenticate the client as the profile's ``client_auth`` says (RFC 6749 section 2.3)."""
    if spec.client_auth == "post":
        return _ClientAuthentication({**_CLIENT_ID_PARAM, **_CLIENT_SECRET_PARAM}, {}, {})
    if spec.client_auth == "private_key_jwt":
        values = {"client_assertion": _sign_client_assertion(client, url, now)}
        return _ClientAuthentication({**_CLIENT_ID_PARAM, **_CLIENT_ASSERTION_PARAMS}, {}, values)
    if spec.client_auth == "none":
        is_anonymous = isinstance(spec, Login | JwtBearer)
        return _ClientAuthentication({} if is_anonymous else _CLIENT_ID_PARAM, {}, {})
    header = _build_basic_header(client.client_id or "", secret or "", raw=spec.client_auth == "basic_raw")
    return _ClientAuthentication({}, {"authorization": header}, {})


def _choose_credentials(login: Login, client: Client) -> dict[str, str | None]:
    """Choose the first set of credentials that the client's entry holds in full; those of other sets become None."""
    for names in login.credentials:
        if client.credentials.keys() >= set(names):
            every = {name: None for others in login.credentials for name in others}
            return {**every, **{name: client.credentials[name].reveal() for name in names}}
    sets = ", or ".join(" and ".join(names) for names in login.credentials)
    raise InvalidClient(f"The entry of client {client.name} lacks credentials of the log-in.", f"It needs {sets}.")


def _sign_grant(spec: JwtBearer, client: Client, known: Mapping[str, str | None], now: int) -> str:
    """Sign the assertion that is the grant (RFC 7523 section 2.1). It never holds the client's secret."""
    claims = {name: fill_template(template, {**known, "client_secret": None}) for name, template in spec.claims.items()}
    return sign_assertion(
        claims,
        _require_private_key(client),
        client=client.name,
        now=now,
        lifetime=spec.lifetime,
        key_id=client.key_id,
        algorithm=spec.algorithm,
    )


def _sign_client_assertion(client: Client, url: str, now: int) -> str:
    """Sign the assertion that authenticates the client (RFC 7523 sections 2.2 and 3)."""
    claims = {"iss": client.client_id, "sub": client.client_id, "aud": url}
    return sign_assertion(claims, _require_private_key(client), client=client.name, now=now, key_id=client.key_id)


def _require_private_key(client: Client) -> Secret:
    if client.private_key is None:
        raise InvalidClient(f"The entry of client {client.name} holds no private_key.", "This provider needs one.")
    return client.private_key


def _build_basic_header(client_id: str, secret: str, *, raw: bool) -> str:
    """HTTP Basic: RFC 6749 section 2.3.1 wants both parts form-encoded first; many servers want them raw."""
    pair = f"{client_id}:{secret}" if raw else f"{quote_plus(client_id)}:{quote_plus(secret)}"
    return f"Basic {b64encode(pair.encode()).decode()}"
