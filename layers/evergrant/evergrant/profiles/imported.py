"""The profile with which an imported token set is read: the provider's own names, and those of the import. Pure."""

from __future__ import annotations

import msgspec

from .model import Profile
from .response_specs import ExpiryRule

#: The object that holds what the import knows, under the names of RFC 6749, in seconds.
IMPORTED = "evergrant_import"
EXPIRES_IN, REFRESH_EXPIRES_IN = f"{IMPORTED}.expires_in", f"{IMPORTED}.refresh_expires_in"


def build_import_profile(profile: Profile) -> Profile:
    """Build the profile that reads an imported set as it reads the provider's response.

    What the import knows comes before what the file says. The documented lifetime of an access token counts from a
    request, and says nothing of a token of unknown age.
    """
    spec = profile.response
    stated = tuple(rule for rule in spec.expires if rule.default is None)
    response = msgspec.structs.replace(
        spec,
        access_token=(f"{IMPORTED}.access_token", *spec.access_token),
        refresh_token=(f"{IMPORTED}.refresh_token", *spec.refresh_token),
        token_type=(f"{IMPORTED}.token_type", *spec.token_type),
        scope=(f"{IMPORTED}.scope", *spec.scope),
        expires=(ExpiryRule(path=EXPIRES_IN), *stated, ExpiryRule(jwt=f"{IMPORTED}.access_token")),
        refresh_expires=(ExpiryRule(path=REFRESH_EXPIRES_IN), *spec.refresh_expires),
        success_when=None,
    )
    return msgspec.structs.replace(profile, response=response)
