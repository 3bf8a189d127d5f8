"""The words of an event, for the e-mail of an alert and for programs. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from .connection import EXPIRED_ON_ARRIVAL, FAILS_ALONE, UNPUBLISHED
from .error_words import describe_code
from .remedies import (
    explain_both_readings,
    explain_final_refusal,
    explain_unauthorized_client,
    find_kind,
    find_remedy,
)
from .status import EventType

#: Events that are always alerts. Other events say so themselves, by ``alert`` in their detail.
_ALWAYS_ALERTS = frozenset({EventType.AUTHORIZATION_REQUIRED, EventType.GRANTS_REFUSED, EventType.GRANT_EXPIRING})

#: So many connections at most are listed in an event.
MAX_LISTED = 20
#: Events of a refusal, also where it came with an HTTP status of 500 or above.
_REFUSALS = frozenset({EventType.AUTHORIZATION_REQUIRED, EventType.CLIENT_REFUSED, EventType.GRANTS_REFUSED})

_TRIED_AGAIN = "Evergrant tries again by itself."


def is_alert(event: Mapping[str, Any]) -> bool:
    """Whether a person has to act on an event."""
    return EventType(event["type"]) in _ALWAYS_ALERTS or bool(event["detail"].get("alert", False))


def describe_event(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return an event's detail as it is sent: whether it is an alert, what happened, and the command that fixes it.

    The words are for an e-mail; ``reason`` and the times are for programs.
    """
    kind, detail = EventType(event["type"]), event["detail"]
    summary, command = _WORDS[kind](_Facts(detail, is_refusal=kind in _REFUSALS))
    return {**detail, "alert": is_alert(event), "summary": summary, "command": command}


@dataclass(frozen=True, slots=True)
class _Facts:
    """The detail of an event, as sentences are made of it. A sentence about what is unknown is empty."""

    detail: Mapping[str, Any]
    is_refusal: bool = False

    @property
    def name(self) -> str:
        return str(self.detail["connection"])

    @property
    def client(self) -> str:
        return str(self.detail.get("client", ""))

    @property
    def reason(self) -> str:
        return self.detail.get("reason") or ""

    @property
    def host(self) -> str:
        """The token endpoint's host."""
        return urlsplit(self.detail.get("endpoint") or "").hostname or ""

    @property
    def has_expired(self) -> bool:
        """Whether the access token had expired by then. Both times are RFC 3339 in UTC."""
        return bool(self.detail.get("expires_at", "9") <= self.detail.get("time", ""))

    @property
    def why(self) -> str:
        """The error in words, with host, HTTP status and media type."""
        if not self.reason:
            return ""
        detail, http_status = self.detail, self.detail.get("http_status")
        said = describe_code(self.reason, http_status, detail.get("http_detail"), is_refusal=self.is_refusal)
        return f": {said}{f' at {self.host}' if self.host else ''}"

    @property
    def token(self) -> str:
        """Until when the access token is valid."""
        if "expires_at" not in self.detail:
            return ""
        said = "expired at" if self.has_expired else "is valid until"
        return f" Its access token {said} {self.detail['expires_at']}."

    @property
    def others(self) -> str:
        """What an open circuit means for other connections."""
        if "open_since" not in self.detail:
            return ""
        return f" Since {self.detail['open_since']}, other connections of this endpoint wait for it, too."

    @property
    def connections(self) -> str:
        """The connections of an event that concerns several: all of them, or the first ones."""
        *others, last = names = [str(name) for name in self.detail.get("connections") or [self.name]]
        said = "They are" if len(names) < MAX_LISTED else "Among them are"
        return f"{said} {', '.join(others)} and {last}" if others else f"{said} {last}"


