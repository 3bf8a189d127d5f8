"""What the scenarios share: a fleet of a shipped profile, the moment at which a trouble hurts most, and a verdict."""

from __future__ import annotations

from math import inf

import msgspec

from evergrant.profiles import built_in
from evergrant.profiles.model import Profile, Rate
from tests.simulation.checks import Checks
from tests.simulation.scripts import Answer, Trouble
from tests.simulation.servers import Terms
from tests.simulation.world import World

PROFILES = built_in.load_built_in()
#: Those whose tokens are refreshed without a person.
REFRESHED = tuple(
    name
    for name, profile in PROFILES.items()
    if profile.refresh is not None or profile.client_credentials is not None or profile.login is not None
)
MINUTE, HOUR = 60, 3600
#: What all connections at such a provider may have in common, so that they share an endpoint.
_SHARED = {"tenant": "organizations", "host": "{}.example.com", "realm": "main", "domain": "{}.example.com"}
_MAX_LIFETIME_SECONDS = 2 * HOUR


def choose_lifetime(profile: Profile) -> int:
    """Choose a lifetime of access tokens: the documented one, if it is two hours at most, else an hour."""
    documented = [rule.default for rule in profile.response.expires if isinstance(rule.default, int)]
    return documented[0] if documented and documented[0] <= _MAX_LIFETIME_SECONDS else HOUR


def connect(
    world: World, profile: Profile, count: int, *, lifetime: int | None = None, within: float | None = None
) -> list[str]:
    """Connect accounts of one client at one endpoint, and let them come to rest. Returns their names."""
    lifetime = max(lifetime or choose_lifetime(profile), profile.rotation.minimum_age + 30)
    within = lifetime * 0.7 if within is None else within
    variables = share_endpoint(profile)
    names = world.connect(
        profile, count, client=profile.name, terms=Terms(lifetime), within=within, variables=variables
    )
    world.run(seconds=within + 120)
    assert [world.status(name) for name in names] == ["active"] * count
    return names


def share_endpoint(profile: Profile) -> dict[str, str]:
    """Choose the variables that make connections share an endpoint, where the profile has any."""
    needed = (name for name, variable in profile.variables.items() if variable.default is None)
    return {name: _SHARED[name].format(profile.name) for name in needed if name in _SHARED}


def strike(world: World, names: list[str], answer: Answer, *, minutes: float) -> Trouble:
    """Let a provider be in trouble from the moment at which the first of some connections is due."""
    due_at = min(world.record(name).refresh_at or inf for name in names)
    provider = world.member(names[0]).profile.name
    return world.trouble(answer, provider, start=max(due_at - world.now - 5, 0), seconds=60 * minutes)


def with_rate(profile: Profile, requests: int, seconds: int) -> Profile:
    rotation = msgspec.structs.replace(profile.rotation, rate=Rate(requests, seconds))
    return msgspec.structs.replace(profile, rotation=rotation)


def find_late(world: World, names: list[str], at: float) -> dict[str, float]:
    """Return the connections without a valid token at ``at``, each with the seconds until it had one."""
    now = world.now
    found = {name: world.ledger.tracks[name].valid_from(at, now) - at for name in names}
    return {name: seconds for name, seconds in found.items() if seconds > 0}


def unchecked() -> Checks:
    """Checks that a run goes on after, for a scenario that judges by itself."""
    checks = Checks()
    checks.is_strict = False
    return checks
