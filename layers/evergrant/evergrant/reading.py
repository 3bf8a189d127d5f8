"""getter's answer: from memory, else from the secret, else from rotator. Imports as little as can be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from .secret import fingerprint

#: Answered from memory or the secret only if it lives for longer than this, in seconds, whatever was asked.
LEAST_TTL = 10
#: Memory is believed for so long, in seconds: then a token that was replaced or withdrawn is noticed, while it lives.
MEMORY = 60

Document = dict[str, Any]
#: When the token expires (epoch seconds), and its document.
_Held = tuple[float, Document]
_NOTHING: tuple[float, _Held | None] = (0.0, None)


class Reader:
    """Finds a document that is fresh enough, at the least cost.

    Parameters
    ----------
    read_secret
        Connection to its published document, None where there is none.
    ask_rotator
        Request to rotator's answer: a document, or ``{"error": {...}}``.
    now
        Epoch seconds.
    """

    def __init__(
        self,
        read_secret: Callable[[str], Document | None],
        ask_rotator: Callable[[Mapping[str, Any]], Document],
        now: Callable[[], float],
    ) -> None:
        self._read_secret = read_secret
        self._ask_rotator = ask_rotator
        self._now = now
        self._memory: dict[str, tuple[float, _Held | None]] = {}

    def read(self, connection: str, min_ttl: int = 0, rejected: str | None = None) -> Document:
        """The token document with ``expires_in`` (seconds), or ``{"error": {...}}``.

        Parameters
        ----------
        connection
            A name that has been checked.
        min_ttl
            How long the token must live yet, in seconds.
        rejected
            The fingerprint of a token that the provider's API refused: another one is wanted.
        """
        believed_until, held = self._memory.get(connection, _NOTHING)
        if held and self._now() < believed_until and self._fits(held, min_ttl, rejected):
            return self._answer(held)
        document = self._read_secret(connection)
        if document:
            held = self._hold(connection, document)
            if self._fits(held, min_ttl, rejected):
                return self._answer(held)
        request = {"connection": connection, "min_ttl": min_ttl}
        answer = self._ask_rotator({**request, "rejected": rejected} if rejected else request)
        if "error" in answer:
            # While a refresh cannot be had, a token that is valid yet is better than none.
            passing = answer["error"].get("code") == "temporarily_unavailable"
            if passing and held and self._fits(held, 0, rejected):
                return self._answer(held)
            self._memory.pop(connection, None)
            return answer
        answer.pop("expires_in", None)
        return self._answer(self._hold(connection, answer))

    def _fits(self, held: _Held, min_ttl: int, rejected: str | None) -> bool:
        expires_at, document = held
        return expires_at - self._now() > max(min_ttl, LEAST_TTL) and fingerprint(document["access_token"]) != rejected

    def _hold(self, connection: str, document: Document) -> _Held:
        held = datetime.fromisoformat(document["expires_at"]).timestamp(), document
        self._memory[connection] = self._now() + MEMORY, held
        return held

    def _answer(self, held: _Held) -> Document:
        expires_at, document = held
        return {**document, "expires_in": max(int(expires_at - self._now()), 0)}
