"""Preview what a profile does: each phase's request, how consumers call the API, when a token is refreshed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from .masking import build_masked_request

if TYPE_CHECKING:
    from evergrant.oauth.token_request import Phase
    from evergrant.profiles.model import Profile

#: Where the profile documents no lifetime (seconds).
_USUAL_LIFETIME_SECONDS = 3600
_ORDER: tuple[Phase, ...] = ("exchange", "client_credentials", "login", "jwt_bearer", "refresh", "revoke")


def suggest_improvements(profile: Profile) -> Iterator[str]:
    """Suggest improvements of a valid profile, each with the key that it concerns."""
    if not profile.documentation:
        yield "documentation: the source of these facts is missing; the next editor of the profile needs it."
    if all(rule.default is None for rule in profile.response.expires):
        yield (
            "response.expires: no default. A response that does not say when its token expires cannot be used; give "
            "the documented lifetime as the last rule."
        )
    if profile.authorize and profile.refresh and not profile.response.refresh_expires:
        yield (
            "response.refresh_expires: missing. Without it no alert comes before a refresh token expires; give the "
            "field that says it, or the documented lifetime."
        )
    for name, variable in profile.variables.items():
        if not variable.describe:
            yield f"variables.{name}.describe: missing; it tells the operator which value to give."


def find_scope(profile: Profile, phase: Phase) -> str | None:
    """Find the scope that a connection requests unless its operator gives another."""
    from evergrant.profiles.model import HEADLESS_GRANTS

    return profile.join_scopes(phase if phase in HEADLESS_GRANTS else "authorization_code")


def bind_variables(profile: Profile, given: Mapping[str, str]) -> dict[str, str]:
    """Bind each variable to the given value, its default, or its name in capitals. Raises InvalidVariable."""
    import msgspec

    known = {name: item for name, item in profile.variables.items() if name in given or item.default is not None}
    bound = msgspec.structs.replace(profile, variables=known if given.keys() <= known.keys() else profile.variables)
    return {**{name: name.upper() for name in profile.variables}, **bound.bind(given)}


def build_requests(profile: Profile, variables: Mapping[str, str], now: int) -> Iterator[dict[str, Any]]:
    """Build the request of each phase, in the order in which the phases happen."""
    from evergrant.oauth.authorization_request import build_authorization_url

    if profile.authorize:
        scope = profile.join_scopes("authorization_code")
        stand_ins = {name: name.upper() for name in ("client_id", "redirect_uri", "state", "code_challenge")}
        url = build_authorization_url(profile, variables, {**stand_ins, "scope": scope})
        yield {"phase": "authorize", "in_browser": True, "method": "GET", "url": url, "headers": {}, "body": None}
    for phase in _ORDER:
        if getattr(profile, phase) is None:
            continue
        sets: list[tuple[str, ...]] = [()]
        if phase == "login" and profile.login:
            sets = list(profile.login.credentials)
        for names in sets:
            shape = _build_client(names)
            request = build_masked_request(profile, phase, variables, shape, scope=find_scope(profile, phase), now=now)
            yield {"phase": phase, **({"credentials": list(names)} if names else {}), **request}


def build_consumer_view(profile: Profile, variables: Mapping[str, str], now: int) -> dict[str, Any]:
    """Build how consumers call the API with a token, and with a pasted key where that differs."""
    from evergrant.oauth.token_set import TokenSet
    from evergrant.record.token_document import build_consumer_headers
    from evergrant.secret import Secret

    tokens = TokenSet(Secret("ACCESS_TOKEN"), now, now + _USUAL_LIFETIME_SECONDS, "sample", token_type="TOKEN_TYPE")  # noqa: S106
    return {
        "headers": build_consumer_headers(profile, variables, tokens),
        "pasted_key_headers": build_consumer_headers(profile, variables, tokens, "static") if profile.static else None,
        "required_headers": list(profile.consumer.required_headers),
        "reject_statuses": list(profile.consumer.reject_statuses),
    }


def compute_refresh_times(profile: Profile, variables: Mapping[str, str], now: int) -> dict[str, Any] | None:
    """Compute when a token of the documented lifetime (else an hour) is refreshed, in seconds; None if never."""
    from evergrant.profiles.expiry import compute_expiry

    if profile.grants == ("static",):
        return None
    documented = compute_expiry(profile.response.expires, {}, now, variables)
    lifetime = documented[0] - now if documented else _USUAL_LIFETIME_SECONDS
    after = compute_refresh_at(profile, now, now + lifetime) - now
    return {
        "refresh": profile.rotation.refresh,
        "lifetime": lifetime,
        "refreshed_after": after,
        "before_expiry": lifetime - after,
    }


def compute_refresh_at(profile: Profile, issued_at: int, expires_at: int) -> int:
    """Compute when a token set is refreshed, in epoch seconds, with the jitter of a sample connection."""
    from evergrant.oauth.token_set import TokenLifetime
    from evergrant.record.refresh_schedule import compute_refresh_at as scheduled
    from evergrant.settings import Settings

    return scheduled(
        TokenLifetime(issued_at, expires_at), profile.rotation, Settings().consumer_cache, f"{profile.name}/main", 1
    )


def _build_client(credentials: tuple[str, ...]) -> Any:
    """Build a client that has every part; none of its values is shown."""
    from evergrant.oauth.client import Client
    from evergrant.secret import Secret

    some = Secret("")
    return Client("client", "", (some,), (), dict.fromkeys(credentials, some), some, "")
