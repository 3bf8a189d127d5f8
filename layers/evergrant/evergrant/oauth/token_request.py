"""A profile spoken: what to send a provider. Pure. What its answer means is :mod:`evergrant.oauth.token_response`,
told here too.

Requests are those of RFC 6749 sections 4.1, 4.4 and 6, RFC 7009 and RFC 7523, and log-ins, as the profile bends them.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import quote, quote_plus, urlencode, urlsplit

from ..errors import InvalidClient, InvalidVariable
from ..http_messages import HttpRequest, HttpResponse
from ..names import is_host
from ..profiles.model import Profile
from ..profiles.request_specs import Authorize, JwtBearer, Login, TokenRequest
from ..profiles.templates import fill_template
from ..secret import Secret
from . import client_assertion
from .token_response import AuthorizationResponse, Refusal, parse_authorization_response, parse_token_response
from .token_set import TokenSet

__all__ = [
    "AuthorizationResponse",
    "Client",
    "HttpRequest",
    "HttpResponse",
    "Phase",
    "Refusal",
    "build_authorization_url",
    "build_consumer_headers",
    "build_token_request",
    "build_userinfo_request",
    "choose_phase",
    "parse_authorization_response",
    "parse_token_response",
]

Phase = Literal["exchange", "refresh", "client_credentials", "login", "jwt_bearer", "revoke"]

#: What a request carries before the profile has its say; a parameter without a value is left out.
_DEFAULT_PARAMS: dict[Phase, dict[str, str]] = {
    "exchange": {
        "grant_type": "authorization_code",
        "code": "{code}",
        "redirect_uri": "{redirect_uri}",
        "code_verifier": "{code_verifier}",
    },
    "refresh": {"grant_type": "refresh_token", "refresh_token": "{refresh_token}"},
    "client_credentials": {"grant_type": "client_credentials", "scope": "{scope}"},
    "login": {},  # no grant of the standard: its credentials, see below
    "jwt_bearer": {
        "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "assertion": "{assertion}",
        "scope": "{scope}",
    },
    "revoke": {"token": "{token}", "token_type_hint": "{token_type_hint}"},
}
_AUTHORIZE_PARAMS = {
    "response_type": "code",
    "client_id": "{client_id}",
    "redirect_uri": "{redirect_uri}",
    "scope": "{scope}",
    "state": "{state}",
}
_NONCE_PARAMS = {"nonce": "{nonce}"}
_PKCE_PARAMS = {"code_challenge": "{code_challenge}", "code_challenge_method": "S256"}
_CLIENT_PARAMS = {"client_id": "{client_id}", "client_secret": "{client_secret}"}
_PROOF_PARAMS = {
    "client_assertion_type": client_assertion.CLIENT_ASSERTION_TYPE,
    "client_assertion": "{client_assertion}",
}


@dataclass(frozen=True, slots=True)
class Client:
    """A registered client's entry: the newest secret first, and the hosts (``host`` or ``host:port``) it may go to.

    ``credentials`` are a log-in's values by name; ``private_key`` is PEM, and ``key_id`` its name at the provider.
    ``version`` tells one entry from the next, and nothing of either.
    """

    name: str
    client_id: str | None
    secrets: tuple[Secret, ...]
    hosts: tuple[str, ...]
    # Not even their fingerprints: a password may be short enough to be found by its hash.
    credentials: Mapping[str, Secret] = field(default_factory=dict, repr=False)
    private_key: Secret | None = field(default=None, repr=False)
    key_id: str | None = None
    version: str | None = field(default=None, compare=False)


def build_authorization_url(
    profile: Profile, variables: Mapping[str, str], values: Mapping[str, str | None], *, loopback: bool = False
) -> str:
    """The URL that a browser is sent to (RFC 6749 section 4.1.1; PKCE: RFC 7636 section 4.3).

    ``values`` holds client_id, redirect_uri, scope, state and, with PKCE, code_challenge; nonce, where an ID token is
    to say whose account it is (OpenID Connect Core 1.0 section 3.1.2.1).
    """
    authorize = profile.authorize or Authorize(url="")
    nonce = _NONCE_PARAMS if profile.subject and profile.subject.source == "id_token" else {}
    templates = {**_AUTHORIZE_PARAMS, **(_PKCE_PARAMS if authorize.pkce else {}), **nonce, **authorize.params}
    params = _filled(templates, {**variables, **values})
    return f"{_url(authorize.url, variables, loopback)}?{urlencode(params, quote_via=quote)}"


def choose_phase(profile: Profile, grant: str, tokens: TokenSet | None) -> Phase:
    """Which request obtains the next token set of a connection that has this grant and these tokens."""
    if grant == "client_credentials":
        return "client_credentials"
    if grant == "jwt_bearer":
        return "jwt_bearer"
    if grant == "login" and not (profile.refresh and tokens and tokens.refresh_token):
        return "login"
    return "refresh"


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
    """The request of one phase, ready to send.

    Parameters
    ----------
    client_secret
        The one of the client's secrets to send.
    values
        What the phase's templates may name besides client and variables: code, redirect_uri, code_verifier,
        refresh_token, scope, token, token_type_hint. A parameter whose value is None is left out.
    now
        Epoch seconds, which a signed assertion names.
    loopback
        The local run's switch: hosts on loopback are spoken to in plain HTTP.

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
    url = _url(spec.url, variables, loopback)
    secret = client_secret.reveal() if client_secret else None
    known = {**variables, **values, "client_id": client.client_id, "client_secret": secret}
    templates = dict(_DEFAULT_PARAMS[phase])
    headers = {"accept": "application/json"}
    if isinstance(spec, Login):
        known |= _credentials(spec, client)
        templates |= {name: f"{{{name}}}" for names in spec.credentials for name in names}
    if isinstance(spec, JwtBearer):
        known["assertion"] = _assertion(spec, client, {**known, "url": url}, now)
    if spec.client_auth == "post":
        templates |= _CLIENT_PARAMS
    elif spec.client_auth == "private_key_jwt":
        templates |= {"client_id": "{client_id}", **_PROOF_PARAMS}
        known |= {"client_assertion": _proof(client, url, now)}
    elif spec.client_auth == "none":
        if not isinstance(spec, Login | JwtBearer):
            templates["client_id"] = "{client_id}"
    else:
        headers["authorization"] = _basic(client.client_id or "", secret or "", raw=spec.client_auth == "basic_raw")
    params = _filled({**templates, **spec.params}, known)
    body = b""
    if spec.format == "query" or spec.method == "GET":
        url = f"{url}?{urlencode(params)}"
    elif spec.format == "json":
        headers["content-type"] = "application/json"
        body = json.dumps(params).encode()
    else:
        headers["content-type"] = "application/x-www-form-urlencoded"
        body = urlencode(params).encode()
    headers |= {name.lower(): value for name, value in _filled_headers(spec.headers, known).items()}
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
    """:func:`build_token_request` once for each of the client's secrets, the newest first; once for a client without
    any."""
    return tuple(
        build_token_request(profile, phase, variables, client, secret, values, now=now, loopback=loopback)
        for secret in client.secrets or (None,)
    )


