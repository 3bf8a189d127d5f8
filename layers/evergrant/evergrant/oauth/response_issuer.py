"""The issuer that an authorization response names as its own (RFC 9207): is it the one that was asked? Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from ..profiles.model import Profile
from ..profiles.templates import fill_template, find_names

#: Longer than any real issuer. A longer one belongs to none.
_MAX_CHARACTERS = 1000
#: Stands for a variable without a value, which may be any one segment.
_UNKNOWN = "\0"

#: The issuers of the known providers, as templates, by the provider's name.
Issuers = Mapping[str, Collection[str]]


def list_issuers(profile: Profile) -> tuple[str, ...]:
    """List the issuers that the profile knows of its provider, as templates; none where it knows none.

    ``authorize.issuer`` is the one that the authorization response names. Without it, those of the ID token count
    (OpenID Connect Core 1.0 section 2: the same identifier).
    """
    if profile.authorize and profile.authorize.issuer:
        return (profile.authorize.issuer.replace("{", "{{").replace("}", "}}"),)
    return profile.subject.issuers if profile.subject else ()


def is_asked_issuer(profile: Profile, variables: Mapping[str, str], issuer: str) -> bool:
    """Whether ``issuer`` is the provider's own, compared character by character (RFC 9207 section 2.4)."""
    return any(_matches(template, variables, issuer) for template in list_issuers(profile))


def belongs_to_another(issuer: str, provider: str, known: Issuers) -> bool:
    """Whether ``issuer`` is one of a known provider other than ``provider``, and not one of its own."""
    owners = {name for name, templates in known.items() if any(_matches(one, {}, issuer) for one in templates)}
    return bool(owners) and provider not in owners


def _matches(template: str, variables: Mapping[str, str], issuer: str) -> bool:
    if len(issuer) > _MAX_CHARACTERS:
        return False
    values = {name: variables.get(name, _UNKNOWN) for name in find_names(template)}
    filled = fill_template(template, values) or ""
    return re.fullmatch("[^/?#]+".join(map(re.escape, filled.split(_UNKNOWN))), issuer) is not None
