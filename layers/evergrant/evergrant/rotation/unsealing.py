"""The sealed token sets of records, opened."""

from __future__ import annotations

from ..oauth.token_set import TokenSet
from ..ports import Seal
from ..record.connection import Connection
from ..record.sealed import Sealed


class SealedTokenSets:
    """Opens token sets. The current one of a connection is opened once per generation and pass: each call is in KMS."""

    def __init__(self, seal: Seal) -> None:
        self._seal = seal
        self._last: tuple[tuple[str, int], TokenSet] | None = None

    def open_current(self, connection: Connection) -> TokenSet | None:
        """Open a connection's current token set, None when there is none. Raises PortUnavailable, SealBroken."""
        if connection.sealed is None:
            return None
        key = connection.name, connection.generation
        if self._last is None or self._last[0] != key:
            self._last = key, self.open(connection.sealed, *key)
        return self._last[1]

    def open(self, sealed: Sealed, name: str, generation: int) -> TokenSet:
        """Open a token set that was sealed for this connection and generation. Raises PortUnavailable, SealBroken."""
        return TokenSet.decode(self._seal.unseal(sealed, name, generation))
