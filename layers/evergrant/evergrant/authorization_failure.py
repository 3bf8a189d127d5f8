"""How an authorization failed at the provider, in values that are ours or allow-listed. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

#: The authorization response (RFC 6749 section 4.1.2), the exchange of its code, the ID token that came with it, and
#: the question which account it is.
Step = Literal["authorization", "exchange", "id_token", "account"]


@dataclass(frozen=True, slots=True)
class AuthorizationFailure:
    """One failed step, for the log, the record and the operator who waits.

    Attributes
    ----------
    status
        The HTTP status of the token endpoint's response; None where there was none.
    error
        The OAuth error code if it is allow-listed; ``"refused"`` for another one.
    content_type
        The media type of the token endpoint's response, if it is a usual one.
    reason
        Why there is no response, as of :class:`~evergrant.errors.NotSent` and :class:`~evergrant.errors.LostResponse`,
        or what is wrong with it: ``unreadable``, ``no_code``, ``other_issuer``,
        ``other_redirect_uri``, ``other_account``, or the claim of the ID token.
    """

    step: Step
    status: int | None = None
    error: str | None = None
    content_type: str | None = None
    reason: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the fields that have a value."""
        return {name: value for name, value in asdict(self).items() if value is not None}
