"""Where a connection stands, and the events that report it. Which changes are legal: :mod:`.state_machine`."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """Where a connection stands."""

    AWAITING_AUTHORIZATION = "awaiting_authorization"
    ACTIVE = "active"
    DEGRADED = "degraded"
    AUTHORIZATION_REQUIRED = "authorization_required"
    CLIENT_REFUSED = "client_refused"
    PAUSED = "paused"
    DISCONNECTED = "disconnected"


#: States in which nothing is sent to the provider.
INACTIVE_STATUSES = frozenset({Status.PAUSED, Status.DISCONNECTED})
#: States in which a person has to authorize.
STATUSES_WITHOUT_GRANT = frozenset({Status.AUTHORIZATION_REQUIRED, Status.AWAITING_AUTHORIZATION})


class EventType(StrEnum):
    """The ``detail-type`` of each event on the bus."""

    AUTHORIZED = "Connection Authorized"
    ROTATED = "Token Rotated"
    DEGRADED = "Connection Degraded"
    RECOVERED = "Connection Recovered"
    AUTHORIZATION_REQUIRED = "Authorization Required"
    CLIENT_REFUSED = "Client Refused"
    GRANTS_REFUSED = "Grants Refused"
    GRANT_EXPIRING = "Grant Expiring"
    SCOPE_REDUCED = "Scope Reduced"
    DISCONNECTED = "Connection Disconnected"
