"""The authorization request: the URL to which the browser is sent (RFC 6749 section 4.1.1)."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, urlencode

from ..profiles.model import Profile
from ..profiles.request_specs import Authorize
from ..profiles.templates import fill_params, fill_url

_PARAMS = {
    "response_type": "code",
    "client_id": "{client_id}",
    "redirect_uri": "{redirect_uri}",
    "scope": "{scope}",
    "state": "{state}",
}
_NONCE_PARAMS = {"nonce": "{nonce}"}
_PKCE_PARAMS = {"code_challenge": "{code_challenge}", "code_challenge_method": "S256"}


def build_authorization_url(
    profile: Profile, variables: Mapping[str, str], values: Mapping[str, str | None], *, loopback: bool = False
) -> str:
    """Build the URL to which the browser is sent (PKCE: RFC 7636 section 4.3).

    Parameters
    ----------
    values
        client_id, redirect_uri, scope, state and, with PKCE, code_challenge. Where the profile reads the account's
        subject from an ID token, also nonce (OpenID Connect Core 1.0 section 3.1.2.1).
    loopback
        Set by the local run alone: requests to a host on loopback use plain HTTP.
    """
    authorize = profile.authorize or Authorize(url="")
    nonce = _NONCE_PARAMS if profile.subject and profile.subject.source == "id_token" else {}
    templates = {**_PARAMS, **(_PKCE_PARAMS if authorize.pkce else {}), **nonce, **authorize.params}
    params = fill_params(templates, {**variables, **values})
    return f"{fill_url(authorize.url, variables, loopback=loopback)}?{urlencode(params, quote_via=quote)}"
