"""Tickets and states, the secrets of the connect links: 256 random bits each, stored hashed.

A *ticket* is the secret in the link. It says what is to be authorized, and is used up when the grant is saved. A
*state* is the secret of one authorization at the provider (RFC 6749 section 4.1.1). The time at which each expires is
stored with it.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any, Literal, NamedTuple

from ..errors import InvalidRequest
from ..ports import Authorizations
from ..record.connection import RecordFields

TICKET_LIFETIME_SECONDS = 900
#: A mailed link may be valid for a week. One found later is worth nothing (seconds).
MAX_TICKET_LIFETIME_SECONDS, MIN_TICKET_LIFETIME_SECONDS = 7 * 86_400, 60
STATE_LIFETIME_SECONDS = 900
#: How long expired tickets and states are kept, so that a late visitor learns what happened (seconds).
RETENTION_SECONDS = 86_400
#: Every secret that is made here: 256 random bits as base64url. No other text is looked up, or sent back in a header.
SECRET_PATTERN = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Authorization:
    """What is to be authorized: the fields of the connection that a saved grant sets."""

    connection: str
    client: str
    profile_hash: str
    variables: Mapping[str, str]
    scope: str | None
    redirect_uri: str
    direct_read: bool = True

    def fields(self, grant: str) -> RecordFields:
        """Return the fields of the record that this authorization sets."""
        return {
            "grant": grant,
            "client": self.client,
            "profile_hash": self.profile_hash,
            "variables": self.variables,
            "scope": self.scope,
            "redirect_uri": self.redirect_uri,
            "direct_read": self.direct_read,
        }


def issue_ticket(
    authorizations: Authorizations,
    authorization: Authorization,
    now: int,
    lifetime: int = TICKET_LIFETIME_SECONDS,
    *,
    another_account: bool = False,
) -> str:
    """Create and store a ticket: 256 random bits, as 43 characters of base64url.

    Parameters
    ----------
    lifetime
        Seconds.
    another_account
        Whether the connection may get another account than it has.

    Raises
    ------
    InvalidRequest
        The lifetime is out of bounds.
    """
    if not MIN_TICKET_LIFETIME_SECONDS <= lifetime <= MAX_TICKET_LIFETIME_SECONDS:
        raise InvalidRequest("A link is good for a minute at least, and for 7 days at most.")
    ticket = secrets.token_urlsafe(32)
    fields = {**asdict(authorization), "another_account": another_account, "expires_at": now + lifetime}
    authorizations.put(ticket_key(ticket), fields, now + lifetime + RETENTION_SECONDS)
    return ticket


class LinkProblem(NamedTuple):
    """The error that ended the last attempt: its code, and the fields of its failure at the provider, if it has one.

    For the fields see :class:`~evergrant.authorization_failure.AuthorizationFailure`.
    """

    code: str
    failure: Mapping[str, Any]


def read_progress(
    authorizations: Authorizations, ticket: str
) -> tuple[Literal["unopened", "opened", "used"], LinkProblem | None]:
    """Return how far a ticket is, and what ended the last attempt, if anything did.

    *Opened*: a browser was sent to the provider. *Used*: the grant is saved.
    """
    held = authorizations.get(ticket_key(ticket)) or {}
    if held.get("used_at"):
        return "used", None
    problem = LinkProblem(held["problem"], held.get("failure") or {}) if held.get("problem") else None
    return "opened" if held.get("cookie_hash") else "unopened", problem


def ticket_key(ticket: str) -> str:
    """Return the key under which a ticket is stored."""
    return f"ticket#{hash_secret(ticket)}"


def state_key(state: str) -> str:
    """Return the key under which a state is stored."""
    return f"state#{hash_secret(state)}"


def code_key(connection: str, code: str) -> str:
    """Return the key under which a used authorization code is stored: hashed with its connection's name."""
    return f"code#{hash_secret(f'{connection} {code}')}"


def hash_secret(secret: str) -> str:
    """Return what is stored of a secret of 256 random bits: its SHA-256, which needs no salt."""
    return sha256(secret.encode()).hexdigest()
