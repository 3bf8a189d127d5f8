"""How a token is come by: the cache, the secret, getter; one fetch at a time for each connection.

Everything here but `Fetcher.warm` may block on the network.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ._aws import Aws, Boto3Session, Session
from ._cache import SAFETY_SECONDS, Entry, Slot
from ._errors import ConnectionUnusable, EvergrantError, InvalidRequest, NotConfigured, TemporarilyUnavailable
from ._tokens import AccessToken, check_name, fingerprint, read_token


class Fetcher:
    """What a process knows of one stack's tokens, and how it learns more.

    Parameters
    ----------
    prefix : str
        First part of the secrets' names.
    getter : str or None
        Name or ARN of getter's function, where it is known.
    session : botocore or boto3 session, or None
        Where AWS clients come from.
    clock : callable
        Returns the time in epoch seconds.
    """

    def __init__(
        self,
        prefix: str,
        getter: str | None,
        session: Session | Boto3Session | None,
        clock: Callable[[], float],
    ) -> None:
        self.entries: dict[str, Entry] = {}
        self._prefix = prefix
        self._getter = getter
        self._aws = Aws(session)
        self._clock = clock
        self._slots: dict[str, Slot] = {}

    def warm(self, connection: str, min_ttl: float) -> AccessToken | None:
        """Return the cached token if it is good for `min_ttl` seconds more."""
        entry = self.entries.get(connection)
        if entry is not None and min_ttl >= 0 and entry.serves(self._clock(), min_ttl):
            return entry.token
        return None

    def slot(self, connection: str) -> Slot:
        """Return the connection's lock and what goes with it."""
        return self._slots.get(connection) or self._slots.setdefault(connection, Slot())

    def fetch(self, connection: str, min_ttl: float) -> AccessToken:
        """Return a token good for `min_ttl` seconds more, or the best there is: see `Evergrant.token`."""
        _check(connection, min_ttl)
        slot = self.slot(connection)
        seen = slot.fetches
        with slot.lock:
            warm = self.warm(connection, min_ttl)
            if warm is not None:
                return warm
            if slot.fetches != seen and slot.shared is not None:
                raise slot.shared.again()
            slot.shared = None
            try:
                return self._fetch_alone(connection, min_ttl, slot)
            except EvergrantError as error:
                slot.shared = error.again()
                raise
            finally:
                slot.fetches += 1

    def _fetch_alone(self, connection: str, min_ttl: float, slot: Slot) -> AccessToken:
        """Read the secret; ask getter if that is not enough; else make do with what still lives."""
        held = self._living(connection)
        failure = slot.getter_failure(self._clock())
        if held is not None and failure is not None and not isinstance(failure, ConnectionUnusable):
            return held
        unread = self._read(connection)
        entry = self.entries.get(connection)
        if entry is not None and entry.serves(self._clock(), min_ttl):
            return entry.token
        if failure is None:
            try:
                return self._ask(connection, min_ttl, None, slot)
            except EvergrantError as error:
                failure = error
        if not isinstance(failure, ConnectionUnusable):
            held = self._living(connection)
            if held is not None:
                return held
        if isinstance(failure, NotConfigured) and unread is not None:
            raise unread  # without getter, why the secret cannot be read is what there is to say
        raise failure

    def _read(self, connection: str) -> EvergrantError | None:
        """Read the secret into the cache; return why it could not be read.

        Whatever the reason, getter may still have the token: short-lived ones have no secret, a policy on
        `tokens/*-??????` may not match a name that does not exist (access is then denied rather than the
        secret not found), and in an outage rotator serves from its own copy.
        """
        try:
            text = self._aws.read_secret(connection, f"{self._prefix}/tokens/{connection}")
            if text is not None:
                self._keep(read_token(connection, text))
        except EvergrantError as error:
            return error
        return None

    def _ask(self, connection: str, min_ttl: float, rejected: str | None, slot: Slot) -> AccessToken:
        """Ask getter, with the fingerprint of the refused token if a refresh is to be forced."""
        try:
            if self._getter is None:
                raise NotConfigured(
                    f"{connection} has no secret with a token fresh enough, and getter's name is not known.",
                    connection=connection,
                )
            # More than was asked for, so that what getter counts as enough is still enough on arrival.
            request: dict[str, object] = {"connection": connection, "min_ttl": math.ceil(min_ttl + 2 * SAFETY_SECONDS)}
            if rejected is not None:
                request["rejected"] = rejected
            token = read_token(connection, self._aws.invoke(connection, self._getter, request))
            now = self._clock()
            if token.expires_at <= now:
                raise TemporarilyUnavailable(f"The freshest token of {connection} has ended.", connection=connection)
        except EvergrantError as error:
            slot.leave_getter_alone(error, self._clock())
            raise
        entry = self._keep(token, instead_of=rejected)
        if not entry.serves(now, min_ttl):
            entry.reach = max(entry.usable_until - now, 0.0)
        return entry.token

    def _keep(self, token: AccessToken, *, instead_of: str | None = None) -> Entry:
        """Cache the token, unless a newer one lives: a late write may have put back an older secret.

        Getter's answer to a refusal is believed in any case: generations may go back if a table is restored.
        """
        now = self._clock()
        entry = self.entries.get(token.connection)
        if (
            entry is None
            or token.generation >= entry.token.generation
            or entry.token.fingerprint == instead_of
            or not entry.lives(now)
        ):
            entry = self.entries[token.connection] = Entry(token, now)
        return entry

    def _living(self, connection: str) -> AccessToken | None:
        entry = self.entries.get(connection)
        return entry.token if entry is not None and entry.lives(self._clock()) else None

    # After a refusal.

    def _other(self, connection: str, refused: str) -> AccessToken | None:
        held = self._living(connection)
        return held if held is not None and held.fingerprint != refused else None

    def reread(self, connection: str, refused: str) -> AccessToken | None:
        """Read the secret once more; return the token if it is not the refused one."""
        slot = self.slot(connection)
        seen = slot.fetches
        with slot.lock:
            other = self._other(connection, refused)
            if other is not None or slot.fetches != seen:
                return other
            self._read(connection)
            slot.shared = None
            slot.fetches += 1
            return self._other(connection, refused)

    def force(self, connection: str, refused: str, min_ttl: float) -> AccessToken | None:
        """Have getter renew the refused token; return the new one, or None if there is none.

        Raises
        ------
        EvergrantError
            Getter could not.
        """
        slot = self.slot(connection)
        seen = slot.forced
        with slot.lock:
            other = self._other(connection, refused)
            if other is not None:
                return other
            failure = slot.getter_failure(self._clock())
            if failure is not None:
                raise failure
            if slot.forced != seen and slot.forced_for == refused:
                return None  # it was forced while we waited, and the provider gave the same token again
            try:
                token = self._ask(connection, min_ttl, refused, slot)
            finally:
                slot.forced_for = refused
                slot.forced += 1
            return token if token.fingerprint != refused else None

    def another(self, connection: str, min_ttl: float, rejected: str) -> AccessToken:
        """Return a token other than `rejected`: re-read, else renewed; an error if there is none."""
        _check(connection, min_ttl)
        refused = fingerprint(rejected)
        other = self.reread(connection, refused) or self.force(connection, refused, min_ttl)
        if other is None:
            raise TemporarilyUnavailable(
                f"{connection} has no other token than the rejected one.",
                connection=connection,
                hint="If it goes on being refused, the refusal is not about the token: look at the provider's answer.",
            )
        return other


def _check(connection: str, min_ttl: float) -> None:
    check_name(connection)
    if not 0 <= min_ttl < math.inf:
        raise InvalidRequest("min_ttl is not a number of seconds.", connection=connection)
