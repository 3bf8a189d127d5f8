"""Handle the token of one HTTP call, for every HTTP library.

1. Send with the token at hand.
2. The provider rejects it (a status in the profile's ``reject_statuses``): read the secret once more, and send again
   with another token.
3. It is rejected again, or the secret holds the same token: have getter renew it, once, and send again.
4. Otherwise the caller gets the provider's response unchanged.
"""

from __future__ import annotations

import logging

from ._client import Evergrant
from ._errors import EvergrantError
from ._tokens import AccessToken

_log = logging.getLogger("evergrant_client")


class Call:
    """The token of one call, and the two remedies that the call has against a rejection."""

    __slots__ = ("_connection", "_fetcher", "_forced", "_min_ttl", "_read_again", "_seen", "token")

    def __init__(self, evergrant: Evergrant, connection: str, min_ttl: float) -> None:
        self._fetcher = evergrant._fetcher
        self._connection = connection
        self._min_ttl = min_ttl
        self._read_again = False
        self._forced = False
        # Read here and at a rejection, before the caller queues for the lock: so it shares what others fetch meanwhile.
        self._seen = self._fetcher.count_fetches(connection)
        self.token: AccessToken | None = self._fetcher.find_cached(connection, min_ttl)

    @property
    def slot(self) -> object:
        """The slot that calls of one connection share."""
        return self._fetcher.slot(self._connection)

    def begin(self) -> AccessToken:
        """Return the token to send first. May block on the network unless `token` is set."""
        if self.token is None:
            self.token = self._fetcher.fetch(self._connection, self._min_ttl, seen=self._seen)
        return self.token

    def is_rejected(self, status: int) -> bool:
        """Whether the response rejects the token and a remedy is left to try."""
        if self.token is None or status not in self.token.reject_statuses or self._forced:
            return False
        self._seen = self._fetcher.count_fetches(self._connection)
        return True

    def fetch_other(self) -> AccessToken | None:
        """Return another token to send after a rejection, or None to give up. May block on the network.

        No error is raised: the caller has to see the provider's response, which may have another
        cause than the token. The reason why there is no other token is logged.
        """
        refused = self.begin()
        other = None
        if not self._read_again:
            self._read_again = True
            other = self._fetcher.read_again(self._connection, refused.fingerprint, self._seen)
        if other is None and not self._forced:
            self._forced = True
            try:
                other = self._fetcher.force(self._connection, refused.fingerprint, self._min_ttl)
            except EvergrantError as error:
                _log.warning("%s: the token was refused and could not be renewed. %s", self._connection, error)
        if other is not None:
            self.token = other
        return other
