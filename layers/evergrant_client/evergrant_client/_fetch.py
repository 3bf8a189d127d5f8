"""Fetch tokens from the cache, the secret and getter; one fetch at a time for each connection.

Everything here but `Fetcher.find_cached` may block on the network.
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

# With these errors getter says that the cached token was withdrawn. The others say why there is no fresher one.
_WITHDRAWN = (Disconnected, UnknownConnection)


class Fetcher:
    """Holds one stack's tokens in this process, and fetches them.

    Parameters
    ----------
    prefix : str or None
        First part of the secrets' names; None where this process reads no secrets.
    getter : str or None
        Name or ARN of getter's function, or the URL of its API; None where it asks neither.
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
            from ._api import Api  # imports what it needs for URLs, which few consumers use

            self._api = Api(getter, aws, clock)
        self._clock = clock
        self._slots: dict[str, Slot] = {}

    def find_cached(self, connection: str, min_ttl: float) -> AccessToken | None:
        """Return the cached token if it is valid for `min_ttl` seconds more."""
        entry = self.entries.get(connection)
        if entry is not None and min_ttl >= 0 and entry.is_fresh(self._clock(), min_ttl):
            return entry.token
        return None

    def slot(self, connection: str) -> Slot:
        """Return the connection's slot."""
        return self._slots.get(connection) or self._slots.setdefault(connection, Slot())

    def count_fetches(self, connection: str) -> int:
        """Return the number of completed fetches. It shows after a wait whether another thread has fetched."""
        return self.slot(connection).fetches

    def fetch(
        self, connection: str, min_ttl: float, *, max_age: float = math.inf, seen: int | None = None
    ) -> AccessToken:
        """Return a token valid for `min_ttl` seconds more, or the best there is: see `Evergrant.token`.

        A token that was read longer ago than `max_age` seconds is read again. `seen` is the number of completed
        fetches when the caller began to wait, if that was earlier than now.
        """
        _require_valid(connection, min_ttl)
        slot = self.slot(connection)
        seen = slot.fetches if seen is None else seen
        since = self._clock() - max_age
        with slot.lock:
            entry = self.entries.get(connection)
            if entry is not None and entry.is_fresh(self._clock(), min_ttl) and entry.received > since:
                return entry.token
            if slot.fetches != seen and slot.shared is not None:
                raise slot.shared.copy()
            slot.shared = None
            try:
                return self._fetch_alone(connection, min_ttl, since, slot)
            except EvergrantError as error:
                slot.shared = error.copy()
                raise
            finally:
                slot.fetches += 1

    def _fetch_alone(self, connection: str, min_ttl: float, since: float, slot: Slot) -> AccessToken:
        """Read the secret; ask getter if that is not enough; otherwise use the token that is still valid."""
        held = self._find_valid(connection)
        failure = slot.find_failure(self._clock())
        if held is not None and failure is not None and since == -math.inf and not isinstance(failure, _WITHDRAWN):
            return held
        unread = self._read(connection, slot)
        entry = self.entries.get(connection)
        if entry is not None and entry.is_fresh(self._clock(), min_ttl) and entry.received >= since:
            return entry.token
        if failure is None:
            try:
                return self._ask(connection, min_ttl, None, slot)
            except EvergrantError as error:
                failure = error
        held = self._find_valid(connection)
        if held is not None and not isinstance(failure, _WITHDRAWN):
            _log.warning("%s: no token fresher than the cached one is available. %s", connection, failure)
            return held
        if isinstance(failure, NotConfigured) and unread is not None:
            raise unread  # without getter, the reason is why the secret cannot be read
        raise failure

    def _read(self, connection: str, slot: Slot) -> EvergrantError | None:
        """Read the secret into the cache; return the error where it could not be read.

        Getter may still have the token. Short-lived tokens have no secret. A policy on `tokens/*-??????` may not
        match a name that does not exist: then access is denied, and the secret is not reported as missing. In an
        outage rotator serves from its own copy.
        """
        if self._prefix is None or not slot.may_have_secret(self._clock()):
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
            slot.record_secret(found=found)
        return None

    def _ask(self, connection: str, min_ttl: float, rejected: str | None, slot: Slot) -> AccessToken:
        """Ask getter, with the fingerprint of the rejected token if a refresh is to be forced."""
        # More than the caller asked for, so that the token is still fresh enough on arrival.
        request: dict[str, object] = {"connection": connection, "min_ttl": math.ceil(min_ttl + 2 * SAFETY_SECONDS)}
        if rejected is not None:
            request["rejected"] = rejected
        try:
            entry = self._keep(connection, self._call_getter(connection, request), instead_of=rejected)
            now = self._clock()
            if entry.has_expired(now):
                raise TemporarilyUnavailable(f"The freshest token of {connection} has expired.", connection=connection)
        except EvergrantError as error:
            slot.record_failure(error, self._clock())
            if isinstance(error, _WITHDRAWN):
                self.entries.pop(connection, None)
            raise
        slot.record_answer(now)
        if entry.token.warning:
            _log.warning("%s: %s", connection, entry.token.warning)
        if not entry.is_fresh(now, min_ttl):
            entry.best_ttl = max(entry.usable_until - now, 0.0)
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
        """Cache the token, unless a newer one is valid: a late write may have put back an older secret.

        Getter's answer to a rejection is cached in any case: generations may go back if a table is restored.
        """
        token = read_token(connection, answer.text)
        now = self._clock()
        entry = self.entries.get(connection)
        if (
            entry is None
            or token.generation >= entry.token.generation
            or entry.token.fingerprint == instead_of
            or not entry.is_valid(now)
        ):
            entry = self.entries[connection] = Entry(token, now, answer.behind)
        return entry

    def _find_valid(self, connection: str) -> AccessToken | None:
        entry = self.entries.get(connection)
        return entry.token if entry is not None and entry.is_valid(self._clock()) else None

    # After a rejection.

    def _find_other(self, connection: str, refused: str) -> AccessToken | None:
        held = self._find_valid(connection)
        return held if held is not None and held.fingerprint != refused else None

    def read_again(self, connection: str, refused: str, seen: int) -> AccessToken | None:
        """Read the secret once more, unless another thread has since `seen`; return the token if it is another."""
        slot = self.slot(connection)
        with slot.lock:
            other = self._find_other(connection, refused)
            if other is not None or slot.fetches != seen:
                return other
            self._read(connection, slot)
            slot.shared = None
            slot.fetches += 1
            return self._find_other(connection, refused)

    def force(self, connection: str, refused: str, min_ttl: float) -> AccessToken | None:
        """Have getter renew the rejected token; return the new one, or None if there is none.

        Raises
        ------
        EvergrantError
            Getter could not renew it.
        """
        slot = self.slot(connection)
        with slot.lock:
            other = self._find_other(connection, refused)
            if other is not None:
                return other
            failure = slot.find_failure(self._clock())
            if failure is not None:
                raise failure
            if slot.has_no_other(refused, self._clock()):
                return None
            token = self._ask(connection, min_ttl, refused, slot)
            if token.fingerprint == refused:
                slot.record_no_other(refused, self._clock())
                return None
            return token

    def fetch_other(self, connection: str, min_ttl: float, rejected: str) -> AccessToken:
        """Return a token other than `rejected`: read again, else renewed. Raises an error if there is none."""
        _require_valid(connection, min_ttl)
        refused = fingerprint(rejected)
        mark = self.count_fetches(connection)
        other = self.read_again(connection, refused, mark) or self.force(connection, refused, min_ttl)
        if other is None:
            raise TemporarilyUnavailable(
                f"{connection} has no other token than the rejected one.",
                connection=connection,
                hint="If the provider goes on rejecting it, the cause is another than the token: look at its response.",
            )
        return other


def _require_valid(connection: str, min_ttl: float) -> None:
    check_name(connection)
    if not 0 <= min_ttl < math.inf:
        raise InvalidRequest("min_ttl is not a number of seconds.", connection=connection)
