"""How a token is come by: the cache, the secret, getter; one fetch at a time for each connection.

Everything here but `Fetcher.warm` may block on the network.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from ._answer import Answer
from ._aws import Aws
from ._cache import SAFETY_SECONDS, Entry, Slot
from ._errors import (
    AccessDenied,
    Disconnected,
    EvergrantError,
    InvalidRequest,
    NotConfigured,
    TemporarilyUnavailable,
    UnknownConnection,
)
from ._tokens import AccessToken, check_name, fingerprint, read_token

if TYPE_CHECKING:
    from ._api import Api

_log = logging.getLogger("evergrant_client")

# By these getter says that the token at hand was withdrawn. The others say why there is no fresher one.
_WITHDRAWN = (Disconnected, UnknownConnection)


class Fetcher:
    """What a process knows of one stack's tokens, and how it learns more.

    Parameters
    ----------
    prefix : str or None
        First part of the secrets' names; None where this process is to read no secrets.
    getter : str or None
        Name or ARN of getter's function, or the URL of its API; None where it is to ask neither.
    aws : Aws
        Makes the calls.
    clock : callable
        Returns the time in epoch seconds.

    Raises
    ------
    NotConfigured
        Neither is left, or the URL is not one.
    """

    def __init__(self, prefix: str | None, getter: str | None, aws: Aws, clock: Callable[[], float]) -> None:
        if prefix is None and getter is None:
            raise NotConfigured("This client may neither read secrets nor ask getter.")
        self.entries: dict[str, Entry] = {}
        self._prefix = prefix
        self._getter = getter
        self._aws = aws
        self._api: Api | None = None
        if getter is not None and "://" in getter:  # neither a name nor an ARN
            from ._api import Api  # with what it needs for URLs, which few consumers do

            self._api = Api(getter, aws, clock)
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

    def fetches(self, connection: str) -> int:
        """Return a mark by which a later wait for the lock shows that somebody else has fetched meanwhile."""
        return self.slot(connection).fetches

    def fetch(
        self, connection: str, min_ttl: float, *, max_age: float = math.inf, seen: int | None = None
    ) -> AccessToken:
        """Return a token good for `min_ttl` seconds more, or the best there is: see `Evergrant.token`.

        One that was read longer ago than `max_age` seconds is read again. `seen` is the mark of when the caller
        began to want it, if that was earlier than now.
        """
        _check(connection, min_ttl)
        slot = self.slot(connection)
        seen = slot.fetches if seen is None else seen
        since = self._clock() - max_age
        with slot.lock:
            entry = self.entries.get(connection)
            if entry is not None and entry.serves(self._clock(), min_ttl) and entry.received > since:
                return entry.token
            if slot.fetches != seen and slot.shared is not None:
                raise slot.shared.again()
            slot.shared = None
            try:
                return self._fetch_alone(connection, min_ttl, since, slot)
            except EvergrantError as error:
                slot.shared = error.again()
                raise
            finally:
                slot.fetches += 1

    def _fetch_alone(self, connection: str, min_ttl: float, since: float, slot: Slot) -> AccessToken:
        """Read the secret; ask getter if that is not enough; else make do with what still lives."""
        held = self._living(connection)
        failure = slot.getter_failure(self._clock())
        if held is not None and failure is not None and since == -math.inf and not isinstance(failure, _WITHDRAWN):
            return held
        unread = self._read(connection, slot)
        entry = self.entries.get(connection)
        if entry is not None and entry.serves(self._clock(), min_ttl) and entry.received >= since:
            return entry.token
        if failure is None:
            try:
                return self._ask(connection, min_ttl, None, slot)
            except EvergrantError as error:
                failure = error
        held = self._living(connection)
        if held is not None and not isinstance(failure, _WITHDRAWN):
            _log.warning("%s: nothing fresher can be had than a token that still lives. %s", connection, failure)
            return held
        if isinstance(failure, NotConfigured) and unread is not None:
            raise unread  # without getter, why the secret cannot be read is what there is to say
        raise failure

    def _read(self, connection: str, slot: Slot) -> EvergrantError | None:
        """Read the secret into the cache; return why it could not be read.

        Whatever the reason, getter may still have the token: short-lived ones have no secret, a policy on
        `tokens/*-??????` may not match a name that does not exist (access is then denied rather than the
        secret not found), and in an outage rotator serves from its own copy.
        """
        if self._prefix is None or not slot.secret_is_worth_a_look(self._clock()):
            return None
        found = False
        try:
            answer = self._aws.read_secret(connection, f"{self._prefix}/tokens/{connection}")
            if answer is not None:
                self._keep(connection, answer)
                found = True
        except EvergrantError as error:
            found = not isinstance(error, AccessDenied)
            return error
        finally:
            slot.looked_for_secret(found=found)
        return None

    def _ask(self, connection: str, min_ttl: float, rejected: str | None, slot: Slot) -> AccessToken:
        """Ask getter, with the fingerprint of the refused token if a refresh is to be forced."""
        # More than was asked for, so that what getter counts as enough is still enough on arrival.
        request: dict[str, object] = {"connection": connection, "min_ttl": math.ceil(min_ttl + 2 * SAFETY_SECONDS)}
        if rejected is not None:
            request["rejected"] = rejected
        try:
            entry = self._keep(connection, self._call_getter(connection, request), instead_of=rejected)
            now = self._clock()
            if entry.ended(now):
                raise TemporarilyUnavailable(f"The freshest token of {connection} has ended.", connection=connection)
        except EvergrantError as error:
            slot.leave_getter_alone(error, self._clock())
            if isinstance(error, _WITHDRAWN):
                self.entries.pop(connection, None)
            raise
        slot.getter_answered(now)
        if entry.token.warning:
            _log.warning("%s: %s", connection, entry.token.warning)
        if not entry.serves(now, min_ttl):
            entry.reach = max(entry.usable_until - now, 0.0)
        return entry.token

    def _call_getter(self, connection: str, request: dict[str, object]) -> Answer:
        if self._api is not None:
            return self._api.ask(connection, request)
        if self._getter is not None:
            return self._aws.invoke(connection, self._getter, request)
        raise NotConfigured(
            f"{connection} has no secret with a token fresh enough, and getter's name is not known.",
            connection=connection,
        )

    def _keep(self, connection: str, answer: Answer, *, instead_of: str | None = None) -> Entry:
        """Cache the token, unless a newer one lives: a late write may have put back an older secret.

        Getter's answer to a refusal is believed in any case: generations may go back if a table is restored.
        """
        token = read_token(connection, answer.text)
        now = self._clock()
        entry = self.entries.get(connection)
        if (
            entry is None
            or token.generation >= entry.token.generation
            or entry.token.fingerprint == instead_of
            or not entry.lives(now)
        ):
            entry = self.entries[connection] = Entry(token, now, answer.behind)
        return entry

    def _living(self, connection: str) -> AccessToken | None:
        entry = self.entries.get(connection)
        return entry.token if entry is not None and entry.lives(self._clock()) else None

    # After a refusal.

    def _other(self, connection: str, refused: str) -> AccessToken | None:
        held = self._living(connection)
        return held if held is not None and held.fingerprint != refused else None

    def reparse(self, connection: str, refused: str, seen: int) -> AccessToken | None:
        """Read the secret once more, unless somebody has since the mark `seen`; return the token if it is another."""
        slot = self.slot(connection)
        with slot.lock:
            other = self._other(connection, refused)
            if other is not None or slot.fetches != seen:
                return other
            self._read(connection, slot)
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
        with slot.lock:
            other = self._other(connection, refused)
            if other is not None:
                return other
            failure = slot.getter_failure(self._clock())
            if failure is not None:
                raise failure
            if slot.has_no_other(refused, self._clock()):
                return None
            token = self._ask(connection, min_ttl, refused, slot)
            if token.fingerprint == refused:
                slot.gave_again(refused, self._clock())
                return None
            return token

    def another(self, connection: str, min_ttl: float, rejected: str) -> AccessToken:
        """Return a token other than `rejected`: re-read, else renewed; an error if there is none."""
        _check(connection, min_ttl)
        refused = fingerprint(rejected)
        mark = self.fetches(connection)
        other = self.reparse(connection, refused, mark) or self.force(connection, refused, min_ttl)
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
