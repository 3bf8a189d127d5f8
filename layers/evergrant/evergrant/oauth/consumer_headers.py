"""The headers with which consumers call a provider's API, and our own request to its userinfo endpoint."""

from __future__ import annotations

from collections.abc import Mapping

from ..http_messages import HttpRequest
from ..profiles.model import Profile
from .request_parts import fill_headers, fill_url
from .token_set import TokenSet


def build_consumer_headers(
    profile: Profile, variables: Mapping[str, str], tokens: TokenSet, grant: str | None = None
) -> dict[str, str]:
    """Build the headers with which a consumer calls the provider's API, ready to send.

    A pasted key (the grant ``static``) may have headers of its own in the profile.
    """
    known = {**variables, "access_token": tokens.access_token.reveal(), "token_type": tokens.token_type}
    own = profile.static.headers if profile.static and grant == "static" else {}
    return fill_headers(own or profile.consumer.headers, known)


def build_userinfo_request(
    profile: Profile, variables: Mapping[str, str], tokens: TokenSet, *, loopback: bool = False
) -> HttpRequest:
    """Build the request for the account's subject, authorized as a consumer's call is (see the profile's ``subject``).

    In OpenID Connect this is the UserInfo request (Core 1.0 section 5.3.1).
    """
    url = fill_url(profile.subject.url or "", variables, loopback=loopback) if profile.subject else ""
    given = build_consumer_headers(profile, variables, tokens)
    headers = {"accept": "application/json", **{name.lower(): value for name, value in given.items()}}
    return HttpRequest("GET", url, headers, b"")
