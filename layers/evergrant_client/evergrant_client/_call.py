"""What one HTTP call does about its token, whichever library sends it.

1. Send with the token at hand.
2. Refused (a status in the profile's ``reject_statuses``): read the secret once more. Another token? Send again.
3. Still refused, or the same token: have getter renew it, once. Another token? Send again.
4. Else the provider's answer goes to the caller as it is.
"""

from __future__ import annotations

import logging

from ._client import Evergrant
from ._errors import EvergrantError
from ._tokens import AccessToken

_log = logging.getLogger("evergrant_client")


class Call:
    """The token of one call, and the two remedies which the call has against a refusal."""

    __slots__ = ("_connection", "_fetcher", "_forced", "_min_ttl", "_reread", "_seen", "token")

    def __init__(self, evergrant: Evergrant, connection: str, min_ttl: float) -> None:
        self._fetcher = evergrant._fetcher
        self._connection = connection
        self._min_ttl = min_ttl
        self._reread = False
        self._forced = False
        # Taken here and at a refusal, on the caller's side of any queue: whoever waits shares what others learn.
        self._seen = self._fetcher.fetches(connection)
        self.token: AccessToken | None = self._fetcher.warm(connection, min_ttl)

    @property
    def slot(self) -> object:
        """What calls of one connection have in common."""
        return self._fetcher.slot(self._connection)

    def begin(self) -> AccessToken:
        """Return the token to send first; may block on the network unless `token` is there already."""
        if self.token is None:
            self.token = self._fetcher.fetch(self._connection, self._min_ttl, seen=self._seen)
        return self.token

    def refused(self, status: int) -> bool:
        """Say whether the answer means that the token is dead and there is a remedy left to try."""
        if self.token is None or status not in self.token.reject_statuses or self._forced:
            return False
        self._seen = self._fetcher.fetches(self._connection)
        return True

    def another(self) -> AccessToken | None:
        """Return another token to send after a refusal, or None to give up; may block on the network.

        No error is raised: the provider's refusal is what the caller must see, and it may have
        nothing to do with the token. Why there is no other token is logged.
        """
        refused = self.begin()
        other = None
        if not self._reread:
            self._reread = True
            other = self._fetcher.reparse(self._connection, refused.fingerprint, self._seen)
        if other is None and not self._forced:
            self._forced = True
            try:
                other = self._fetcher.force(self._connection, refused.fingerprint, self._min_ttl)
            except EvergrantError as error:
                _log.warning("%s: the token was refused and could not be renewed. %s", self._connection, error)
        if other is not None:
            self.token = other
        return other
