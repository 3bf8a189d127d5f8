"""A profile from what an authorization server publishes of itself, and what that cannot tell. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Literal
from urllib.parse import urlsplit

from ..errors import InvalidMetadata
from ..names import check_provider
from .metadata import Metadata
from .model import Documentation, ExpiryRule, Profile, Response
from .request_specs import Authorize, Revoke, TokenRequest

ClientAuth = Literal["post", "basic", "basic_raw", "none", "private_key_jwt"]

#: RFC 8414's names, the preferred one first: HTTP Basic comes in two spellings, of which a server may take only one; a
#: key has to be registered first; and a client without any proof is the last resort.
_CLIENT_AUTH: dict[str, ClientAuth] = {
    "client_secret_post": "post",
    "client_secret_basic": "basic",
    "private_key_jwt": "private_key_jwt",
    "none": "none",
}
_SIGNATURES = {"RS256", "ES256"}
#: What hosts of authorization servers are called, and says nothing about whose they are.
_COMMON = {"www", "login", "auth", "account", "accounts", "sso", "id", "identity", "oauth", "oauth2", "api", "idp"}

_LIFE_OF_REFRESH_TOKENS = (
    "Not known: how long a refresh token lives. Unless the token answers say it, nobody is warned before it lapses; "
    "write what the provider documents into response.refresh_expires."
)
_ROTATION = (
    "Assumed: each refresh brings a new refresh token and ends the old one at once, which is the safe assumption. "
    "Where that is not so, set rotation.rotates = false, or rotation.reuse_grace."
)


def suggest_name(issuer: str) -> str:
    """A provider's name from its issuer's host: ``acme`` of ``https://login.acme.example``."""
    labels = re.sub(r"[^a-z0-9.-]", "", (urlsplit(issuer).hostname or "").lower()).strip(".").split(".")
    if len(labels) > 1 and not labels[-1].isdecimal():  # else an address
        labels = labels[:-1]
    while len(labels) > 1 and labels[0] in _COMMON:
        del labels[0]
    return "-".join(label for label in labels if label)[:40].strip("-") or "provider"


def build_profile(metadata: Metadata, name: str, now: int) -> Profile:
    """The profile of an authorization server.

    Lists that are absent exclude nothing: by RFC 8414 section 2 no ``grant_types_supported`` would mean that there is
    no refresh, which is true of hardly any server that leaves it out.

    Parameters
    ----------
    name
        The provider's name.
    now
        Epoch seconds: when the metadata were read.

    Raises
    ------
    InvalidName
    InvalidMetadata
        There is no token endpoint, or nothing that Evergrant could ask it for.
    """
    check_provider(name)
    token_url = metadata.endpoints.get("token_endpoint")
    if token_url is None:
        raise InvalidMetadata("The metadata name no token_endpoint.", "Ask the provider for its documented endpoints.")
    grants = metadata.lists["grant_types_supported"]
    auth, notes = _client_auth(metadata)
    request = TokenRequest(url=_template(token_url), client_auth=auth)
    authorize = _authorize(metadata, notes) if grants is None or "authorization_code" in grants else None
    client_credentials = request if grants is None or "client_credentials" in grants else None
    if authorize is None and client_credentials is None:
        raise InvalidMetadata(
            "By its metadata the server offers no grant that Evergrant could take up by itself: neither an "
            "authorization endpoint with authorization_code, nor client_credentials.",
            "Where its documentation says otherwise, write a profile by hand (docs/profiles.md).",
        )
    if authorize:
        notes += [_LIFE_OF_REFRESH_TOKENS, _ROTATION]
        if grants and "refresh_token" not in grants:
            notes.append("The metadata list no refresh_token grant. If there is none, somebody must authorize again.")
    if client_credentials and grants is None:
        notes.append("Not known: whether clients may have tokens of their own ([client_credentials]).")
    revocation_url = metadata.endpoints.get("revocation_endpoint")
    return Profile(
        name=name,
        title=urlsplit(metadata.issuer).hostname or name,
        documentation=_documentation(metadata, now),
        notes=tuple(notes),
        authorize=authorize,
        exchange=request if authorize else None,
        refresh=request if authorize else None,
        client_credentials=client_credentials,
        revoke=Revoke(url=_template(revocation_url), client_auth=_revoking(metadata, auth)) if revocation_url else None,
        response=_response(with_refresh=authorize is not None),
    )


def _authorize(metadata: Metadata, notes: list[str]) -> Authorize | None:
    url = metadata.endpoints.get("authorization_endpoint")
    if url is None:
        return None
    challenges = metadata.lists["code_challenge_methods_supported"]
    if challenges is None:
        notes.append(
            "Not known: whether the server takes a code challenge (PKCE). It is sent one, which by RFC 6749 section "
            "3.1 it must pass over; where it refuses, set authorize.pkce = false."
        )
    scopes = metadata.lists["scopes_supported"]
    if scopes is None:
        notes.append("Not known: the scopes, and whether refresh tokens have to be asked for. See authorize.scopes.")
    return Authorize(
        url=_template(url),
        scopes=("offline_access",) if scopes and "offline_access" in scopes else (),
        pkce=challenges is None or "S256" in challenges,
        # Announced or not: what comes as `iss` must be right (RFC 9207), and its absence is borne.
        issuer=metadata.issuer if metadata.issuer.startswith("https://") else None,
    )


def _client_auth(metadata: Metadata) -> tuple[ClientAuth, list[str]]:
    methods = metadata.lists["token_endpoint_auth_methods_supported"]
    if methods is None:
        return "basic", [
            "Assumed: the client proves itself by HTTP Basic, the default of RFC 8414 section 2. Where it is refused, "
            'try client_auth = "post" in each phase.'
        ]
    signatures = metadata.lists["token_endpoint_auth_signing_alg_values_supported"]
    for method, auth in _CLIENT_AUTH.items():
        if method in methods and (auth != "private_key_jwt" or signatures is None or _SIGNATURES & set(signatures)):
            return auth, []
    raise InvalidMetadata(
        "The token endpoint takes no client authentication that Evergrant has: "
        f"{', '.join(_CLIENT_AUTH)} (the third signed with {' or '.join(sorted(_SIGNATURES))}).",
        "Where its documentation says otherwise, write a profile by hand (docs/profiles.md).",
    )


def _revoking(metadata: Metadata, auth: ClientAuth) -> ClientAuth:
    """As at the token endpoint wherever that may be (RFC 7009 section 2.1)."""
    methods = metadata.lists["revocation_endpoint_auth_methods_supported"] or ()
    offered = [_CLIENT_AUTH[method] for method in _CLIENT_AUTH if method in methods]
    return offered[0] if offered and auth not in offered else auth


def _response(*, with_refresh: bool) -> Response:
    """``expires_in`` is only recommended (RFC 6749 section 5.1); the token itself may say, if it is a JWT."""
    expires = (ExpiryRule(path="expires_in"), ExpiryRule(jwt="access_token"))
    stated = ("refresh_token_expires_in", "refresh_expires_in") if with_refresh else ()
    return Response(expires=expires, refresh_expires=tuple(ExpiryRule(path=path) for path in stated))


def _documentation(metadata: Metadata, now: int) -> tuple[Documentation, ...]:
    day = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d")
    return tuple(
        Documentation(url=source.url, read=day, says="the server's own metadata")
        for source in metadata.sources
        if source.used
    )


def _template(url: str) -> str:
    """A checked URL as a profile writes it: with braces doubled, and https even for one's own server on loopback."""
    return f"https://{url.partition('://')[2]}".replace("{", "{{").replace("}", "}}")
