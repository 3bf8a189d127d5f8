"""A change of a connection record, typed: a misspelt field fails the type check, and the table's adapter refuses it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypedDict, cast

from .sealed import Sealed
from .status import Status

#: An event by its id; None removes the event of that id.
Events = Mapping[str, Mapping[str, Any] | None]


class RecordFields(TypedDict, total=False):
    """Fields of a record and their new values; None removes a field. :class:`.connection.Connection` describes them."""

    grant: str
    client: str
    profile_hash: str
    variables: Mapping[str, str]
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
    refresh_at: int | None
    due_shard: str | None
    due_at: int | None
    lease_owner: str | None
    lease_until: int | None
    attempt_id: str | None
    attempt_at: int | None
    attempt_replays: int
    in_doubt_since: int | None
    failures: int
    last_error: str | None
    last_error_at: int | None
    rejected_at: int | None
    alerted_at: int | None
    early_refreshes: int
    warn_at: int | None
    subject: str | None
    missing_scope: str | None


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
