"""A new grant into the record, whoever brought it: a person at the connect pages, or an operator by hand."""

from __future__ import annotations

import uuid
from dataclasses import asdict, dataclass, replace
from typing import Any

from . import deferred, transitions
from .connection import Connection, Status
from .errors import LinkInvalid
from .ports import Clock, DataKey, PortUnavailable, Queue, Records, Seal
from .profile import Profile
from .saving import Saving
from .settings import Settings
from .tickets import Authorization
from .tokens import TokenSet


@dataclass(frozen=True, slots=True)
class Granting:
    """Saves the token set of a new grant, sealed, on top of whatever a rotation of the old one saved meanwhile."""

    records: Records
    seal: Seal
    queue: Queue
    clock: Clock
    settings: Settings

    def save(
        self,
        current: Connection,
        authorization: Authorization,
        grant: str,
        profile: Profile,
        tokens: TokenSet,
        data_key: DataKey,
    ) -> Connection:
        """Save ``tokens`` as the next generation, by a step that is fenced as every other save is.

        Parameters
        ----------
        data_key
            For the generation after ``current``'s, fetched before anything was spent.

        Raises
        ------
        LinkInvalid
            The connection was disconnected meanwhile.
        PortUnavailable
            Neither table nor queue took it.
        """
        authorization_id = str(uuid.uuid4())
        saving = Saving(self.records, self.queue, self.clock, self.settings.budgets.save)
        while True:
            now = int(self.clock.now())
            changes = {
                **transitions.saved(
                    _pending(current, authorization, grant),
                    tokens,
                    data_key.seal(tokens.encode()),
                    profile,
                    self.settings,
                    now,
                ),
                **_brought(authorization),
                "grant": grant,
                "authorization_id": authorization_id,
            }
            saved = saving.keep(current, changes, now + self.settings.budgets.save)
            if saved is None or saved.authorization_id == authorization_id:
                return saved or current
            demand_connected(saved)
            try:
                data_key = self.seal.prepare(saved.name, saved.generation + 1)
            except PortUnavailable:
                # Sealed for a generation that is gone: whoever receives it seals it anew, and puts it on top.
                self.queue.send(deferred.message(current, changes))
                return current
            current = saved


def demand_connected(connection: Connection) -> None:
    """A link does not outlive a disconnect: connecting again takes a new one."""
    if connection.status is Status.DISCONNECTED:
        raise LinkInvalid("The connection was disconnected meanwhile.")


def _brought(authorization: Authorization) -> dict[str, Any]:
    """What the saved grant brings into the record, over whatever an earlier one left there."""
    brought = asdict(authorization)
    del brought["connection"]
    return brought


def _pending(current: Connection, authorization: Authorization, grant: str) -> Connection:
    """The record as if this authorization were its first: whatever troubled the old grant is over."""
    return replace(current, **_brought(authorization), grant=grant, status=Status.AWAITING_AUTHORIZATION)
