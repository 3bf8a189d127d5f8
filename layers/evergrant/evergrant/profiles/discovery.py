"""A profile built from an authorization server's metadata, and notes on what the metadata leave open. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Literal
from urllib.parse import urlsplit

from ..errors import InvalidMetadata
from ..names import check_provider
from .metadata import Metadata
from .model import Documentation, Profile, Subject
from .request_specs import Authorize, Revoke, TokenRequest
from .response_specs import ExpiryRule, Response

ClientAuth = Literal["post", "basic", "basic_raw", "none", "private_key_jwt"]

#: RFC 8414's names, the preferred one first. HTTP Basic has two encodings, of which a server may accept only one; a key
#: has to be registered first; an unauthenticated client is the last resort.
_CLIENT_AUTH_BY_METHOD: dict[str, ClientAuth] = {
    "client_secret_post": "post",
    "client_secret_basic": "basic",
    "private_key_jwt": "private_key_jwt",
    "none": "none",
}
_SIGNING_ALGORITHMS = {"RS256", "ES256"}
#: The first labels of many authorization servers' hosts, which do not name the provider.
_GENERIC = {"www", "login", "auth", "account", "accounts", "sso", "id", "identity", "oauth", "oauth2", "api", "idp"}

#: What an OpenID server is asked for, where it lists them.
_OPENID_SCOPES = ("openid", "offline_access")

_LIFETIME_NOTE = (
    "Not known: how long a refresh token lives. Unless token responses say it, Evergrant cannot warn before it "
    "expires; write the lifetime that the provider documents into response.refresh_expires."
)
_ROTATION_NOTE = (
    "Assumed: each refresh brings a new refresh token and ends the old one at once, which is the safe assumption. "
    "If the provider documents otherwise, set rotation.rotates = false, or rotation.reuse_grace."
)


def suggest_name(issuer: str) -> str:
    """Suggest a provider's name from its issuer's host: ``acme`` for ``https://login.acme.example``."""
    labels = re.sub(r"[^a-z0-9.-]", "", (urlsplit(issuer).hostname or "").lower()).strip(".").split(".")
    if len(labels) > 1 and not labels[-1].isdecimal():  # a decimal label ends an IP address
        labels = labels[:-1]
    while len(labels) > 1 and labels[0] in _GENERIC:
        del labels[0]
    return "-".join(label for label in labels if label)[:40].strip("-") or "provider"


def build_profile(metadata: Metadata, name: str, now: int) -> Profile:
    """Build the profile of an authorization server from its metadata.

    An absent list excludes nothing. By RFC 8414 section 2 an absent ``grant_types_supported`` would mean that the
    server has no refresh, but most servers that leave it out do have one.

    Parameters
    ----------
    name
        The provider's name.
    now
        Epoch seconds at which the metadata were read.

    Raises
    ------
    InvalidName
    InvalidMetadata
        There is no token endpoint, or no grant that Evergrant can obtain there.
    """
    check_provider(name)
    token_url = metadata.endpoints.get("token_endpoint")
    if token_url is None:
        raise InvalidMetadata("The metadata name no token_endpoint.", "Ask the provider for its documented endpoints.")
    grants = metadata.lists["grant_types_supported"]
    auth, notes = _choose_client_auth(metadata)
    request = TokenRequest(url=_write_template(token_url), client_auth=auth)
    authorize = _build_authorize(metadata, notes) if grants is None or "authorization_code" in grants else None
    client_credentials = request if grants is None or "client_credentials" in grants else None
    if authorize is None and client_credentials is None:
        raise InvalidMetadata(
            "The metadata offer no grant that Evergrant can obtain: neither an authorization endpoint with "
            "authorization_code, nor client_credentials.",
            "If the provider's documentation says otherwise, write a profile by hand (docs/profiles.md).",
        )
    if authorize:
        notes += [_LIFETIME_NOTE, _ROTATION_NOTE]
        if grants and "refresh_token" not in grants:
            notes.append(
                "The metadata list no refresh_token grant. If there is none, the account's owner must authorize again "
                "whenever a token expires."
            )
    if client_credentials and grants is None:
        notes.append("Not known: whether a client may obtain tokens for itself ([client_credentials]).")
    revocation_url = metadata.endpoints.get("revocation_endpoint")
    subject = _choose_subject(metadata, authorize)
    return Profile(
        name=name,
        title=urlsplit(metadata.issuer).hostname or name,
        documentation=_build_documentation(metadata, now),
        notes=tuple(notes),
        authorize=authorize,
        exchange=request if authorize else None,
        refresh=request if authorize else None,
        client_credentials=client_credentials,
        revoke=Revoke(url=_write_template(revocation_url), client_auth=_choose_revocation_auth(metadata, auth))
        if revocation_url
        else None,
        subject=subject,
        response=_build_response(with_refresh=authorize is not None),
    )


