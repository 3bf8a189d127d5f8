"""A profile spoken: what to send a provider, and what its answer means. Pure.

Requests are those of RFC 6749 sections 4.1, 4.4 and 6 as the profile bends them; answers become a token set, a
:class:`Refusal`, or :class:`~evergrant.errors.UnreadAnswer`. Of a provider's texts only allow-listed codes survive.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, Literal
from urllib.parse import parse_qsl, quote, quote_plus, urlencode, urlsplit

from .errors import InvalidVariable, UnreadAnswer
from .names import is_host
from .placeholders import fill
from .profile import Authorize, ErrorRule, FailureKind, Profile, TokenRequest
from .secret import Secret
from .tokens import TokenSet, expiry, look_up

Phase = Literal["exchange", "refresh", "client_credentials"]

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
}
_AUTHORIZE_PARAMS = {
    "response_type": "code",
    "client_id": "{client_id}",
    "redirect_uri": "{redirect_uri}",
    "scope": "{scope}",
    "state": "{state}",
}
_PKCE_PARAMS = {"code_challenge": "{code_challenge}", "code_challenge_method": "S256"}
_CLIENT_PARAMS = {"client_id": "{client_id}", "client_secret": "{client_secret}"}

#: RFC 6749 section 5.2, RFC 6749 section 4.1.2.1 and HTTP, for what the profile does not say itself.
_STANDARD_ERRORS = (
    ErrorRule(kind="grant_rejected", code="invalid_grant"),
    ErrorRule(kind="client_rejected", code="invalid_client"),
    ErrorRule(kind="client_rejected", code="unauthorized_client"),
    ErrorRule(kind="transient", code="temporarily_unavailable"),
    ErrorRule(kind="transient", code="server_error"),
    ErrorRule(kind="rate_limited", status=429),
    ErrorRule(kind="malformed", code="invalid_request"),
    ErrorRule(kind="malformed", code="invalid_scope"),
    ErrorRule(kind="malformed", code="unsupported_grant_type"),
    ErrorRule(kind="transient", status=408),
)
_STANDARD_CODES = {rule.code for rule in _STANDARD_ERRORS} | {"access_denied"}
_LONGEST_RETRY_AFTER = 86_400
#: Control characters, and halves of surrogate pairs, which JSON can name and UTF-8 cannot.
_UNSENDABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request to a provider. It does not print itself: URL, headers and body may hold secrets."""

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """One whole answer. ``headers`` have lower-case names."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is no token set.

    ``code`` is the provider's error code if it is an allow-listed one; ``retry_after`` is in seconds; ``in_doubt``
    says that the provider may have acted on the request all the same.
    """

    kind: FailureKind
    status: int
    code: str | None = None
    retry_after: int | None = None
    in_doubt: bool = False


@dataclass(frozen=True, slots=True)
class Client:
    """A registered client's entry: the newest secret first, and the hosts (``host`` or ``host:port``) it may go to."""

    name: str
    client_id: str
    secrets: tuple[Secret, ...]
    hosts: tuple[str, ...]


def authorization_url(
    profile: Profile, variables: Mapping[str, str], values: Mapping[str, str | None], *, loopback: bool = False
) -> str:
    """The URL that a browser is sent to (RFC 6749 section 4.1.1; PKCE: RFC 7636 section 4.3).

    ``values`` holds client_id, redirect_uri, scope, state and, with PKCE, code_challenge.
    """
    authorize = profile.authorize or Authorize(url="")
    templates = {**_AUTHORIZE_PARAMS, **(_PKCE_PARAMS if authorize.pkce else {}), **authorize.params}
    params = _filled(templates, {**variables, **values})
    return f"{_url(authorize.url, variables, loopback)}?{urlencode(params, quote_via=quote)}"


def token_request(
    profile: Profile,
    phase: Phase,
    variables: Mapping[str, str],
    client_id: str,
    client_secret: Secret | None,
    values: Mapping[str, str | None],
    *,
    loopback: bool = False,
) -> HttpRequest:
    """The request of one phase, ready to send.

    Parameters
    ----------
    values
        What the phase's templates may name besides client and variables: code, redirect_uri, code_verifier,
        refresh_token, scope. A parameter whose value is None is left out.
    loopback
        The local run's switch: hosts on loopback are spoken to in plain HTTP.
    """
    spec: TokenRequest = getattr(profile, phase)
    secret = client_secret.reveal() if client_secret else None
    known = {**variables, **values, "client_id": client_id, "client_secret": secret}
    templates = dict(_DEFAULT_PARAMS[phase])
    headers = {"accept": "application/json"}
    if spec.client_auth == "post":
        templates |= _CLIENT_PARAMS
    elif spec.client_auth == "none":
        templates["client_id"] = "{client_id}"
    else:
        headers["authorization"] = _basic(client_id, secret or "", raw=spec.client_auth == "basic_raw")
    params = _filled({**templates, **spec.params}, known)
    url = _url(spec.url, variables, loopback)
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


