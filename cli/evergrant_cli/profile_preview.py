"""What a profile would do, without doing it: each phase's request, how consumers call, when it would refresh."""

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
    """What a sound profile could still be better at, with the key it is about."""
    if not profile.documentation:
        yield "documentation: nothing says where these facts come from; whoever mends it later will want to know."
    if all(rule.default is None for rule in profile.response.expires):
        yield (
            "response.expires: no default. An answer that does not say when its token lapses cannot be used; give the "
            "documented lifetime as the last rule."
        )
    if profile.authorize and profile.refresh and not profile.response.refresh_expires:
        yield (
            "response.refresh_expires: it is missing. Nobody can be warned before a refresh token lapses; give the "
            "field that says it, or the documented lifetime."
        )
    for name, variable in profile.variables.items():
        if not variable.describe:
            yield f"variables.{name}.describe: it is missing; an operator is asked for a value."


def find_scope(profile: Profile, phase: Phase) -> str | None:
    """The scope that a connection would ask for where nobody gives another."""
    from evergrant.profiles.model import HEADLESS_GRANTS

    return profile.scope(phase if phase in HEADLESS_GRANTS else "authorization_code")


def bind_variables(profile: Profile, given: Mapping[str, str]) -> dict[str, str]:
    """What was given, else the default, else the variable's name in capitals. Raises InvalidVariable."""
    import msgspec

    known = {name: item for name, item in profile.variables.items() if name in given or item.default is not None}
    bound = msgspec.structs.replace(profile, variables=known if given.keys() <= known.keys() else profile.variables)
    return {**{name: name.upper() for name in profile.variables}, **bound.bind(given)}


def build_requests(profile: Profile, variables: Mapping[str, str], now: int) -> Iterator[dict[str, Any]]:
    """Each phase, in the order in which they happen, and the request that it would send."""
    from evergrant.oauth.authorization_request import build_authorization_url

    if profile.authorize:
        scope = profile.scope("authorization_code")
        stand_ins = {name: name.upper() for name in ("client_id", "redirect_uri", "state", "code_challenge")}
        url = build_authorization_url(profile, variables, {**stand_ins, "scope": scope})
        yield {"phase": "authorize", "in_a_browser": True, "method": "GET", "url": url, "headers": {}, "body": None}
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
    """How consumers call the API with a token, and with a pasted key where that is another way."""
    from evergrant.oauth.consumer_headers import build_consumer_headers
    from evergrant.oauth.token_set import TokenSet
    from evergrant.secret import Secret

    tokens = TokenSet(Secret("ACCESS_TOKEN"), now, now + _USUAL_LIFETIME_SECONDS, "sample", token_type="TOKEN_TYPE")  # noqa: S106
    return {
        "headers": build_consumer_headers(profile, variables, tokens),
        "headers_of_a_pasted_key": build_consumer_headers(profile, variables, tokens, "static")
        if profile.static
        else None,
        "required_headers": list(profile.consumer.required_headers),
        "reject_statuses": list(profile.consumer.reject_statuses),
    }


def compute_refresh_times(profile: Profile, variables: Mapping[str, str], now: int) -> dict[str, Any] | None:
    """When a token of the documented lifetime (else an hour) would be refreshed, in seconds; None if never."""
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
    """When a token set would be refreshed, in epoch seconds: each connection has a jitter of its own, here a sample."""
    from evergrant.record.refresh_schedule import TokenLifetime
    from evergrant.record.refresh_schedule import compute_refresh_at as scheduled
    from evergrant.settings import Settings

    return scheduled(
        TokenLifetime(issued_at, expires_at), profile.rotation, Settings().consumer_cache, f"{profile.name}/main", 1
    )


def _build_client(credentials: tuple[str, ...]) -> Any:
    """A client that has everything, of which no value is ever shown."""
    from evergrant.oauth.client import Client
    from evergrant.secret import Secret

    some = Secret("")
    return Client("client", "", (some,), (), dict.fromkeys(credentials, some), some, "")
