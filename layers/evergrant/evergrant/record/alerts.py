"""The words of an event, for the e-mail of an alert and for programs. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .connection import UNPUBLISHED
from .remedies import find_remedy
from .status import EventType

#: Events that are always alerts. Other events say so themselves, by ``alert`` in their detail.
_ALWAYS_ALERTS = frozenset({EventType.AUTHORIZATION_REQUIRED, EventType.GRANTS_REFUSED, EventType.GRANT_EXPIRING})

_TRIED_AGAIN = "Evergrant tries again by itself."
#: What follows an error after which nothing is tried again.
_NOT_TRIED_AGAIN = {
    "unreadable_response": "The provider's response is kept. Nothing is sent before a corrected profile has read it."
}


def is_alert(event: Mapping[str, Any]) -> bool:
    """Whether a person has to act on an event."""
    return EventType(event["type"]) in _ALWAYS_ALERTS or bool(event["detail"].get("alert", False))


def describe_event(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return an event's detail as it is sent: whether it is an alert, what happened, and the command that fixes it.

    The words are for an e-mail; ``reason`` and the times are for programs.
    """
    kind, detail = EventType(event["type"]), event["detail"]
    name, reason, client = detail["connection"], detail.get("reason", ""), detail.get("client", "")
    because = f" ({reason})" if reason else ""
    token = f" Its access token is valid until {detail['expires_at']}." if "expires_at" in detail else ""
    connect, status = f"evergrant connect {name}", f"evergrant status {name}"
    answered = _describe_answer(detail)
    degraded = (
        f"{name} cannot be refreshed at present{because}.{answered}{token} {_NOT_TRIED_AGAIN.get(reason, _TRIED_AGAIN)}"
    )
    if reason == UNPUBLISHED:
        degraded = (
            f"Secrets Manager does not take the new access token of {name}{because}: consumers of the secret read an "
            f"older one, which expires soon. {_TRIED_AGAIN} Rotator's log says why the write fails."
        )
    summary, command = {
        EventType.AUTHORIZED: (f"{name} is connected.", status),
        EventType.ROTATED: (f"{name} has a new access token.", status),
        EventType.DEGRADED: (degraded, find_remedy(reason, name, client)),
        EventType.RECOVERED: (f"{name} works again.", status),
        EventType.AUTHORIZATION_REQUIRED: (
            f"{name} cannot be refreshed any more{because}: its owner has to authorize it again.{token}",
            connect,
        ),
        EventType.CLIENT_REFUSED: (
            f"The provider refuses the credentials of client {client} for {name}{because}. No owner has to authorize "
            f"again: correct the client's entry, or the connection's variables.{token}",
            f"evergrant client set {client}",
        ),
        EventType.GRANTS_REFUSED: (
            f"The provider refuses the grants of many connections of client {client} at once{because}: "
            f"{_join(detail.get('connections', [name]))}. Look at the provider's status page and the client's "
            "registration. Their owners are asked only if this lasts for two hours.",
            "evergrant status",
        ),
        EventType.GRANT_EXPIRING: (
            f"The grant of {name} ends at {detail.get('ends_at', '')}, and refreshing does not prolong it: "
            "its owner has to authorize it again before.",
            connect,
        ),
        EventType.SCOPE_REDUCED: (
            f"The token of {name} has fewer scopes than were granted; it lacks {detail.get('lost_scope', '')}.",
            connect,
        ),
        EventType.DISCONNECTED: (f"{name} is disconnected.", status),
    }[kind]
    return {**detail, "alert": is_alert(event), "summary": summary, "command": command}


def _describe_answer(detail: Mapping[str, Any]) -> str:
    """Say which endpoint answered what, where that is known."""
    if "endpoint" not in detail or not ("http_status" in detail or "http_detail" in detail):
        return ""
    said = [f"HTTP {detail['http_status']}"] if "http_status" in detail else []
    said += [str(detail["http_detail"])] if "http_detail" in detail else []
    others = " Other connections of this endpoint wait, too." if "open_since" in detail else ""
    return f" {detail['endpoint']} answered: {', '.join(said)}.{others}"


def _join(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last
