"""getter's answer: from memory, else from the secret, else from rotator. Imports as little as can be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from math import inf
from typing import Any

from ..secret import fingerprint

#: Answered from memory or the secret only if it lives for longer than this, in seconds, whatever was asked.
MIN_TTL_SECONDS = 10
#: Memory is believed for so long, in seconds: then a token that was replaced or withdrawn is noticed, while it lives.
MEMORY_SECONDS = 60
#: A published token is refreshed ten minutes before its end; where so many seconds are left, rotator knows why it was
#: not, and says so in a warning.
OVERDUE_SECONDS = 300

Document = dict[str, Any]
#: When the token expires (epoch seconds), and its document.
_Held = tuple[float, Document]


@dataclass(slots=True)
class _Slot:
    """What is known of one connection, and how the latest fetch ended for those who waited for it.

    ``reach`` is how long the freshest token there was had to live, in seconds, when it was less than somebody asked
    for. ``kept`` is the fingerprint of a refused token that rotator did not replace; ``warning`` is rotator's.
    """

    lock: AbstractContextManager[Any]
    held: _Held | None = field(default=None, repr=False)
    believed_until: float = 0.0
    reach: float = inf
    kept: str | None = None
    warning: Document | None = None
    fetches: int = 0
    failed: tuple[str | None, Document] | None = field(default=None, repr=False)


class TokenReader:
    """Finds a document that is fresh enough, at the least cost. For one connection one fetch is under way at a time.

    Parameters
    ----------
    read_secret
        Connection to its published document, None where there is none.
    ask_rotator
        Request to rotator's answer: a document, or ``{"error": {...}}``.
    now
        Epoch seconds.
    make_lock
        Makes the lock at which threads wait for a fetch of their connection; they share its outcome.
    """

    def __init__(
        self,
        read_secret: Callable[[str], Document | None],
        ask_rotator: Callable[[Mapping[str, Any]], Document],
        now: Callable[[], float],
        make_lock: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        self._read_secret = read_secret
        self._ask_rotator = ask_rotator
        self._now = now
        self._make_lock = make_lock
        self._slots: dict[str, _Slot] = {}

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
        slot = self._slots.get(connection) or self._slots.setdefault(connection, _Slot(self._make_lock()))
        answer = self._remembered(slot, min_ttl, rejected)
        if answer:
            return answer
        seen = slot.fetches
        with slot.lock:
            if slot.fetches != seen:
                answer = self._remembered(slot, min_ttl, rejected)
                if answer:
                    return answer
                if slot.failed and slot.failed[0] in (None, rejected):
                    return slot.failed[1]
            slot.failed = None
            answer = self._fetch(slot, connection, min_ttl, rejected)
            slot.fetches += 1
            if "error" in answer:
                slot.failed, slot.held = (rejected, answer), None
                self._slots.pop(connection, None)
            return answer

    def _fetch(self, slot: _Slot, connection: str, min_ttl: int, rejected: str | None) -> Document:
        """Learn what there is, and answer with it."""
        document = self._read_secret(connection)
        if document:
            held = self._hold(slot, document, MEMORY_SECONDS)
            if self._fits(slot, held, max(min_ttl, OVERDUE_SECONDS), rejected):
                return self._answer(slot, held, rejected)
        request = {"connection": connection, "min_ttl": min_ttl}
        answer = self._ask_rotator({**request, "rejected": rejected} if rejected else request)
        error: Document | None = answer.get("error")
        if not error:
            warning = answer.pop("warning", None)
            answer.pop("expires_in", None)
            held = self._hold(slot, answer, min(MEMORY_SECONDS, (warning or {}).get("retry_after", MEMORY_SECONDS)))
            if fingerprint(answer["access_token"]) == rejected:
                slot.kept = rejected
                # Rotator's cooldown begins with as much: ten seconds later it may well renew it.
                slot.believed_until = min(slot.believed_until, self._now() + MIN_TTL_SECONDS)
        elif error["code"] == "temporarily_unavailable" and slot.held and self._fits(slot, slot.held, 0, rejected):
            # While a refresh cannot be had, a token that is valid yet is better than none.
            warning, held = error, slot.held
            slot.believed_until = self._now() + min(MEMORY_SECONDS, error.get("retry_after", MIN_TTL_SECONDS))
        else:
            return answer
        slot.warning = warning
        if held[0] - self._now() <= min_ttl:
            slot.reach = held[0] - self._now()
        return self._answer(slot, held, rejected)

    def _remembered(self, slot: _Slot, min_ttl: int, rejected: str | None) -> Document | None:
        """The answer from memory. More than the tokens live cannot be had: then half of what there was is enough."""
        held, enough = slot.held, min_ttl if min_ttl < slot.reach else slot.reach / 2
        if held and self._now() < slot.believed_until and self._fits(slot, held, enough, rejected):
            return self._answer(slot, held, rejected)
        return None

    def _fits(self, slot: _Slot, held: _Held, min_ttl: float, rejected: str | None) -> bool:
        if held[0] - self._now() <= max(min_ttl, MIN_TTL_SECONDS):
            return False
        return rejected is None or rejected == slot.kept or fingerprint(held[1]["access_token"]) != rejected

    def _hold(self, slot: _Slot, document: Document, seconds: float) -> _Held:
        slot.held = held = datetime.fromisoformat(document["expires_at"]).timestamp(), document
        slot.believed_until = self._now() + seconds
        slot.reach, slot.kept, slot.warning = inf, None, None
        return held

    def _answer(self, slot: _Slot, held: _Held, rejected: str | None) -> Document:
        answer = {**held[1], "expires_in": max(int(held[0] - self._now()), 0)}
        # That a refused token was kept is the business of those who had it refused.
        return {**answer, "warning": slot.warning} if slot.warning and slot.kept in (None, rejected) else answer
