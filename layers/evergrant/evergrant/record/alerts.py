"""What people are told of a connection, and when: an event's words, and the warnings before a grant ends. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..times import DAY_SECONDS
from .connection import UNPUBLISHED, EventType
from .remedies import find_remedy

#: Days before a grant ends on which somebody is warned.
WARNING_DAYS = (30, 7, 1)
#: What always needs a person. Other events say so themselves, by ``alert`` in their detail.
_NEEDS_A_PERSON = frozenset({EventType.AUTHORIZATION_REQUIRED, EventType.CLIENT_REFUSED, EventType.GRANT_EXPIRING})

#: What comes next where it is no further try.
_AGAIN = {
    "unreadable_response": "Its provider's answer is kept, and nothing is asked before a mended profile has read it."
}


def compute_first_warning_at(issued_at: int, ends_at: int) -> int | None:
    """When the first warning is due of a grant that ends at ``ends_at``; only such that come in its second half."""
    return _warning(ends_at, [days for days in WARNING_DAYS if 2 * days * DAY_SECONDS < ends_at - issued_at])


def compute_next_warning_at(ends_at: int, now: int) -> int | None:
    """When the next warning is due, after those that ``now`` is too late for."""
    return _warning(ends_at, [days for days in WARNING_DAYS if ends_at - days * DAY_SECONDS > now])


def _warning(ends_at: int, days: list[int]) -> int | None:
    return ends_at - max(days) * DAY_SECONDS if days else None


def is_alert(event: Mapping[str, Any]) -> bool:
    """Whether somebody has to hear of an event, not programs alone."""
    return EventType(event["type"]) in _NEEDS_A_PERSON or bool(event["detail"].get("alert", False))


def describe_event(event: Mapping[str, Any]) -> dict[str, Any]:
    """An event's detail as it is sent: with whether a person has to know, what happened, and the command that mends it.

    The words are for an e-mail; ``reason`` and the times are there for programs.
    """
    kind, detail = EventType(event["type"]), event["detail"]
    name, reason = detail["connection"], detail.get("reason", "")
    because = f" ({reason})" if reason else ""
    token = f" Its access token is valid until {detail['expires_at']}." if "expires_at" in detail else ""
    again = _AGAIN.get(reason, "It is tried again by itself.")
    connect, status = f"evergrant connect {name}", f"evergrant status {name}"
    degraded = f"{name} cannot be refreshed at present{because}.{token} {again}"
    if reason == UNPUBLISHED:
        degraded = (
            f"Secrets Manager does not take the new access token of {name}{because}: whoever reads the secret holds an "
            "older one, which lapses soon. It is tried again by itself; rotator's log says what stands in the way."
        )
    summary, command = {
        EventType.AUTHORIZED: (f"{name} is connected.", status),
        EventType.ROTATED: (f"{name} has a new access token.", status),
        EventType.DEGRADED: (degraded, find_remedy(reason, name, detail.get("client", ""))),
        EventType.RECOVERED: (f"{name} works again.", status),
        EventType.AUTHORIZATION_REQUIRED: (
            f"{name} cannot be refreshed any more{because}: somebody has to authorize it again.{token}",
            connect,
        ),
        EventType.CLIENT_REFUSED: (
            f"The credentials of client {detail.get('client', '')}, with which "
            f"{_and(detail.get('connections', [name]))} must be refreshed, are refused{because}. Nobody has to "
            f"authorize again; the client's entry has to be put right.{token}",
            f"evergrant client set {detail.get('client', '')}",
        ),
        EventType.GRANT_EXPIRING: (
            f"The grant of {name} ends at {detail.get('ends_at', '')}, and refreshing does not prolong it: "
            "somebody has to authorize it again before.",
            connect,
        ),
        EventType.DISCONNECTED: (f"{name} is disconnected.", status),
    }[kind]
    return {**detail, "alert": is_alert(event), "summary": summary, "command": command}


def _and(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last
