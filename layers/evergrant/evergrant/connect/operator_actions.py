"""What an operator does to connections. Each change is one conditional write that waits for the lease to be free."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from ..errors import Conflict, InvalidRequest, TemporarilyUnavailable, UnknownConnection
from ..names import check_client, split_connection
from ..ports import Clock, Records
from ..profiles.model import HEADLESS_GRANTS, Profile, content_hash
from ..record import failures, state_machine, token_save
from ..record.connection import STALE, Connection, RecordChange, RecordFields, create_event
from ..record.refresh_schedule import deliver_soon, schedule_due, schedule_refresh
from ..record.status import INACTIVE_STATUSES, EventType, Status
from ..record.token_document import REQUEST_TOKEN_CHARACTERS
from ..times import TICK_SECONDS
from .links import Authorization

_POLL_SECONDS = 0.5


def plan(
    profile: Profile,
    connection: str,
    *,
    client: str | None = None,
    grant: str | None = None,
    variables: Mapping[str, str] | None = None,
    scopes: Sequence[str] = (),
    redirect_uri: str = "",
    direct_read: bool = True,
) -> tuple[Authorization, str]:
    """What connecting this account means, checked: the authorization and its grant.

    Parameters
    ----------
    client
        The client's name; the provider's own when left out.
    grant
        One of the profile's; its usual one when left out.
    scopes
        What to ask for; the profile's own (:meth:`~evergrant.profiles.model.Profile.scope`) when left out.

    Raises
    ------
    InvalidName, InvalidVariable, InvalidRequest
    """
    provider, _ = split_connection(connection)
    grant = grant or profile.grants[0]
    if grant not in profile.grants:
        raise InvalidRequest(f"{profile.name} does not offer {grant}.", f"It offers {', '.join(profile.grants)}.")
    return Authorization(
        connection=connection,
        client=check_client(client or provider),
        profile_hash=content_hash(profile),
        variables=profile.bind(variables or {}),
        scope=profile.join_scopes(grant, scopes),
        redirect_uri=redirect_uri,
        direct_read=direct_read,
    ), grant


def begin(records: Records, authorization: Authorization, grant: str, clock: Clock) -> Connection:
    """Make sure that the connection's record exists and may be authorized (again).

    A grant that needs a person changes nothing in an existing record until it is saved: an authorization that is
    abandoned half-way leaves the connection as it was. A headless grant takes the new client, profile and variables at
    once and is due now.
    """
    now = int(clock.now())
    is_headless = grant in HEADLESS_GRANTS
    name = authorization.connection
    record = Connection(
        name=name,
        status=state_machine.INITIAL_STATUS,
        created_at=now,
        **cast(dict[str, Any], authorization.fields(grant)),
    )
    if is_headless:
        record = replace(record, **schedule_refresh(record, now))

    def begin_again(current: Connection) -> RecordChange:
        change = RecordChange()
        if current.status is Status.DISCONNECTED or (is_headless and current.status is Status.PAUSED):
            # What was still to be revoked is given up: revoking it might end what comes now.
            change = state_machine.move(current.status, state_machine.INITIAL_STATUS).set({"to_revoke": None})
        if not is_headless:
            return change
        # A headless grant has no use for an attempt in doubt, or a kept response, of an earlier grant.
        fresh: RecordFields = {**token_save.NO_ATTEMPT, "unreadable_response": None, "failures": 0}
        scopes: RecordFields = {"missing_scope": None, "granted_scope": None, "lost_scope": None}
        return change.set({**authorization.fields(grant), **fresh, **scopes, **schedule_refresh(current, now)})

    try:
        records.create(record)
    except Conflict:
        return _change(records, name, begin_again, clock)
    return record


def pause(records: Records, connection: str, clock: Clock) -> Connection:
    """Send nothing to the provider until it is resumed. The published token stays where it is and expires."""

    def pause_now(current: Connection) -> RecordChange:
        _require(current, current.status is not Status.DISCONNECTED, "it is disconnected")
        # Events that wait are still delivered.
        due = schedule_due(current, int(clock.now()) + TICK_SECONDS if current.outbox else None)
        return state_machine.move(current.status, Status.PAUSED).set({**token_save.RELEASED_LEASE, **due})

    return _change(records, connection, pause_now, clock)


def resume(records: Records, connection: str, clock: Clock) -> Connection:
    """Undo :func:`pause`: refreshed when it would have been; now if that is past, or if it was failing."""
    now = int(clock.now())

    def resume_now(current: Connection) -> RecordChange:
        _require(current, current.status is Status.PAUSED, f"it is {current.status}")
        change = state_machine.move(current.status, _status_after_pause(current))
        if current.refresh_at is None:
            return change
        if current.failures:
            return change.set(schedule_refresh(current, now))
        change = change.set(schedule_refresh(current, max(current.refresh_at, now)))
        # A token set that was saved during the pause is still to be published.
        return change.set(schedule_due(current, now)) if current.is_unpublished else change

    return _change(records, connection, resume_now, clock)


def disconnect(records: Records, connection: str, clock: Clock, *, revoke: bool = False) -> Connection:
    """Forget the token set for good. The record stays as a tombstone, so that generations never repeat.

    With ``revoke`` the set is put aside, still sealed, for rotator, which alone can open it: it asks the provider to
    revoke it, and forgets it after that (:mod:`evergrant.rotation.disconnection`).
    """

    def disconnect_now(current: Connection) -> RecordChange:
        if current.status is Status.DISCONNECTED:
            return RecordChange() if revoke or current.to_revoke is None else RecordChange({"to_revoke": None})
        now = int(clock.now())
        forgotten: RecordFields = {
            # Fences off every response on its way, also from a connection that is begun anew.
            "generation": current.generation + 1,
            "published_generation": current.generation + 1,
            "sealed": None,
            "to_revoke": current.sealed if revoke else None,
            "unreadable_response": None,
            "failures": 0,
            "last_error": None,
            **token_save.NO_ATTEMPT,
            **token_save.RELEASED_LEASE,
            **schedule_refresh(replace(current, warn_at=None), None),
            "warn_at": None,
        }
        event = RecordChange(events=create_event(EventType.DISCONNECTED, current, now))
        change = state_machine.move(current.status, Status.DISCONNECTED).set(forgotten) | event
        return deliver_soon(current, change, now)

    return _change(records, connection, disconnect_now, clock)


def is_stale(connection: Connection, version: str | None, now: int, *, rotates: bool) -> bool:
    """Whether the refresh token of a record in a restored table has been used since.

    Parameters
    ----------
    version
        The request token of what consumers get: it begins with the generation (:mod:`evergrant.record.token_document`).
    rotates
        Whether its provider replaces refresh tokens. Where nothing was published, one whose access token has expired
        was replaced since.
    """
    if connection.status in (*INACTIVE_STATUSES, Status.AWAITING_AUTHORIZATION) or connection.sealed is None:
        return False
    if connection.grant in HEADLESS_GRANTS or not rotates:
        return False
    if version is not None and len(version) == REQUEST_TOKEN_CHARACTERS:
        return int(version[:16], 16) > connection.generation
    return connection.expires_at is not None and connection.expires_at <= now


def require_authorization_of_stale(records: Records, connection: str, clock: Clock) -> Connection:
    """Never refresh a stale record again, and call for its owner."""
    now = int(clock.now())

    def mark(current: Connection) -> RecordChange:
        if current.last_error == STALE:
            return RecordChange()
        return deliver_soon(current, failures.require_authorization_of_stale(current, now), now)

    return _change(records, connection, mark, clock)


def _status_after_pause(current: Connection) -> Status:
    if current.refresh_at is not None:
        return Status.DEGRADED if current.failures else Status.ACTIVE
    if current.unreadable_response:
        return Status.DEGRADED
    # Nothing can refresh it: it never was authorized, or it has to be again.
    return Status.AWAITING_AUTHORIZATION if current.sealed is None else Status.AUTHORIZATION_REQUIRED


def _change(
    records: Records,
    connection: str,
    change_of: Callable[[Connection], RecordChange],
    clock: Clock,
    patience: float = 60.0,
) -> Connection:
    """Apply a change as soon as no worker holds the lease."""
    give_up_at = clock.now() + patience
    while True:
        current = records.get(connection)
        if current is None:
            raise UnknownConnection(connection)
        change = change_of(current)
        if not change:
            return current
        try:
            return records.change(
                connection,
                change.fields,
                events=change.events,
                only_if=current.snapshot("generation", "status"),
                lease_free_at=int(clock.now()),
            )
        except Conflict as conflict:
            if clock.now() >= give_up_at:
                raise TemporarilyUnavailable(f"{connection} is being refreshed all the time.", 60) from conflict
            clock.sleep(_POLL_SECONDS)


def _require(current: Connection, holds: bool, otherwise: str) -> None:
    if not holds:
        raise InvalidRequest(f"{current.name} cannot be changed so: {otherwise}.")