def _describe_degraded(facts: _Facts) -> tuple[str, str]:
    name, client, reason = facts.name, facts.client, facts.reason
    command = find_remedy(reason, name, client, detail=facts.detail.get("http_detail"), has_expired=facts.has_expired)
    if reason == UNPUBLISHED and facts.detail.get("http_detail"):
        return f"{name}{facts.why}. Consumers that read its secret have to ask getter.", command
    if reason == UNPUBLISHED:
        return (
            f"Secrets Manager does not take the new access token of {name} ({reason}): consumers of the secret read an "
            f"older one, which expires soon. {_TRIED_AGAIN} Rotator's log says why the write fails.",
            command,
        )
    if reason == EXPIRED_ON_ARRIVAL:
        return (
            f"The access tokens that {name} gets have expired when they come, as their provider states it ({reason}). "
            "They are used all the same, for an assumed lifetime. If the provider's API takes them, correct the expiry "
            "rules of the profile; if it does not, ask the provider.",
            command,
        )
    said = f"{name} cannot be refreshed at present{facts.why}.{facts.others}{facts.token}"
    return f"{said} {_say_what_follows(facts)}", command


def _say_what_follows(facts: _Facts) -> str:
    name, client, reason = facts.name, facts.client, facts.reason
    if reason == "unreadable_response":
        return "The provider's response is kept. Nothing is sent before a corrected profile has read it."
    if find_kind(reason) == "client_unauthorized":
        has_owner = "grant" not in facts.detail
        return explain_both_readings(name, client) if has_owner else explain_unauthorized_client(client)
    if find_kind(reason) == "grant_rejected":
        again = "Evergrant tries once more before it counts as final."
        at_once = f" Its owner can authorize it again at once: evergrant connect {name}." if facts.has_expired else ""
        return f"{again}{at_once}"
    return _TRIED_AGAIN


def _describe_authorization_required(facts: _Facts) -> tuple[str, str]:
    name = facts.name
    if facts.reason == FAILS_ALONE:
        said = (
            f"{name} has failed for hours{facts.why}. Look whether the account is suspended, limited or moved at the "
            f"provider; if not, its owner has to authorize it again. {_TRIED_AGAIN}"
        )
    else:
        explanation = explain_final_refusal(facts.reason)
        because = f": {explanation}" if explanation else ""
        said = f"{name} cannot be refreshed any more{facts.why}. Its owner has to authorize it again{because}."
    return f"{said}{facts.token}", f"evergrant connect {name}"


def _describe_client_refused(facts: _Facts) -> tuple[str, str]:
    return (
        f"The provider refuses the credentials of client {facts.client} for {facts.name}{facts.why}. No owner has to "
        f"authorize again: correct the client's entry, or the connection's variables.{facts.token}",
        f"evergrant client set {facts.client}",
    )


def _describe_grants_refused(facts: _Facts) -> tuple[str, str]:
    return (
        f"The provider refuses the grants of many connections of client {facts.client} at once{facts.why}. "
        f"{facts.connections}. Look at the provider's status page and the client's registration. Their owners are "
        "asked only if this lasts for two hours.",
        f"evergrant client show {facts.client or facts.name}",
    )


def _describe_expiring(facts: _Facts) -> tuple[str, str]:
    return (
        f"The grant of {facts.name} ends at {facts.detail.get('ends_at', '')}, and refreshing does not prolong it: "
        "its owner has to authorize it again before.",
        f"evergrant connect {facts.name}",
    )


def _describe_scope_reduced(facts: _Facts) -> tuple[str, str]:
    lost = facts.detail.get("lost_scope", "")
    said = f"The token of {facts.name} has fewer scopes than were granted; it lacks {lost}."
    return said, f"evergrant connect {facts.name}"


def _say(sentence: str) -> Callable[[_Facts], tuple[str, str]]:
    """Return a describer for an event of which there is nothing more to say."""
    return lambda facts: (f"{facts.name} {sentence}", f"evergrant status {facts.name}")


_WORDS: Mapping[EventType, Callable[[_Facts], tuple[str, str]]] = {
    EventType.AUTHORIZED: _say("is connected."),
    EventType.ROTATED: _say("has a new access token."),
    EventType.DEGRADED: _describe_degraded,
    EventType.RECOVERED: _say("works again."),
    EventType.AUTHORIZATION_REQUIRED: _describe_authorization_required,
    EventType.CLIENT_REFUSED: _describe_client_refused,
    EventType.GRANTS_REFUSED: _describe_grants_refused,
    EventType.GRANT_EXPIRING: _describe_expiring,
    EventType.SCOPE_REDUCED: _describe_scope_reduced,
    EventType.DISCONNECTED: _say("is disconnected."),
}