def build_consumer_headers(
    profile: Profile, variables: Mapping[str, str], tokens: TokenSet, grant: str | None = None
) -> dict[str, str]:
    """The headers with which a consumer calls the provider's API, ready to send: a pasted key may need its own."""
    known = {**variables, "access_token": tokens.access_token.reveal(), "token_type": tokens.token_type}
    own = profile.static.headers if profile.static and grant == "static" else {}
    return _filled_headers(own or profile.consumer.headers, known)


def build_userinfo_request(
    profile: Profile, variables: Mapping[str, str], tokens: TokenSet, *, loopback: bool = False
) -> HttpRequest:
    """The question whose account a token set is of, asked as a consumer would ask (see the profile's ``subject``)."""
    url = _url(profile.subject.url or "", variables, loopback) if profile.subject else ""
    given = build_consumer_headers(profile, variables, tokens)
    headers = {"accept": "application/json", **{name.lower(): value for name, value in given.items()}}
    return HttpRequest("GET", url, headers, b"")


def _credentials(login: Login, client: Client) -> dict[str, str | None]:
    """The first set of credentials that the client's entry holds in full, and nothing of the others."""
    for names in login.credentials:
        if client.credentials.keys() >= set(names):
            every = {name: None for others in login.credentials for name in others}
            return {**every, **{name: client.credentials[name].reveal() for name in names}}
    sets = ", or ".join(" and ".join(names) for names in login.credentials)
    raise InvalidClient(f"The credentials of client {client.name} are not enough to log in.", f"It needs {sets}.")


def _assertion(spec: JwtBearer, client: Client, known: Mapping[str, str | None], now: int) -> str:
    """The grant itself, signed (RFC 7523 section 2.1). It never holds the client's secret."""
    claims = {name: fill_template(template, {**known, "client_secret": None}) for name, template in spec.claims.items()}
    return client_assertion.sign_assertion(
        claims,
        _private_key(client),
        client=client.name,
        now=now,
        lifetime=spec.lifetime,
        key_id=client.key_id,
        algorithm=spec.algorithm,
    )


def _proof(client: Client, url: str, now: int) -> str:
    """The client's own assertion (RFC 7523 section 2.2 and 3)."""
    claims = {"iss": client.client_id, "sub": client.client_id, "aud": url}
    return client_assertion.sign_assertion(
        claims, _private_key(client), client=client.name, now=now, key_id=client.key_id
    )


def _private_key(client: Client) -> Secret:
    if client.private_key is None:
        raise InvalidClient(f"The entry of client {client.name} holds no private_key.", "This provider needs one.")
    return client.private_key


def _filled(templates: Mapping[str, str], known: Mapping[str, str | None]) -> dict[str, str]:
    filled = {}
    for name, template in templates.items():
        value = fill_template(template, known)
        if value:
            if "\r" in value or "\n" in value:
                raise InvalidVariable(f"The value for {name} holds a line break.")
            filled[name] = value
    return filled


def _filled_headers(templates: Mapping[str, str], known: Mapping[str, str | None]) -> dict[str, str]:
    """Header values are visible ASCII (RFC 9110 section 5.5)."""
    filled = _filled(templates, known)
    for name, value in filled.items():
        if not value.isascii():
            raise InvalidVariable(f"The value for the header {name} holds a character that no header may hold.")
    return filled


def _url(template: str, variables: Mapping[str, str], loopback: bool) -> str:
    scheme, _, rest = template.partition("://")
    authority, slash, path = rest.partition("/")
    host = fill_template(authority, variables) or ""
    if not is_host(host):
        raise InvalidVariable("A variable makes the URL's host unusable.", "It must be a host name, or host:port.")
    path = fill_template(path, variables, lambda value: quote(value, safe="")) or ""
    if loopback and urlsplit(f"//{host}").hostname in ("localhost", "127.0.0.1"):
        scheme = "http"
    return f"{scheme}://{host}{slash}{path}"


def _basic(client_id: str, secret: str, *, raw: bool) -> str:
    """HTTP Basic: RFC 6749 section 2.3.1 wants both parts form-encoded first; many servers want them raw."""
    pair = f"{client_id}:{secret}" if raw else f"{quote_plus(client_id)}:{quote_plus(secret)}"
    return f"Basic {b64encode(pair.encode()).decode()}"
