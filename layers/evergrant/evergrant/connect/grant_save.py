"""Save a new grant in the record, from the connect pages or from an operator's import."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, cast

from ..link_errors import LinkInvalid
from ..oauth.issuance import Issuance
from ..oauth.token_set import TokenSet
from ..ports import Clock, DataKey, PortUnavailable, Queue, Records, Seal
from ..profiles.model import Profile
from ..record import state_machine, token_save
from ..record.connection import Connection, RecordFields
from ..record.status import Status
from ..rotation import revocation
from ..rotation.fenced_save import POLL_SECONDS, SaveStep, build_message
from ..settings import Settings
from .links import Authorization


@dataclass(frozen=True, slots=True)
class NewGrant:
    """A grant that was just obtained.

    Attributes
    ----------
    issuance
        What its token set was issued for.
    learned
        What else is known of it: ``subject``, ``missing_scope`` and ``granted_scope``, see
        :class:`~evergrant.record.connection.Connection`.
    consented
        Whether the account's owner consented just now. An imported set may belong to the grant that it replaces, which
        must not be revoked then.
    """

    authorization: Authorization
    grant: str
    profile: Profile
    tokens: TokenSet
    issuance: Issuance
    learned: RecordFields = field(default_factory=RecordFields)
    consented: bool = True


@dataclass(frozen=True, slots=True)
class GrantSave:
    """Saves the token set of a new grant, sealed, over what a refresh of the old grant saved meanwhile."""

    records: Records
    seal: Seal
    queue: Queue
    clock: Clock
    settings: Settings

    def save(self, current: Connection, new: NewGrant, data_key: DataKey) -> Connection:
        """Save the token set of a new grant as the next generation, by the step that fences every save.

        Parameters
        ----------
        data_key
            For the generation after ``current``'s, fetched before anything was sent to the provider.

        Raises
        ------
        LinkInvalid
            The connection was disconnected meanwhile.
        PortUnavailable
            Neither the table nor the queue accepted the set.
        """
        authorization_id = str(uuid.uuid4())
        saving = SaveStep(self.records, self.queue, self.clock, self.settings.budgets.save)
        while True:
            now = int(self.clock.now())
            change = token_save.save_token_set(
                _apply_authorization(current, new.authorization, new.grant),
                new.tokens,
                data_key.seal(new.tokens.encode(new.issuance)),
                new.profile,
                self.settings,
                now,
            ).set(
                {
                    **new.authorization.fields(new.grant),
                    "authorization_id": authorization_id,
                    "subject": None,
                    "missing_scope": None,
                    "authorization_failure": None,
                    **new.learned,
                }
            )
            saved = saving.keep(current, change, data_key, now + self.settings.budgets.save)
            if saved is None:
                return current
            if saved.authorization_id == authorization_id:
                if new.consented and new.grant == "authorization_code":
                    self._request_revocation(current, data_key)
                return saved
            require_connected(saved)
            next_key = self._fetch_key_or_queue(saved, build_message(current, change, data_key))
            if next_key is None:
                return current
            current, data_key = saved, next_key

    def _fetch_key_or_queue(self, saved: Connection, message: Mapping[str, Any]) -> DataKey | None:
        """Return a data key for the generation after ``saved``; None where the queue accepted the sealed set instead.

        The set in the message is sealed for a generation that is past: the worker that receives it seals it anew and
        saves it. Both ways are tried in turn, as long as a save may take.
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

    def _request_revocation(self, replaced: Connection, data_key: DataKey) -> None:
        """Queue the revocation of the replaced grant. A queue that fails is ignored: the grant expires by itself."""
        message = revocation.build_replaced_message(replaced, data_key)
        if message:
            with suppress(PortUnavailable):
                self.queue.send(message)


def require_connected(connection: Connection) -> None:
    """Refuse a disconnected connection: a link ends with the disconnect.

    Raises
    ------
    LinkInvalid
    """
    if connection.status is Status.DISCONNECTED:
        raise LinkInvalid("The connection was disconnected meanwhile.")


def _apply_authorization(current: Connection, authorization: Authorization, grant: str) -> Connection:
    """Return the record as if this authorization were its first: the old grant's failures and scopes do not count."""
    fields = cast(dict[str, Any], authorization.fields(grant))
    return replace(state_machine.await_authorization(current), **fields, granted_scope=None, lost_scope=None)
