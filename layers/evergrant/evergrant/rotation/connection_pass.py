"""One pass over one connection, safe against two workers, a crash at any instruction and a lost response.

Two rules carry it: *a token set in hand is never thrown away*, and *nothing is sent until the previous response is
saved*. The steps, in the order of the code:

1. **Look**: a strongly consistent read. Fresh enough for what was demanded? Publish what is unpublished, done.
2. **Prepare**: fetch everything that the save will need (client, profile, data key) before anything is sent.
3. **Lease and mark**: one conditional write takes the lease and marks the refresh attempt, if the generation read is
   still the current one.
4. **Attempt**: ask the provider. In doubt, replay the same refresh token only inside the provider's grace.
5. **Save**: seal, then one write fenced by *generation*, not by lease: the first response to arrive wins.
6. **Publish**: the secret, the events, then one write that clears the outbox, frees the lease and sets the due date.

Steps 2 to 6 are :mod:`~evergrant.rotation.refresh_steps`. docs/rotation.md says what follows when it stops at each.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from typing import Any

from ..errors import Conflict, RecordTampered, UnknownConnection
from ..oauth.token_set import TokenSet
from ..ports import PortUnavailable, RotationPorts
from ..profiles.model import Profile
from ..record import token_save
from ..record.connection import Connection
from ..record.expiry_warning import warn_of_expiry
from ..record.failures import Reason
from ..record.status import INACTIVE_STATUSES
from ..settings import Settings
from . import disconnection, revocation
from .fenced_save import POLL_SECONDS, SaveStep
from .publication import Publication
from .refresh_demand import Outcome, Result, TokenDemand, is_refresh_wanted, serve_current
from .refresh_steps import Invocation, Refresh
from .reparse import reparse_response
from .tick import Tick, TickPorts, dispatch


class Rotation:
    """The protocol over its ports, for one invocation.

    Parameters
    ----------
    deadline
        Epoch seconds at which this invocation ends: nothing is sent whose response could not be saved before.
    turn
        Held from the attempt's marker to the provider's response: how many requests are at providers at once.
    """

    def __init__(
        self,
        ports: RotationPorts,
        settings: Settings,
        deadline: float = float("inf"),
        turn: AbstractContextManager[Any] | None = None,
    ) -> None:
        self._ports = ports
        self._invocation = Invocation(ports, settings, deadline, turn or nullcontext(), give_up_at=deadline)
        self._publication = Publication(ports, self._invocation.dependency_errors)
        self._save_step = SaveStep(ports.records, ports.queue, ports.clock, settings.budgets.save)
        self._refresh = Refresh(self._invocation, self._save_step, self._publication)
        self._token_sets = self._refresh.token_sets

    @property
    def dependency_errors(self) -> list[str]:
        """The calls that services of AWS refused."""
        return self._invocation.dependency_errors

    @property
    def failure(self) -> Reason | None:
        """Why the provider gave no token set, if it was asked in vain."""
        return self._invocation.failure

    def run(self, demand: TokenDemand) -> Result:
        """Do what is due, or what a caller demands.

        Raises
        ------
        UnknownConnection, Paused, Disconnected, AuthorizationRequired, ClientRefused, TemporarilyUnavailable
            A caller waits, and no valid token can be had. The schedule meets UnknownConnection only.
        ResponsePending
            An operator forces it, and the same refresh token must not be sent again yet.
        PortUnavailable
            A service of AWS failed, and there is no valid token in hand to serve meanwhile.
        """
        deadline = self._invocation.deadline
        give_up_at = min(self._time + demand.wait, deadline) if demand.caller_waits else deadline
        self._invocation.give_up_at = give_up_at
        while True:
            connection = self._read(demand.connection)
            tokens = self._token_sets.open_current(connection) if demand.caller_waits else None
            if connection.status in INACTIVE_STATUSES:
                return self._pass_inactive(connection, demand, tokens)
            try:
                connection = self._note_rejected_token(connection, demand, tokens)
                if not self._is_refresh_wanted(connection, demand, tokens):
                    return self._publish_unpublished(connection, demand, tokens)
                if not connection.is_leased(self._now):
                    return self._refresh.run(connection, demand, tokens)
            except Conflict:
                pass  # another worker was quicker between our read and our write
            except PortUnavailable as error:
                if tokens is None or tokens.expires_at <= self._time:
                    raise
                self.dependency_errors.append(str(error))
                return self._serve(connection, demand, tokens, "failed")
            if not demand.caller_waits or self._time + POLL_SECONDS >= give_up_at:
                return self._serve(connection, demand, tokens, "busy")
            self._ports.clock.sleep(POLL_SECONDS)

    def save_from_queue(self, message: Mapping[str, Any]) -> bool:
        """Save a response that the table did not take when it came (see :meth:`.SaveStep.save_message`)."""
        return self._save_step.save_message(message, self._ports.seal)

    def reparse(self, connection: str, profile_hash: str) -> None:
        """Read a kept response by a corrected profile (see :mod:`~evergrant.rotation.reparse`)."""
        invocation = self._invocation
        reparse_response(self._ports, invocation.settings, invocation.deadline, connection, profile_hash)

    def dispatch(self, circuit: str) -> Tick:
        """Send what a circuit held back (see :func:`~evergrant.rotation.tick.dispatch`)."""
        ports = self._ports
        return dispatch(
            TickPorts(ports.records, ports.circuits, ports.profiles, ports.queue, ports.clock),
            circuit,
            self._invocation.deadline,
        )

    def revoke_from_queue(self, message: Mapping[str, Any]) -> revocation.Outcome:
        """Revoke a grant that is over (see :mod:`~evergrant.rotation.revocation`)."""
        return revocation.Revocation(self._ports, self._invocation.settings).run(message)

    def revoke_and_forget(self, connection: str) -> disconnection.Outcome:
        """Revoke and forget the grant of a disconnected connection (see :mod:`~evergrant.rotation.disconnection`)."""
        return self._revoke_and_forget(self._read(connection))

    def _pass_inactive(self, connection: Connection, demand: TokenDemand, tokens: TokenSet | None) -> Result:
        """Finish what a paused or disconnected connection has left to do."""
        if demand.caller_waits:
            return self._serve(connection, demand, tokens, "inactive")
        with suppress(RecordTampered):  # the record says so, and the operator is alerted
            if connection.to_revoke is not None and self._revoke_and_forget(connection) == "busy":
                return Result("busy", connection)
        return Result("inactive", self._publication.deliver(connection))

    def _publish_unpublished(self, connection: Connection, demand: TokenDemand, tokens: TokenSet | None) -> Result:
        invocation, now = self._invocation, self._now
        if connection.warn_at is not None and connection.warn_at <= now:
            warning = warn_of_expiry(connection, now)
            connection = self._ports.records.change(
                connection.name,
                warning.fields,
                events=warning.events,
                only_if=connection.snapshot("generation", "status", "warn_at"),
            )
        anew = self._is_outdated(connection, demand, tokens)
        if not (connection.is_unpublished or anew) or connection.is_leased(now):
            return self._serve(connection, demand, tokens, "fresh")
        connection = self._ports.records.change(
            connection.name,
            {"lease_owner": invocation.worker, "lease_until": now + invocation.settings.budgets.lease},
            only_if=connection.snapshot("generation", "status"),
            lease_free_at=now,
        )
        tokens = tokens or self._token_sets.open_current(connection)
        profile = self._load_profile(connection)
        connection = self._publication.publish(connection, profile, tokens, invocation.worker, anew=anew)
        return self._serve(connection, demand, tokens, "unpublished" if connection.is_unpublished else "published")

    def _is_outdated(self, connection: Connection, demand: TokenDemand, tokens: TokenSet | None) -> bool:
        """Whether consumers read an older token: a caller that reads the current one has no reason to ask."""
        if tokens is None or not demand.caller_waits or demand.is_rejected(tokens):
            return False
        profile = self._load_profile(connection)
        is_readable = token_save.is_directly_readable(connection, tokens, profile, self._invocation.settings)
        return is_readable and self._publication.is_outdated(connection, profile, tokens)

    def _read(self, name: str) -> Connection:
        connection = self._ports.records.get(name)
        if connection is None:
            raise UnknownConnection(name)
        return connection

    def _revoke_and_forget(self, connection: Connection) -> disconnection.Outcome:
        invocation = self._invocation
        return disconnection.revoke_and_forget(self._ports, invocation.settings, invocation.worker, connection)

    def _is_refresh_wanted(self, connection: Connection, demand: TokenDemand, tokens: TokenSet | None) -> bool:
        minimum_age = self._load_profile(connection).rotation.minimum_age if tokens else 0
        return is_refresh_wanted(connection, demand, tokens, minimum_age, self._now)

    def _note_rejected_token(self, connection: Connection, demand: TokenDemand, tokens: TokenSet | None) -> Connection:
        """Note that the access token is of no use any more, so that its refresh token need not be spared for it."""
        is_spared = connection.unclear_at is not None or connection.attempt_id is not None
        if not is_spared or connection.token_rejected_at is not None or not demand.is_rejected(tokens):
            return connection
        return replace(connection, token_rejected_at=self._now, refresh_at=self._now)

    def _serve(self, connection: Connection, demand: TokenDemand, tokens: TokenSet | None, outcome: Outcome) -> Result:
        return serve_current(connection, demand, tokens, outcome, self._now)

    def _load_profile(self, connection: Connection) -> Profile:
        return self._ports.profiles.load_pinned(connection.profile_hash)

    @property
    def _now(self) -> int:
        return int(self._time)

    @property
    def _time(self) -> float:
        return self._ports.clock.now()
