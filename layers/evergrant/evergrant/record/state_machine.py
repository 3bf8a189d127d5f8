"""The state machine of a connection: every legal change of status, and the event that reports it.

Only this module writes a status. Who decides on one: :mod:`.failures` (``authorization_required``, ``degraded``,
``client_refused``), :mod:`.lost_response`, :mod:`.token_save` and the operator's actions. The diagram in
docs/concepts.md is generated from :data:`TRANSITIONS` (``scripts/state_diagram.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, cast

from .connection import WRITABLE_FIELDS, Connection, RecordChange, RecordFields, RecordState
from .status import EventType, Status

_AWAITING = Status.AWAITING_AUTHORIZATION
_ACTIVE = Status.ACTIVE
_DEGRADED = Status.DEGRADED
_REQUIRED = Status.AUTHORIZATION_REQUIRED
_REFUSED = Status.CLIENT_REFUSED
_PAUSED = Status.PAUSED
_DISCONNECTED = Status.DISCONNECTED

#: The status of a new record.
INITIAL_STATUS: Final = _AWAITING

#: From a status to another, with the event that reports it. None: the operator did it, and needs no report.
TRANSITIONS: Mapping[tuple[Status, Status], EventType | None] = {
    # A token set is saved.
    (_AWAITING, _ACTIVE): EventType.AUTHORIZED,
    (_DEGRADED, _ACTIVE): EventType.RECOVERED,
    (_REQUIRED, _ACTIVE): EventType.RECOVERED,
    (_REFUSED, _ACTIVE): EventType.RECOVERED,
    # A refresh, or a publication, fails.
    (_ACTIVE, _DEGRADED): EventType.DEGRADED,
    (_REFUSED, _DEGRADED): EventType.DEGRADED,
    # A response in hand is saved although another worker has given the grant up.
    (_REQUIRED, _DEGRADED): EventType.DEGRADED,
    # The grant needs a person.
    (_AWAITING, _REQUIRED): EventType.AUTHORIZATION_REQUIRED,
    (_ACTIVE, _REQUIRED): EventType.AUTHORIZATION_REQUIRED,
    (_DEGRADED, _REQUIRED): EventType.AUTHORIZATION_REQUIRED,
    (_REFUSED, _REQUIRED): EventType.AUTHORIZATION_REQUIRED,
    # The provider refuses the client.
    (_AWAITING, _REFUSED): EventType.CLIENT_REFUSED,
    (_ACTIVE, _REFUSED): EventType.CLIENT_REFUSED,
    (_DEGRADED, _REFUSED): EventType.CLIENT_REFUSED,
    (_REQUIRED, _REFUSED): EventType.CLIENT_REFUSED,
    # The operator pauses and resumes.
    (_AWAITING, _PAUSED): None,
    (_ACTIVE, _PAUSED): None,
    (_DEGRADED, _PAUSED): None,
    (_REQUIRED, _PAUSED): None,
    (_REFUSED, _PAUSED): None,
    (_PAUSED, _AWAITING): None,
    (_PAUSED, _ACTIVE): None,
    (_PAUSED, _DEGRADED): None,
    (_PAUSED, _REQUIRED): None,
    # The operator disconnects, and connects anew.
    (_AWAITING, _DISCONNECTED): EventType.DISCONNECTED,
    (_ACTIVE, _DISCONNECTED): EventType.DISCONNECTED,
    (_DEGRADED, _DISCONNECTED): EventType.DISCONNECTED,
    (_REQUIRED, _DISCONNECTED): EventType.DISCONNECTED,
    (_REFUSED, _DISCONNECTED): EventType.DISCONNECTED,
    (_PAUSED, _DISCONNECTED): EventType.DISCONNECTED,
    (_DISCONNECTED, _AWAITING): None,
}


class IllegalTransition(Exception):
    """A mistake in the code: the table has no such change of status."""


def move(source: Status, target: Status) -> RecordChange:
    """Return the change of status from ``source`` to ``target``; a status may also stay as it is.

    Raises
    ------
    IllegalTransition
    """
    require_legal(source, target)
    state: RecordState = {"status": target}
    return RecordChange(state)


def require_legal(source: Status, target: Status) -> None:
    """Raise IllegalTransition unless the table has this change, or nothing changes."""
    if source is not target and (source, target) not in TRANSITIONS:
        raise IllegalTransition(f"A connection does not go from {source} to {target}.")


def require_writable(fields: RecordFields, only_if: RecordState) -> None:
    """Refuse a field that no record has, written or required, and a change of status that the state machine has not.

    Raises
    ------
    TypeError, IllegalTransition
        A mistake in the code: nothing is written.
    """
    # A misspelt field that is required to be absent would always be, and the write would not be fenced.
    unknown = (fields.keys() | only_if.keys()) - WRITABLE_FIELDS
    if unknown:
        raise TypeError(f"A connection record has no field {', '.join(sorted(unknown))}.")
    target = cast(RecordState, fields).get("status")
    if target is None:
        return
    source = only_if.get("status")
    if source is None:
        raise TypeError("A change of status requires the status that it starts from.")
    require_legal(source, target)


def event_of(source: Status, target: Status) -> EventType | None:
    """Return the event that reports this change of status, None for a change that needs no report."""
    return TRANSITIONS.get((source, target))


def rebase_change(change: RecordChange, current: Status) -> RecordChange:
    """Return ``change`` for a record whose status became ``current`` since the change was made.

    The response in the change is kept in any case. The status stays where the connection was paused, and where the
    state machine has no such change of status. The record stays due, so that its events are delivered.
    """
    target = change.status
    is_legal = target is None or target is current or (current, target) in TRANSITIONS
    return change if is_legal and current is not _PAUSED else change.without("status")


def ignore_client_refusal(connection: Connection) -> Connection:
    """Return the connection as its own failures are judged: as if its client had never been refused."""
    if connection.status is not _REFUSED:
        return connection
    return replace(connection, status=_ACTIVE, alerted_at=None)


def await_authorization(connection: Connection) -> Connection:
    """Return the connection as a new grant sees it: as if this authorization were its first."""
    return replace(connection, status=INITIAL_STATUS)
