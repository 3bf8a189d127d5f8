"""Read HTTP API events (payload format 2.0), and build the responses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from ..link_errors import BadRequest, CrossSite, LinkInvalid, WrongContentType
from .links import SECRET_PATTERN

_MAX_QUERY_CHARACTERS = 8192
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
#: What the page's own form sends. A request without a body may omit it.
_FORM = "application/x-www-form-urlencoded"


def read_method(event: Mapping[str, Any]) -> str:
    """Return the request's method, also where the route takes ANY."""
    return str(event.get("requestContext", {}).get("http", {}).get("method", ""))


def read_path(event: Mapping[str, Any]) -> str:
    """Return the route's path, ``/connect/{ticket}``, without the method, which may be ANY."""
    return str(event.get("routeKey", "")).partition(" ")[2]


def read_ticket(event: Mapping[str, Any]) -> str:
    """Return the ticket in the path.

    Raises
    ------
    LinkInvalid
        It cannot be one that was made here.
    """
    ticket = str((event.get("pathParameters") or {}).get("ticket", ""))
    if not SECRET_PATTERN.fullmatch(ticket):
        raise LinkInvalid("This link is not known here.")
    return ticket


def read_provider(event: Mapping[str, Any]) -> str | None:
    """Return the provider in the path of its own redirect URI; None at the one that all share."""
    provider = (event.get("pathParameters") or {}).get("provider")
    return None if provider is None else str(provider)


def parse_query(event: Mapping[str, Any]) -> dict[str, str]:
    """Return the query's parameters without ``error_description``, which has no use, and line breaks at Microsoft.

    Raises
    ------
    BadRequest
        The query is too long, a parameter comes twice (RFC 6749 section 3.1 forbids that), or one holds a control
        character.
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
        # Compared as text: a parser would raise on some of what a client may send.
        host = headers.get("origin", "").partition("://")[2]
        site = "same-origin" if host and host == headers.get("host") else "unknown"
    if site != "same-origin":
        raise CrossSite("The request came from another site.")


def require_form(event: Mapping[str, Any]) -> None:
    """Refuse a POST that the page's button cannot have sent.

    Raises
    ------
    WrongContentType
    """
    kind = event.get("headers", {}).get("content-type", _FORM).partition(";")[0].strip().lower()
    if kind not in ("", _FORM):
        raise WrongContentType("The request was not sent by the page's button.")


def build_page(status: int, html: str, headers: Mapping[str, str], cookies: tuple[str, ...] = ()) -> dict[str, Any]:
    """Build the response for the HTTP API."""
    return {"statusCode": status, "headers": dict(headers), "body": html, "cookies": list(cookies)}