def read_answer(
    profile: Profile, response: HttpResponse, sent_at: int, previous: TokenSet | None = None
) -> TokenSet | Refusal:
    """What an answer of the token endpoint means.

    Parameters
    ----------
    sent_at
        Epoch seconds at which the request was sent.
    previous
        The token set that was refreshed: a refresh token or scope that the answer leaves out stays as it was
        (RFC 6749 sections 5.1 and 6).

    Raises
    ------
    UnreadAnswer
        A success that is no token set, or whose expiry no rule of the profile can tell.
    """
    answer = _decoded(response)
    refusal = _refusal(profile, response, answer)
    if refusal:
        return refusal
    spec = profile.response
    access_token = _text(answer, spec.access_token)
    if not access_token:
        raise UnreadAnswer("The provider's answer holds no access token where the profile says it would.")
    expires = expiry(spec.expires, answer, sent_at)
    if not expires:
        raise UnreadAnswer("The provider's answer does not say when its access token expires, nor does the profile.")
    refresh_token = _text(answer, spec.refresh_token)
    refresh_expires = expiry(spec.refresh_expires, answer, sent_at)
    refresh_expires_at = refresh_expires[0] if refresh_expires else None
    kept = previous.refresh_token if previous else None
    if previous and not refresh_token and refresh_expires_at is None:
        refresh_expires_at = previous.refresh_expires_at  # the same refresh token, of which nothing new was said
    return TokenSet(
        access_token=Secret(access_token),
        issued_at=sent_at,
        expires_at=expires[0],
        expiry_rule=expires[1],
        refresh_token=Secret(refresh_token) if refresh_token else kept,
        refresh_expires_at=refresh_expires_at,
        token_type=_text(answer, spec.token_type) or "Bearer",
        scope=_text(answer, spec.scope) or (previous.scope if previous else None),
        captured=_captured(spec.capture, answer, previous),
    )


def consumer_headers(profile: Profile, variables: Mapping[str, str], tokens: TokenSet) -> dict[str, str]:
    """The headers with which a consumer calls the provider's API, ready to send."""
    known = {**variables, "access_token": tokens.access_token.reveal(), "token_type": tokens.token_type}
    return _filled_headers(profile.consumer.headers, known)


def _filled(templates: Mapping[str, str], known: Mapping[str, str | None]) -> dict[str, str]:
    filled = {}
    for name, template in templates.items():
        value = fill(template, known)
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
    host = fill(authority, variables) or ""
    if not is_host(host):
        raise InvalidVariable("A variable makes the URL's host unusable.", "It must be a host name, or host:port.")
    path = fill(path, {name: quote(value, safe="") for name, value in variables.items()}) or ""
    if loopback and urlsplit(f"//{host}").hostname in ("localhost", "127.0.0.1"):
        scheme = "http"
    return f"{scheme}://{host}{slash}{path}"


def _basic(client_id: str, secret: str, *, raw: bool) -> str:
    """HTTP Basic: RFC 6749 section 2.3.1 wants both parts form-encoded first; many servers want them raw."""
    pair = f"{client_id}:{secret}" if raw else f"{quote_plus(client_id)}:{quote_plus(secret)}"
    return f"Basic {b64encode(pair.encode()).decode()}"


def _decoded(response: HttpResponse) -> Any:
    """The body as JSON, or as a form where the provider says it is one; {} when it is neither."""
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        text = response.body.decode("utf-8-sig")  # some servers put a byte order mark before their JSON
        return dict(parse_qsl(text)) if kind == "application/x-www-form-urlencoded" else json.loads(text)
    except (ValueError, RecursionError):
        return {}


def _refusal(profile: Profile, response: HttpResponse, answer: Any) -> Refusal | None:
    error, description = look_up(answer, "error"), look_up(answer, "error_description")
    if 200 <= response.status < 300 and not error:
        return None
    code = error if isinstance(error, str) else None  # some servers send an object, which is no code
    shown = code if code in _STANDARD_CODES | {rule.code for rule in profile.errors} else None
    for rule in (*profile.errors, *_STANDARD_ERRORS):
        if (
            rule.status in (None, response.status)
            and rule.code in (None, code)
            and rule.description in (None, description)
        ):
            # A 5xx is the provider's word only where the profile gives it a meaning of its own.
            doubt = rule not in profile.errors and response.status >= 500
            return Refusal(rule.kind, response.status, shown, _retry_after(response), doubt)
    kind: FailureKind = "transient" if response.status >= 500 else "rejected_unknown"
    return Refusal(kind, response.status, shown, _retry_after(response), response.status >= 500)


def _retry_after(response: HttpResponse) -> int | None:
    """Retry-After (RFC 9110 section 10.2.3) in seconds, bounded; a date counts from the answer's own Date."""
    value = response.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdecimal() and len(value) < 10:
        return min(int(value), _LONGEST_RETRY_AFTER)
    try:
        wait = parsedate_to_datetime(value) - parsedate_to_datetime(response.headers.get("date", ""))
        return min(max(int(wait.total_seconds()), 0), _LONGEST_RETRY_AFTER)
    except (TypeError, ValueError, OverflowError):
        return None


def _text(answer: Any, paths: tuple[str, ...]) -> str | None:
    for path in paths:
        value = look_up(answer, path)
        if isinstance(value, list) and all(isinstance(part, str) for part in value):
            value = " ".join(value)
        if isinstance(value, str) and value and not _UNSENDABLE.search(value):
            return value
    return None


def _captured(paths: Mapping[str, str], answer: Any, previous: TokenSet | None) -> dict[str, str]:
    captured = dict(previous.captured) if previous else {}
    for name, path in paths.items():
        value = look_up(answer, path)
        if isinstance(value, str | int) and not isinstance(value, bool):
            captured[name] = str(value)
    return captured
