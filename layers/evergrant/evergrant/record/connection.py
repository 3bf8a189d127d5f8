"""The connection record, its states, and the events that its changes of state emit. Pure."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any

from ..times import format_rfc3339
from .refresh_schedule import TokenLifetime


class Status(StrEnum):
    """Where a connection stands."""

    AWAITING_AUTHORIZATION = "awaiting_authorization"
    ACTIVE = "active"
    DEGRADED = "degraded"
    AUTHORIZATION_REQUIRED = "authorization_required"
    CLIENT_REFUSED = "client_refused"
    PAUSED = "paused"
    DISCONNECTED = "disconnected"


#: The last error of a connection whose token set Secrets Manager does not take.
UNPUBLISHED = "unpublished"
#: States in which nothing is ever sent to the provider.
INACTIVE_STATUSES = frozenset({Status.PAUSED, Status.DISCONNECTED})


class EventType(StrEnum):
    """The ``detail-type`` of each event on the bus."""

    AUTHORIZED = "Connection Authorized"
    ROTATED = "Token Rotated"
    DEGRADED = "Connection Degraded"
    RECOVERED = "Connection Recovered"
    AUTHORIZATION_REQUIRED = "Authorization Required"
    CLIENT_REFUSED = "Client Refused"
    GRANT_EXPIRING = "Grant Expiring"
    DISCONNECTED = "Connection Disconnected"


@dataclass(frozen=True, slots=True)
class Sealed:
    """A token set under AES-GCM; ``key`` is the data key, itself encrypted by KMS."""

    key: bytes = field(repr=False)
    nonce: bytes = field(repr=False)
    text: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Connection:
    """One connection's record: the truth, as one item of the table. Times are epoch seconds.

    ``generation`` counts the token sets saved and fences every save. ``refresh_at`` is when the next refresh is meant
    to happen; ``due_at`` is the same in the index, moved on while a message is on its way. ``attempt_id`` marks a
    request
    to the provider whose answer is not saved yet; ``attempt_replays`` counts its replays outside the provider's
    grace, and
    ``in_doubt_since`` is since when it is known to be in doubt: from the worker that lost its answer, or from whoever
    found
    the marker of one that is gone. ``warn_at`` is when somebody is to be warned that the grant ends;
    ``alerted_at`` is when somebody was told of the present trouble. ``early_refreshes`` counts refreshes in a row that
    somebody asked for long before one was due. ``outbox`` holds events not yet delivered, by their id. ``subject`` is a
    digest of the account's id at the provider, None where it is not known; ``missing_scope`` is what of ``scope`` was
    not granted. ``to_revoke`` is the token set of a connection that was disconnected, sealed for the generation before,
    until its provider was asked to revoke it.
    """

    name: str
    status: Status
    grant: str
    client: str
    profile_hash: str
    format_version: int = 1
    variables: Mapping[str, str] = field(default_factory=dict)
    scope: str | None = None
    redirect_uri: str | None = None
    direct_read: bool = True
    created_at: int = 0
    authorization_id: str | None = None
    generation: int = 0
    published_generation: int = 0
    sealed: Sealed | None = None
    unreadable_response: Sealed | None = None
    to_revoke: Sealed | None = None
    issued_at: int | None = None
    expires_at: int | None = None
    refresh_expires_at: int | None = None
    expiry_rule: str | None = None
    refresh_at: int | None = None
    due_shard: str | None = None
    due_at: int | None = None
    lease_owner: str | None = None
    lease_until: int | None = None
    attempt_id: str | None = None
    attempt_at: int | None = None
    attempt_replays: int = 0
    in_doubt_since: int | None = None
    failures: int = 0
    last_error: str | None = None
    last_error_at: int | None = None
    rejected_at: int | None = None
    alerted_at: int | None = None
    early_refreshes: int = 0
    warn_at: int | None = None
    subject: str | None = None
    missing_scope: str | None = None
    outbox: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def provider(self) -> str:
        return self.name.partition("/")[0]

    @property
    def account(self) -> str:
        return self.name.partition("/")[2]

    @property
    def token_lifetime(self) -> TokenLifetime | None:
        """Of the current token set, None when there is none."""
        if self.issued_at is None or self.expires_at is None:
            return None
        return TokenLifetime(self.issued_at, self.expires_at)

    @property
    def next_action_at(self) -> int | None:
        """When it has to be looked at next, unless it is at rest: to refresh it, or to warn of its end."""
        return find_earliest(self.refresh_at, self.warn_at)

    @property
    def is_unpublished(self) -> bool:
        """Whether the outside world has still to be told of something."""
        return bool(self.outbox) or (self.direct_read and self.published_generation != self.generation)

    def is_leased(self, now: int) -> bool:
        """Whether some worker holds the lease."""
        return self.lease_owner is not None and self.lease_until is not None and self.lease_until > now


def find_earliest(*moments: int | None) -> int | None:
    """The first of some moments; None where there is none of them."""
    return min((at for at in moments if at is not None), default=None)


FIELDS = frozenset(item.name for item in fields(Connection))


def create_event(kind: EventType, connection: Connection, at: int, **detail: Any) -> dict[str, Any]:
    """A change of state, as ``changes`` for the record: ``{"outbox.<id>": {...}}``. One change has one id."""
    body = {
        "type": str(kind),
        "at": at,
        "detail": {
            "connection": connection.name,
            "provider": connection.provider,
            "account": connection.account,
            "time": format_rfc3339(at),
            **detail,
        },
    }
    return {f"outbox.{uuid.uuid4()}": body}
