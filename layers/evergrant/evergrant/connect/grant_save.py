"""A new grant into the record, whoever brought it: a person at the connect pages, or an operator by hand."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..errors import LinkInvalid
from ..oauth.token_set import TokenSet
from ..ports import Clock, DataKey, PortUnavailable, Queue, Records, Seal
from ..profiles.model import Profile
from ..record import queued_save, token_save
from ..record.connection import Connection, Status
from ..rotation import revocation
from ..rotation.save import POLL_SECONDS, SaveStep
from ..settings import Settings
from .links import Authorization


@dataclass(frozen=True, slots=True)
class GrantSave:
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
        learned: Mapping[str, Any] | None = None,
        *,
        consented: bool = True,
    ) -> Connection:
        """Save ``tokens`` as the next generation, by a step that is fenced as every other save is.

        Parameters
        ----------
        data_key
            For the generation after ``current``'s, fetched before anything was spent.
        learned
            What else is known of the new grant: ``subject`` and ``missing_scope``, see
            :class:`~evergrant.record.connection.Connection`.
        consented
            Whether somebody consented just now. A set that was given by hand may be of the very grant that it replaces,
            which must not be revoked then.

        Raises
        ------
        LinkInvalid
            The connection was disconnected meanwhile.
        PortUnavailable
            Neither table nor queue took it.
        """
        authorization_id = str(uuid.uuid4())
        saving = SaveStep(self.records, self.queue, self.clock, self.settings.budgets.save)
        while True:
            now = int(self.clock.now())
            changes = {
                **token_save.save_token_set(
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
                "subject": None,
                "missing_scope": None,
                **(learned or {}),
            }
            saved = saving.keep(current, changes, now + self.settings.budgets.save)
            if saved is None:
                return current
            if saved.authorization_id == authorization_id:
                if consented and grant == "authorization_code":
                    self._let_go(current)
                return saved
            require_connected(saved)
            anew = self._key_or_message(saved, queued_save.encode_message(current, changes))
            if anew is None:
                return current
            current, data_key = saved, anew

    def _key_or_message(self, saved: Connection, message: Mapping[str, Any]) -> DataKey | None:
        """A data key for the generation after ``saved``; None: the queue has what is sealed already instead.

        That is sealed for a generation that is gone: whoever receives it seals it anew, and puts it on top. The two
        are tried in turn, as long as a save may take.
        """
        until = self.clock.now() + self.settings.budgets.save
        while True:
            with suppress(PortUnavailable):
                return self.seal.prepare(saved.name, saved.generation + 1)
            try:
                self.queue.send(message)
            except PortUnavailable:
                if self.clock.now() >= until:
                    raise
                self.clock.sleep(POLL_SECONDS)
            else:
                return None

    def _let_go(self, replaced: Connection) -> None:
        """Ask for the revocation of what a consent has replaced. It would lapse by itself: no reason to fail."""
        message = revocation.build_replaced_message(replaced)
        if message:
            with suppress(PortUnavailable):
                self.queue.send(message)


def require_connected(connection: Connection) -> None:
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
