"""Refuse the authorization response of another provider than the one that was asked (RFC 9700 section 4.4).

In a mix-up attack, a malicious provider has an honest one answer in its place. The honest provider's code, and the code
verifier, would then be sent to the malicious one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..authorization_failure import AuthorizationFailure
from ..errors import InvalidIssuer
from ..link_errors import WrongProvider
from ..oauth.response_issuer import belongs_to_another, is_asked_issuer, list_issuers
from ..ports import KnownProfiles
from ..profiles.metadata import check_issuer
from ..profiles.model import Profile
from .links import Authorization

#: The parameter that names the issuer of the response (RFC 9207 section 2).
_ISSUER = "iss"


@dataclass(frozen=True, slots=True)
class MixUpDefence:
    """Checks an authorization response before anything is sent."""

    profiles: KnownProfiles

    def require_asked_provider(self, profile: Profile, authorization: Authorization, params: Mapping[str, str]) -> None:
        """Refuse the response of another server than the one asked.

        Where the profile knows its issuers, ``iss`` is one of them. Where it knows none, ``iss`` is not that of another
        known provider.

        Raises
        ------
        WrongProvider
        """
        issuer = params.get(_ISSUER)
        if issuer is None:
            refused = _must_name_issuer(profile, params)
        elif list_issuers(profile):
            refused = not is_asked_issuer(profile, authorization.variables, issuer)
        else:
            refused = belongs_to_another(issuer, profile.name, self.profiles.list_issuers())
        if refused:
            raise WrongProvider(
                "The answer came from another server than the one asked (RFC 9207).",
                failure=AuthorizationFailure("authorization", reason="other_issuer"),
            )


def find_unchecked_issuer(profile: Profile, params: Mapping[str, str]) -> str | None:
    """Return an issuer that the response names and the profile does not know; ``"unreadable"`` for what is none."""
    issuer = params.get(_ISSUER)
    if issuer is None or list_issuers(profile):
        return None
    try:
        check_issuer(issuer)
    except InvalidIssuer:
        return "unreadable"
    return issuer


def _must_name_issuer(profile: Profile, params: Mapping[str, str]) -> bool:
    """Whether the server names its issuer with every code. An error may lack it: after one, nothing is sent."""
    announced = profile.authorize is not None and profile.authorize.issuer_always
    return announced and not params.get(profile.callback.error)
