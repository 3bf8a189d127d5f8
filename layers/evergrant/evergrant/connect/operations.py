"""Change connections for an operator. Each change is one conditional write that waits for the lease to be free."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from ..errors import Conflict, InvalidRequest, TemporarilyUnavailable, UnknownConnection
from ..names import check_client, split_connection
from ..ports import Clock, Records
from ..profiles.model import HEADLESS_GRANTS, Profile, content_hash
from ..record import token_save
from ..record.connection import Connection, EventType, Status, create_event
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
    """Check what connecting this account means. Returns the authorization and its grant.

    Parameters
    ----------
    client
        The client's name; by default the provider's.
    grant
        One of the profile's grants; by default the first.
    scopes
        What to ask for; by default the profile's (:meth:`~evergrant.profiles.model.Profile.scope`).

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
        scope=profile.scope(grant, scopes),
        redirect_uri=redirect_uri,
        direct_read=direct_read,
    ), grant


def begin(records: Records, authorization: Authorization, grant: str, clock: Clock) -> Connection:
    """Create the connection's record, or make an existing one ready to be authorized again.

    A grant that needs a person changes nothing in an existing record until it is saved: an abandoned authorization
    leaves the connection as it was. A headless grant takes the new client, profile and variables at once, and is due
    now.
    """
    now = int(clock.now())
    headless = grant in HEADLESS_GRANTS
    fields = asdict(authorization)
    name = fields.pop("connection")
    record = Connection(
        name=name,
        status=Status.AWAITING_AUTHORIZATION,
        grant=grant,
        created_at=now,
        **fields,
    )
    if headless:
        record = replace(record, **token_save.schedule_refresh(record, now))
    try:
        records.create(record)
    except Conflict as conflict:
        current: Connection = conflict.current
        changes: dict[str, Any] = {}
        if current.status is Status.DISCONNECTED or (headless and current.status is Status.PAUSED):
            # A revocation that is still to come is dropped: it might end the new grant.
            changes = {"status": Status.AWAITING_AUTHORIZATION, "to_revoke": None}
        if headless:
            changes |= {**fields, "grant": grant, **token_save.schedule_refresh(current, now), "failures": 0}
            # An attempt in doubt or an unreadable response of an earlier grant does not concern a headless one.
            changes |= {**token_save.NO_ATTEMPT, "unreadable_response": None}
        return _change(records, name, lambda _: changes, clock) if changes else current
    return record


def pause(records: Records, connection: str, clock: Clock) -> Connection:
    """Pause the connection: nothing is sent to the provider. The published token stays, and expires."""

    def changes(current: Connection) -> Mapping[str, Any]:
        _require(current, current.status is not Status.DISCONNECTED, "it is disconnected")
        # Events that are persisted already are still to be delivered.
        due = token_save.schedule_due(current, int(clock.now()) + TICK_SECONDS if current.outbox else None)
        return {"status": Status.PAUSED, **token_save.RELEASED_LEASE, **due}

    return _change(records, connection, changes, clock)


def resume(records: Records, connection: str, clock: Clock) -> Connection:
    """Undo :func:`pause`. The refresh is due as before; now if that time is past, or if refreshes were failing."""
    now = int(clock.now())

    def changes(current: Connection) -> Mapping[str, Any]:
        _require(current, current.status is Status.PAUSED, f"it is {current.status}")
        if current.refresh_at is None:
            # Nothing can refresh it: it was never authorized, has to be authorized again, or waits for a reparse.
            unauthorized = Status.AWAITING_AUTHORIZATION if current.sealed is None else Status.AUTHORIZATION_REQUIRED
            return {"status": Status.DEGRADED if current.unreadable_response else unauthorized}
        if current.failures:
            return {"status": Status.DEGRADED, **token_save.schedule_refresh(current, now)}
        again = token_save.schedule_refresh(current, max(current.refresh_at, now))
        # A token set that was saved just before the pause is still to be published.
        return {
            "status": Status.ACTIVE,
            **again,
            **(token_save.schedule_due(current, now) if current.is_unpublished else {}),
        }

    return _change(records, connection, changes, clock)


def disconnect(records: Records, connection: str, clock: Clock, *, revoke: bool = False) -> Connection:
    """Delete the token set for good. The record stays as a tombstone, so that generations never repeat.

    With ``revoke`` the sealed set is kept for rotator, which alone can unseal it: it asks the provider to revoke the
    grant, and deletes the set after that (:mod:`evergrant.rotation.disconnection`).
    """

    def changes(current: Connection) -> Mapping[str, Any]:
        if current.status is Status.DISCONNECTED:
            return {} if revoke or current.to_revoke is None else {"to_revoke": None}
        now = int(clock.now())
        changes = {
            "status": Status.DISCONNECTED,
            # Fences off late writers, also for a connection that is begun anew.
            "generation": current.generation + 1,
            "published_generation": current.generation + 1,
            "sealed": None,
            "to_revoke": current.sealed if revoke else None,
            "unreadable_response": None,
            "failures": 0,
            "last_error": None,
            **token_save.NO_ATTEMPT,
            **token_save.RELEASED_LEASE,
            **token_save.schedule_refresh(replace(current, warn_at=None), None),
            "warn_at": None,
            **create_event(EventType.DISCONNECTED, current, now),
        }
        return token_save.deliver_soon(current, changes, now)

    return _change(records, connection, changes, clock)


def _change(
    records: Records,
    connection: str,
    changes_of: Callable[[Connection], Mapping[str, Any]],
    clock: Clock,
    max_wait: float = 60.0,
) -> Connection:
    """Apply changes as soon as the lease is free."""
    give_up = clock.now() + max_wait
    while True:
        current = records.get(connection)
        if current is None:
            raise UnknownConnection(connection)
        changes = changes_of(current)
        if not changes:
            return current
        try:
            return records.change(
                connection,
                changes,
                only_if={"generation": current.generation, "status": current.status},
                lease_free_at=int(clock.now()),
            )
        except Conflict as conflict:
            if clock.now() >= give_up:
                raise TemporarilyUnavailable(f"{connection} is being refreshed all the time.", 60) from conflict
            clock.sleep(_POLL_SECONDS)


def _require(current: Connection, holds: bool, otherwise: str) -> None:
    if not holds:
        raise InvalidRequest(f"{current.name} cannot be changed so: {otherwise}.")