def _build_authorize(metadata: Metadata, notes: list[str]) -> Authorize | None:
    url = metadata.endpoints.get("authorization_endpoint")
    if url is None:
        return None
    challenges = metadata.lists["code_challenge_methods_supported"]
    if challenges is None:
        notes.append(
            "Not known: whether the server supports PKCE. A code challenge is sent, which a server that does not "
            "know it must ignore (RFC 6749 section 3.1); if it refuses the request, set authorize.pkce = false."
        )
    scopes = metadata.lists["scopes_supported"]
    if scopes is None:
        notes.append(
            "Not known: the scopes, and whether a refresh token needs a scope of its own. See authorize.scopes."
        )
    issuer = metadata.issuer if metadata.issuer.startswith("https://") else None
    asked = tuple(scope for scope in _OPENID_SCOPES if scopes and scope in scopes)
    return Authorize(
        url=_write_template(url),
        scopes=asked,
        # OpenID Connect Core 1.0 section 11: offline_access is ignored without a prompt for consent.
        params={"prompt": "consent"} if asked == _OPENID_SCOPES else {},
        pkce=challenges is None or "S256" in challenges,
        # Whether announced or not: an `iss` that comes must be right. Where it is announced it always comes (RFC 9207).
        issuer=issuer,
        issuer_always=issuer is not None and metadata.announces_iss,
    )


def _choose_subject(metadata: Metadata, authorize: Authorize | None) -> Subject | None:
    """Recognize the account by the ID token, which an OpenID server sends for the scope ``openid``."""
    if authorize is None or authorize.issuer is None or "openid" not in authorize.scopes:
        return None
    return Subject(source="id_token", issuers=(_write_template(metadata.issuer),))


def _choose_client_auth(metadata: Metadata) -> tuple[ClientAuth, list[str]]:
    methods = metadata.lists["token_endpoint_auth_methods_supported"]
    if methods is None:
        return "basic", [
            "Assumed: the client authenticates by HTTP Basic, the default of RFC 8414 section 2. If that is refused, "
            'try client_auth = "post" in each phase.'
        ]
    signatures = metadata.lists["token_endpoint_auth_signing_alg_values_supported"]
    can_sign = signatures is None or _SIGNING_ALGORITHMS & set(signatures)
    possible = [method for method in _CLIENT_AUTH_BY_METHOD if method in methods]
    usable = [method for method in possible if can_sign or _CLIENT_AUTH_BY_METHOD[method] != "private_key_jwt"]
    if usable:
        # A client is registered for one method, which has to do for the revocation endpoint too.
        revoking = metadata.lists["revocation_endpoint_auth_methods_supported"] or usable
        chosen = next((method for method in usable if method in revoking), usable[0])
        others = [method for method in usable if method != chosen and method != "none"]
        return _CLIENT_AUTH_BY_METHOD[chosen], [_write_method_note(chosen, others)] if others else []
    raise InvalidMetadata(
        "The token endpoint accepts no client authentication that Evergrant supports: "
        f"{', '.join(_CLIENT_AUTH_BY_METHOD)} (the third signed with {' or '.join(sorted(_SIGNING_ALGORITHMS))}).",
        "If the provider's documentation says otherwise, write a profile by hand (docs/profiles.md).",
    )


def _write_method_note(chosen: str, others: list[str]) -> str:
    return (
        f"Assumed: the client is registered for {chosen}. The server also offers {', '.join(others)}. If the exchange "
        "is refused with invalid_client, set client_auth in each phase to what the client is registered for."
    )


def _choose_revocation_auth(metadata: Metadata, auth: ClientAuth) -> ClientAuth:
    """Choose the method of the token endpoint where the revocation endpoint allows it (RFC 7009 section 2.1)."""
    methods = metadata.lists["revocation_endpoint_auth_methods_supported"] or ()
    offered = [_CLIENT_AUTH_BY_METHOD[method] for method in _CLIENT_AUTH_BY_METHOD if method in methods]
    return offered[0] if offered and auth not in offered else auth


def _build_response(*, with_refresh: bool) -> Response:
    """Build the expiry rules: ``expires_in`` is only recommended (RFC 6749 section 5.1); a JWT has its ``exp``."""
    expires = (ExpiryRule(path="expires_in"), ExpiryRule(jwt="access_token"))
    stated = ("refresh_token_expires_in", "refresh_expires_in") if with_refresh else ()
    return Response(expires=expires, refresh_expires=tuple(ExpiryRule(path=path, zero="never") for path in stated))


def _build_documentation(metadata: Metadata, now: int) -> tuple[Documentation, ...]:
    day = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d")
    return tuple(
        Documentation(url=source.url, read=day, says="the server's own metadata")
        for source in metadata.sources
        if source.used
    )


def _write_template(url: str) -> str:
    """Write a checked URL as a template: with braces doubled, and https even for a server on loopback."""
    return f"https://{url.partition('://')[2]}".replace("{", "{{").replace("}", "}}")
