"""HTTP API events (payload format 2.0) taken apart, and answers put together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from .errors import CrossSite, LinkInvalid

#: `__Host-`: only over https, only for this host, for all of its paths (RFC 6265bis section 4.1.3.2).
COOKIE = "__Host-evergrant"
_LONGEST_QUERY = 8192


def cookie_of(event: Mapping[str, Any]) -> str | None:
    """This browser's cookie, None when it sent none."""
    for cookie in (*event.get("cookies", ()), *event.get("headers", {}).get("cookie", "").split(";")):
        name, _, value = cookie.strip().partition("=")
        if name == COOKIE and value:
            return str(value)
    return None


def set_cookie(value: str) -> str:
    """Lasts a day; Lax, since the provider's redirect back must carry it."""
    return f"{COOKIE}={value}; Path=/; Max-Age=86400; Secure; HttpOnly; SameSite=Lax"


def query_of(event: Mapping[str, Any]) -> dict[str, str]:
    """The query's parameters.

    Raises
    ------
    LinkInvalid
        It is too long, or one comes twice (RFC 6749 section 3.1 forbids that).
    """
    raw = event.get("rawQueryString", "")
    pairs = parse_qsl(raw, keep_blank_values=True) if len(raw) <= _LONGEST_QUERY else None
    if pairs is None or len(dict(pairs)) != len(pairs):
        raise LinkInvalid("The answer's parameters cannot be read.")
    return dict(pairs)


def demand_same_origin(event: Mapping[str, Any]) -> None:
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


def page(status: int, html: str, headers: Mapping[str, str], cookies: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"statusCode": status, "headers": dict(headers), "body": html, "cookies": list(cookies)}
