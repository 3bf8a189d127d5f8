"""HTTP API events (payload format 2.0) taken apart, and answers put together."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from ..errors import BadRequest, CrossSite, LinkInvalid, WrongContentType

#: `__Host-`: only over https, only for this host, for all of its paths (RFC 6265bis section 4.1.3.2).
COOKIE = "__Host-evergrant"
_MAX_QUERY_CHARACTERS = 8192
#: What we hand out ourselves: 256 random bits as base64url. Nothing else is looked up, or sent back in a header.
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
#: What the page's own form sends. A request without a body need not say.
_FORM = "application/x-www-form-urlencoded"


def read_method(event: Mapping[str, Any]) -> str:
    """The request's method, whatever the route takes."""
    return str(event.get("requestContext", {}).get("http", {}).get("method", ""))


def read_path(event: Mapping[str, Any]) -> str:
    """The route's path, ``/connect/{ticket}``: without the method, which may be ANY."""
    return str(event.get("routeKey", "")).partition(" ")[2]


def read_ticket(event: Mapping[str, Any]) -> str:
    """The ticket in the path.

    Raises
    ------
    LinkInvalid
        It is none that we could have made.
    """
    ticket = str((event.get("pathParameters") or {}).get("ticket", ""))
    if not _SECRET.fullmatch(ticket):
        raise LinkInvalid("This link is not known here.")
    return ticket


def read_cookie(event: Mapping[str, Any]) -> str | None:
    """This browser's cookie, None when it sent none that we could have set."""
    for cookie in (*event.get("cookies", ()), *event.get("headers", {}).get("cookie", "").split(";")):
        name, _, value = cookie.strip().partition("=")
        if name == COOKIE and _SECRET.fullmatch(value):
            return str(value)
    return None


def build_cookie(value: str) -> str:
    """Lasts a day; Lax, since the provider's redirect back must carry it."""
    return f"{COOKIE}={value}; Path=/; Max-Age=86400; Secure; HttpOnly; SameSite=Lax"


def parse_query(event: Mapping[str, Any]) -> dict[str, str]:
    """The query's parameters, but for ``error_description``: nothing is done with it, and Microsoft breaks its lines.

    Raises
    ------
    BadRequest
        It is too long, or one comes twice (RFC 6749 section 3.1 forbids that), or one holds a control character.
    """
    raw = event.get("rawQueryString", "")
    try:
        pairs = parse_qsl(raw, keep_blank_values=True, errors="strict") if len(raw) <= _MAX_QUERY_CHARACTERS else None
    except ValueError:
        pairs = None
    params = dict(pairs or ())
    params.pop("error_description", None)
    broken = any(_CONTROL.search(text) for pair in params.items() for text in pair)
    if pairs is None or len({name for name, _ in pairs}) != len(pairs) or broken:
        raise BadRequest("The answer's parameters cannot be read.")
    return params


def require_same_origin(event: Mapping[str, Any]) -> None:
    """Refuse a POST that another site caused (Fetch Metadata; Origin for browsers without it).

    Raises
    ------
    CrossSite
    """
    headers: Mapping[str, str] = event.get("headers", {})
    site = headers.get("sec-fetch-site")
    if site is None:
        # Compared as text: to parse what anybody may send is to raise on some of it.
        host = headers.get("origin", "").partition("://")[2]
        site = "same-origin" if host and host == headers.get("host") else "unknown"
    if site != "same-origin":
        raise CrossSite("The request came from another site.")


def require_form(event: Mapping[str, Any]) -> None:
    """Refuse a POST that our page's button cannot have sent.

    Raises
    ------
    WrongContentType
    """
    kind = event.get("headers", {}).get("content-type", _FORM).partition(";")[0].strip().lower()
    if kind not in ("", _FORM):
        raise WrongContentType("The request was not sent by the page's button.")


def build_page(status: int, html: str, headers: Mapping[str, str], cookies: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"statusCode": status, "headers": dict(headers), "body": html, "cookies": list(cookies)}
