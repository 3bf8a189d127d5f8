"""Answer getter's callers from memory, else from the secret, else from rotator. Imports as little as possible."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from math import inf
from typing import Any

from ..secret import fingerprint

#: A token from memory or the secret must live for longer than this, in seconds, also where the caller asks for less.
MIN_TTL_SECONDS = 10
#: How long memory is trusted, in seconds: after that a token that was replaced or withdrawn is noticed.
MEMORY_SECONDS = 60
#: A published token is refreshed ten minutes before its end. With fewer than these seconds left it is overdue: rotator
#: knows the reason, and says it in a warning.
OVERDUE_SECONDS = 300

Document = dict[str, Any]
#: When the token expires (epoch seconds), and its document.
_Held = tuple[float, Document]


@dataclass(slots=True)
class _Slot:
    """What is known of one connection, and how the latest fetch ended for the threads that waited for it.

    ``best_ttl`` is the lifetime left, in seconds, of the freshest token there was, where a caller asked for more.
    ``not_replaced`` is the fingerprint of a rejected token that rotator did not replace. ``warning`` is rotator's.
    """

    lock: AbstractContextManager[Any]
    held: _Held | None = field(default=None, repr=False)
    trusted_until: float = 0.0
    best_ttl: float = inf
    not_replaced: str | None = None
    warning: Document | None = None
    fetches: int = 0
    failed: tuple[str | None, Document] | None = field(default=None, repr=False)


class TokenReader:
    """Finds a document that is fresh enough, at the least cost. Each connection has one fetch under way at a time.

    Parameters
    ----------
    read_secret
        Takes a connection, and returns its published document; None where there is none.
    ask_rotator
        Takes a request, and returns rotator's answer: a document, or ``{"error": {...}}``.
    now
        Returns epoch seconds.
    make_lock
        Makes the lock at which threads wait for a fetch of their connection. They share its outcome.
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
        """Return the token document with ``expires_in`` (seconds), or ``{"error": {...}}``.

        Parameters
        ----------
        connection
            A valid name.
        min_ttl
            The lifetime that the token must have left, in seconds.
        rejected
            The fingerprint of a token that the provider's API rejected: the caller wants another one.
        """
        slot = self._slots.get(connection) or self._slots.setdefault(connection, _Slot(self._make_lock()))
        answer = self._answer_from_memory(slot, min_ttl, rejected)
        if answer:
            return answer
        seen = slot.fetches
        with slot.lock:
            if slot.fetches != seen:
                answer = self._answer_from_memory(slot, min_ttl, rejected)
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
        """Read the secret, ask rotator where that is not enough, remember and answer."""
        document = self._read_secret(connection)
        if document:
            held = self._remember(slot, document, MEMORY_SECONDS)
            if self._is_enough(slot, held, max(min_ttl, OVERDUE_SECONDS), rejected):
                return self._build_answer(slot, held, rejected)
        request = {"connection": connection, "min_ttl": min_ttl}
        answer = self._ask_rotator({**request, "rejected": rejected} if rejected else request)
        error: Document | None = answer.get("error")
        if not error:
            warning = answer.pop("warning", None)
            answer.pop("expires_in", None)
            held = self._remember(slot, answer, min(MEMORY_SECONDS, (warning or {}).get("retry_after", MEMORY_SECONDS)))
            if fingerprint(answer["access_token"]) == rejected:
                slot.not_replaced = rejected
                # Rotator's cooldown starts at ten seconds: after that it may renew the token.
                slot.trusted_until = min(slot.trusted_until, self._now() + MIN_TTL_SECONDS)
        elif error["code"] == "temporarily_unavailable" and slot.held and self._is_enough(slot, slot.held, 0, rejected):
            # While no refresh is possible, a token that is still valid is better than none.
            warning, held = error, slot.held
            slot.trusted_until = self._now() + min(MEMORY_SECONDS, error.get("retry_after", MIN_TTL_SECONDS))
        else:
            return answer
        slot.warning = warning
        if held[0] - self._now() <= min_ttl:
            slot.best_ttl = held[0] - self._now()
        return self._build_answer(slot, held, rejected)

    def _answer_from_memory(self, slot: _Slot, min_ttl: int, rejected: str | None) -> Document | None:
        """Answer from memory. Where the caller asks for more than the tokens live, half of the best is enough."""
        held, enough = slot.held, min_ttl if min_ttl < slot.best_ttl else slot.best_ttl / 2
        if held and self._now() < slot.trusted_until and self._is_enough(slot, held, enough, rejected):
            return self._build_answer(slot, held, rejected)
        return None

    def _is_enough(self, slot: _Slot, held: _Held, min_ttl: float, rejected: str | None) -> bool:
        if held[0] - self._now() <= max(min_ttl, MIN_TTL_SECONDS):
            return False
        return rejected is None or rejected == slot.not_replaced or fingerprint(held[1]["access_token"]) != rejected

    def _remember(self, slot: _Slot, document: Document, seconds: float) -> _Held:
        slot.held = held = datetime.fromisoformat(document["expires_at"]).timestamp(), document
        slot.trusted_until = self._now() + seconds
        slot.best_ttl, slot.not_replaced, slot.warning = inf, None, None
        return held

    def _build_answer(self, slot: _Slot, held: _Held, rejected: str | None) -> Document:
        answer = {**held[1], "expires_in": max(int(held[0] - self._now()), 0)}
        # A warning about a rejected token that was not replaced is for the callers who rejected it.
        return {**answer, "warning": slot.warning} if slot.warning and slot.not_replaced in (None, rejected) else answer
