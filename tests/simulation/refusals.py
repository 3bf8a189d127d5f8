"""The ways in which real servers refuse one connection for ever, each with the truth behind it.

Each was seen at the provider that is named; the bodies are shortened. See ``tests/field`` for their sources.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.simulation import scripts
from tests.simulation.scripts import Answer, Truth


@dataclass(frozen=True)
class Refusal:
    """What a provider answers to one connection, for ever."""

    provider: str
    answer: Answer
    truth: Truth = "grant"


REFUSALS = {
    "invalid_grant": Refusal("keap", scripts.error(400, "invalid_grant")),
    "atlassian": Refusal("atlassian", scripts.error(403, "unauthorized_client", "refresh_token is invalid")),
    "microsoft": Refusal(
        "microsoft",
        scripts.error(400, "unauthorized_client", "AADSTS700016: Application was not found in the directory"),
    ),
    "exact-online": Refusal("exact-online", scripts.error(401, "unauthorized_client", "Old refresh token used.")),
    "zoho": Refusal("zoho", scripts.error(400, "invalid_client"), "client"),
    "bitbucket": Refusal("bitbucket", scripts.error(400, "invalid_request", "Invalid refresh_token")),
    "shopify": Refusal(
        "shopify", scripts.error(401, "invalid_request", "This request requires an active refresh_token")
    ),
    "lemonldap": Refusal("keycloak", scripts.error(400, "invalid_request"), "request"),
    "too early": Refusal(
        "exact-online",
        scripts.error(400, "access_denied", "Rate limit exceeded: access_token not expired"),
        "request",
    ),
    "empty 400": Refusal("asana", scripts.says(400)),
    "empty 401": Refusal("box", scripts.says(401)),
    "a framework's 400": Refusal("calendly", scripts.says(400, {"status": 400, "error": "Bad Request"})),
    "a page for one": Refusal("xero", scripts.page(403), "provider"),
}
