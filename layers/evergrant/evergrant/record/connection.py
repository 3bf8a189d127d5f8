"""The connection record, and the events that its changes emit. Pure."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, TypedDict, cast

from ..oauth.token_set import TokenLifetime
from ..times import format_rfc3339
from .sealed import Sealed
from .status import EventType, Status

#: An event by its id; None removes the event of that id.
Events = Mapping[str, Mapping[str, Any] | None]


class RecordFields(TypedDict, total=False):
    """Fields of a record and their new values; None removes a field. :class:`.connection.Connection` describes them."""

    grant: str
    client: str
    profile_hash: str
    variables: Mapping[str, str]
    endpoint: str | None
    scope: str | None
    redirect_uri: str | None
    direct_read: bool
    authorization_id: str | None
    generation: int
    published_generation: int
    sealed: Sealed | None
    unreadable_response: Sealed | None
    to_revoke: Sealed | None
    issued_at: int | None
    expires_at: int | None
    refresh_expires_at: int | None
    expiry_rule: str | None
    expiry_doubt: str | None
    refresh_at: int | None
    due_shard: str | None
    due_at: int | None
    lease_owner: str | None
    lease_until: int | None
    attempt_id: str | None
    attempt_at: int | None
    attempt_replays: int
    in_doubt_since: int | None
    unclear_at: int | None
    token_rejected_at: int | None
    failures: int
    failing_since: int | None
    alone_since: int | None
    last_error: str | None
    last_error_at: int | None
    last_status: int | None
    last_detail: str | None
    rejected_at: int | None
    rejected_code: str | None
    alerted_at: int | None
    early_refreshes: int
    warn_at: int | None
    subject: str | None
    missing_scope: str | None
    granted_scope: str | None
    lost_scope: str | None
    authorization_failure: Mapping[str, Any] | None


class RecordState(RecordFields, total=False):
    """Fields with the status: what a write requires of the record. Only the state machine writes a status."""

    status: Status


WRITABLE_FIELDS = frozenset(RecordState.__annotations__) | frozenset(RecordFields.__annotations__)
NO_EVENTS: Events = MappingProxyType({})
ANY_STATE: RecordState = {}


@dataclass(frozen=True, slots=True)
class RecordChange:
    """What one step changes: fields, and events for the outbox."""

    fields: RecordFields = field(default_factory=RecordFields)
    events: Events = field(default_factory=dict)

    @property
    def status(self) -> Status | None:
        """The new status; None where it stays."""
        return cast(RecordState, self.fields).get("status")

    def __or__(self, later: RecordChange) -> RecordChange:
        return RecordChange({**self.fields, **later.fields}, {**self.events, **later.events})

    def __bool__(self) -> bool:
        return bool(self.fields or self.events)

    def set(self, fields: RecordFields) -> RecordChange:
        """Return this change with more fields."""
        return RecordChange({**self.fields, **fields}, self.events)

    def without(self, *names: str) -> RecordChange:
        """Return this change without some fields, which then stay as they are."""
        left = {name: value for name, value in self.fields.items() if name not in names}
        return RecordChange(cast(RecordFields, left), self.events)


#: The number of the stored form of a record. A release that changes the form migrates older records, or refuses them.
FORMAT_VERSION = 1
#: The last error of a connection whose token set Secrets Manager does not take.
UNPUBLISHED = "unpublished"
#: The last error of a connection whose access tokens have expired when they come.
EXPIRED_ON_ARRIVAL = "expired_on_arrival"
#: The last error of a connection whose record is older than what was published from it, as after a restore.
STALE = "stale_record"
#: The last error of a connection that fails alone, and so needs its owner.
FAILS_ALONE = "fails_for_this_account"


@dataclass(frozen=True, slots=True)
class Connection:
    """One connection's record: the truth, as one item of the table. Times are epoch seconds.

    ``generation`` counts the token sets saved and is the fencing token of every save. ``refresh_at`` is the planned
    next refresh; ``due_at`` is the same in the due index, moved on while a message is on its way.

    ``attempt_id`` marks a refresh attempt whose response is not saved yet; ``attempt_replays`` counts its replays
    outside the provider's grace. ``in_doubt_since`` is the moment from which the attempt is known to be in doubt: set
    by the worker that lost the response, or by the first one that finds the marker of a worker that is gone.
    ``unclear_at`` is the first complete response after which the provider may have used the refresh token.
    ``token_rejected_at`` is when a consumer reported, after that, that the access token is rejected.

    ``failing_since`` is the first of the ``failures`` in a row, ``alone_since`` the moment from which other connections
    of the same endpoint succeeded meanwhile. ``last_error`` is a code, ``last_status`` the HTTP status with which it
    came, and ``last_detail`` its media type, or why no response came. ``rejected_at`` is the first rejection with the
    code ``rejected_code``. ``endpoint`` is the token endpoint's URL.

    ``warn_at`` is the next warning that the grant ends; ``alerted_at`` is the alert about the present trouble.
    ``early_refreshes`` counts refreshes in a row that a caller demanded long before they were due. ``outbox`` holds the
    events that are not delivered yet, by their id.

    ``expiry_rule`` names the rule that gave ``expires_at``, ``expiry_doubt`` why the provider's own statement was not
    followed (``not_credible``, ``expired``), as of :class:`~evergrant.oauth.token_set.TokenSet`.

    ``subject`` is a digest of the account's id at the provider, None where it is unknown. ``missing_scope`` is the part
    of ``scope`` that was not granted, ``granted_scope`` the part that was (where nothing was asked for, what the
    provider named), and ``lost_scope`` what the last refresh did not bring of that.

    ``authorization_failure`` is the last attempt to authorize it that failed at the provider. ``to_revoke`` is the
    token set of a disconnected connection, sealed for the generation before, until its provider was asked to revoke it.
    """

    name: str
    status: Status
    grant: str
    client: str
    profile_hash: str
    format_version: int = FORMAT_VERSION
    variables: Mapping[str, str] = field(default_factory=dict)
    endpoint: str | None = None
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
    expiry_doubt: str | None = None
    refresh_at: int | None = None
    due_shard: str | None = None
    due_at: int | None = None
    lease_owner: str | None = None
    lease_until: int | None = None
    attempt_id: str | None = None
    attempt_at: int | None = None
    attempt_replays: int = 0
    in_doubt_since: int | None = None
    unclear_at: int | None = None
    token_rejected_at: int | None = None
    failures: int = 0
    failing_since: int | None = None
    alone_since: int | None = None
    last_error: str | None = None
    last_error_at: int | None = None
    last_status: int | None = None
    last_detail: str | None = None
    rejected_at: int | None = None
    rejected_code: str | None = None
    alerted_at: int | None = None
    early_refreshes: int = 0
    warn_at: int | None = None
    subject: str | None = None
    missing_scope: str | None = None
    granted_scope: str | None = None
    lost_scope: str | None = None
    authorization_failure: Mapping[str, Any] | None = None
    outbox: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def provider(self) -> str:
        return self.name.partition("/")[0]

    @property
    def account(self) -> str:
        return self.name.partition("/")[2]

    @property
    def lacking_scope(self) -> str | None:
        """All scopes that the current token lacks: never granted, or lost since; None where there are none."""
        return " ".join(filter(None, (self.missing_scope, self.lost_scope))) or None

    @property
    def token_lifetime(self) -> TokenLifetime | None:
        """The lifetime of the current token set, None when there is none."""
        if self.issued_at is None or self.expires_at is None:
            return None
        return TokenLifetime(self.issued_at, self.expires_at)

    @property
    def next_action_at(self) -> int | None:
        """When to work on it next, unless it is inactive: to refresh it, or to warn of its end."""
        return find_earliest(self.refresh_at, self.warn_at)

    @property
    def is_unpublished(self) -> bool:
        """Whether an event or the token document is still to be published."""
        return bool(self.outbox) or (self.direct_read and self.published_generation != self.generation)

    def is_leased(self, now: int) -> bool:
        """Whether some worker holds the lease."""
        return self.lease_owner is not None and self.lease_until is not None and self.lease_until > now

    def snapshot(self, *names: str) -> RecordState:
        """Return some fields as they are, for a write that requires them unchanged (optimistic locking)."""
        return cast(RecordState, {name: getattr(self, name) for name in names})


def find_earliest(*moments: int | None) -> int | None:
    """Return the earliest of some moments; None where there is none."""
    return min((at for at in moments if at is not None), default=None)


FIELDS = frozenset(item.name for item in fields(Connection))


def create_event(kind: EventType, connection: Connection, at: int, **detail: Any) -> Events:
    """Create one event of a connection, under an id of its own."""
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
    return {str(uuid.uuid4()): body}
