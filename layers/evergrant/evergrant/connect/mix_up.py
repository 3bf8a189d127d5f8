"""Refuse the authorization response of another provider than the one that was asked (RFC 9700 section 4.4).

In a mix-up attack, a malicious provider has an honest one answer in its place. The honest provider's code, and the code
verifier, would then be sent to the malicious one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..authorization_failure import AuthorizationFailure
from ..errors import InvalidClient, InvalidIssuer
from ..link_errors import WrongProvider
from ..names import split_connection
from ..oauth.client import Client
from ..oauth.redirect_uris import OWN_PATH, read_own_provider
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

    def require_asked_provider(
        self, profile: Profile, authorization: Authorization, params: Mapping[str, str], arrived_for: str | None
    ) -> None:
        """Refuse the response of another server than the one asked.

        The right one arrived at the redirect URI that the request named. Where the profile knows its issuers, ``iss``
        is one of them. Where it knows none, ``iss`` is not that of another known provider.

        Parameters
        ----------
        arrived_for
            The provider in the path at which the response arrived; None for the path that all share.

        Raises
        ------
        WrongProvider
        """
        own = read_own_provider(authorization.redirect_uri)
        if arrived_for != own or own not in (None, split_connection(authorization.connection)[0]):
            raise WrongProvider(
                "The answer arrived at another redirect URI than the one that was asked for.",
                failure=AuthorizationFailure("authorization", reason="other_redirect_uri"),
            )
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


def require_mix_up_defence(profile: Profile, authorization: Authorization, client: Client) -> None:
    """Refuse an authorization whose redirect URI is not the client's, or whose code no mix-up defence protects.

    A public client's code and verifier are all that a malicious provider needs. So either the redirect URI is the
    provider's own, or the server names its issuer with every code, and the profile knows it (RFC 9700 section 4.4.2).

    Raises
    ------
    InvalidClient
    """
    has_own = read_own_provider(authorization.redirect_uri) is not None
    if has_own != (client.redirect_path == OWN_PATH):
        raise InvalidClient(
            f"The redirect URI {authorization.redirect_uri} is not that of client {client.name}.",
            f"Make a new link: `evergrant connect {authorization.connection}`.",
        )
    if not has_own and _is_public(profile, client) and not _always_names_issuer(profile):
        raise InvalidClient(
            f"Client {client.name} has no secret at {profile.name} and shares its redirect URI with other providers: "
            "another provider could obtain its codes.",
            f"Register {authorization.redirect_uri}/{profile.name} there, store the client under another name "
            f"(`evergrant client set NAME --provider {profile.name}`), and connect with `--client NAME`. If the server "
            "sends `iss` with every code, its profile can say so instead (authorize.issuer and issuer_always).",
        )


def _is_public(profile: Profile, client: Client) -> bool:
    """Whether the client does not authenticate when it exchanges a code (RFC 6749 section 2.1)."""
    is_unauthenticated = profile.exchange is None or profile.exchange.client_auth == "none"
    return is_unauthenticated or not (client.secrets or client.private_key)


def _always_names_issuer(profile: Profile) -> bool:
    return profile.authorize is not None and profile.authorize.issuer_always


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
    return _always_names_issuer(profile) and not params.get(profile.callback.error)
