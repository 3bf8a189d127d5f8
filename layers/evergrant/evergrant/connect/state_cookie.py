"""The cookie that binds a ticket, and the state of each authorization, to one browser: read, set and check it.

The browser gets it with the first page. A ticket belongs to the first browser that starts an authorization with it. A
callback is accepted only from the browser that holds the cookie of its state.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from typing import Any

from ..errors import Conflict
from ..link_errors import WrongBrowser
from ..ports import Authorizations
from .links import MAX_TICKET_LIFETIME_SECONDS, SECRET_PATTERN, hash_secret

#: `__Host-`: only over https, only for this host, for all of its paths (RFC 6265bis section 4.1.3.2).
COOKIE = "__Host-evergrant"
#: Longer than the longest link, as it is set once: a browser that sends a valid one gets no other.
_MAX_AGE_SECONDS = MAX_TICKET_LIFETIME_SECONDS + 86_400


def read_cookie(event: Mapping[str, Any]) -> str | None:
    """Return this browser's cookie from an HTTP API event; None where it sent none, or two, or one of other making.

    The name is read exactly: all but the one space after a semicolon (RFC 6265 section 4.2.1) is a part of it. Only a
    name that begins with ``__Host-`` is protected by browsers, and not one with white space before it.
    """
    sent = event.get("cookies") or event.get("headers", {}).get("cookie", "").split(";")
    pairs = (str(cookie).removeprefix(" ").partition("=") for cookie in sent)
    values = [value for name, _, value in pairs if name == COOKIE]
    return values[0] if len(values) == 1 and SECRET_PATTERN.fullmatch(values[0]) else None


def build_cookie(value: str) -> str:
    """Build the Set-Cookie header. Lax: the provider's redirect back must carry the cookie."""
    return f"{COOKIE}={value}; Path=/; Max-Age={_MAX_AGE_SECONDS}; Secure; HttpOnly; SameSite=Lax"


def create_cookie() -> str:
    """Create a cookie's value: 256 random bits, as 43 characters of base64url."""
    return secrets.token_urlsafe(32)


def bind_ticket(authorizations: Authorizations, key: str, ticket: Mapping[str, Any], cookie: str) -> None:
    """Bind the ticket under ``key`` to the browser with this cookie, unless another browser was first.

    Raises
    ------
    WrongBrowser
    """
    owner, bound = hash_secret(cookie), ticket.get("cookie_hash")
    if bound is None:
        try:
            authorizations.change(key, {"cookie_hash": owner}, only_if={"cookie_hash": None})
        except Conflict as conflict:
            bound = (conflict.current or {}).get("cookie_hash")
        else:
            return
    if bound != owner:
        raise WrongBrowser("This link was opened in another browser.")


def require_state_cookie(state: Mapping[str, Any], cookie: str | None) -> str:
    """Return the cookie if it is that of the stored state.

    Raises
    ------
    WrongBrowser
    """
    if not cookie or not hmac.compare_digest(hash_secret(cookie), state["cookie_hash"]):
        raise WrongBrowser("This authorization was begun in another browser.")
    return cookie
