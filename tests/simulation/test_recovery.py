"""Protects recovery at scale, and that a trouble is the person's who can end it, no sooner and no later."""

from __future__ import annotations

from itertools import pairwise

import pytest
from msgspec import structs

from evergrant.record.status import EventType, Status
from evergrant_cli.health import Level, assess_health
from tests.simulation import scripts
from tests.simulation.scenarios import HOUR, MINUTE, PROFILES, connect, find_late, strike, with_rate
from tests.simulation.scripts import Answer, Trouble
from tests.simulation.servers import Terms
from tests.simulation.world import World

PAGE_503, PAGE_403 = scripts.page(503), scripts.page(403)
RATE_PER_SECOND = 5


def endure(world: World, names: list[str], trouble: Trouble) -> list[float]:
    """Live through a trouble, and return the times of the requests while the endpoint's circuit was surely open."""
    endpoint = world.ledger.endpoint(world.member(names[0]).endpoint)
    opened_by = trouble.start + 2 * MINUTE
    world.run(seconds=trouble.end - world.now)
    return [sending.at for sending in endpoint.between(opened_by, trouble.end)]


def find_herd(times: list[float], apart: float) -> list[float]:
    return [later - earlier for earlier, later in pairwise(times) if later - earlier < apart]


@pytest.mark.parametrize("answer", [PAGE_503, PAGE_403], ids=["503", "403 page"])
@pytest.mark.parametrize("rate", [None, RATE_PER_SECOND])
@pytest.mark.parametrize("count", [200, pytest.param(1000, marks=pytest.mark.exhaustive)])
def test_a_large_fleet_recovers_without_a_herd(count: int, rate: int | None, answer: Answer) -> None:
    """After 30 minutes all are valid within 90 s, behind a 403 page within 150 s, or as fast as the rate allows."""
    profile = with_rate(PROFILES["xero"], rate, 1) if rate else PROFILES["xero"]
    with World(count) as world:
        names = connect(world, profile, count)
        world.run(minutes=10)
        trouble = world.trouble(answer, "xero", seconds=30 * MINUTE)
        probes = endure(world, names, trouble)
        assert find_herd(probes, 14) == []
        within = (150 if answer is PAGE_403 else 90) + (count / rate if rate else 0)
        world.run(seconds=within + 600)
        assert find_late(world, names, trouble.end + within) == {}
        assert world.ledger.asked == []


@pytest.mark.exhaustive
def test_a_thousand_connections_lose_no_second_in_a_day() -> None:
    """Hourly tokens, each read every five minutes: half a minute of CPU time."""
    with World(1000) as world:
        names = connect(world, PROFILES["box"], 1000)
        world.run(hours=24)
        assert {name: track.gaps for name, track in world.ledger.tracks.items() if track.gaps} == {}
        assert [kind for _, kind, _ in world.ledger.events] == [EventType.AUTHORIZED] * len(names)


def test_a_wait_of_milliseconds_does_not_cost_the_token() -> None:
    """``Retry-After: 3600000`` holds nothing past the harm: a try before the expiry, another one within an hour."""
    with World(1) as world:
        [name] = connect(world, PROFILES["asana"], 1)
        strike(world, [name], scripts.wait(3_600_000), minutes=5)
        world.run(hours=3)
        assert world.ledger.tracks[name].seconds_without(world.now) == 0


@pytest.mark.parametrize("name", ["xero", "hubspot", "zoho"])
def test_the_same_token_again_costs_no_second(name: str) -> None:
    """A server that hands out a token again until it expires is served for 12 hours, its renewal at the very end."""
    with World(1) as world:
        terms = Terms(HOUR, same_token=True)
        [account] = world.connect(PROFILES[name], client=name, terms=terms)
        world.run(hours=12)
        gaps = [to - since for since, to in world.ledger.tracks[account].gaps_until(world.now)]
        assert max(gaps, default=0) < 2
        assert world.ledger.asked == []


@pytest.mark.parametrize("lifetime", [60, 300])
def test_one_503_costs_a_short_lived_token_seconds(lifetime: int) -> None:
    with World(lifetime) as world:
        [name] = connect(world, PROFILES["okta"], 1, lifetime=lifetime)
        world.trouble(PAGE_503, "okta", times=1)
        world.run(hours=2)
        assert world.ledger.tracks[name].seconds_without(world.now) < 40
        assert world.ledger.asked == []


@pytest.mark.parametrize(("lifetime", "count"), [(60, 2), (300, 5), (HOUR, 5)])
def test_a_500_in_the_same_second_costs_no_grant(lifetime: int, count: int) -> None:
    """A second request in one second is answered by 500, and the refresh token dies with the access token."""
    keycloak = PROFILES["keycloak"]
    profile = structs.replace(
        keycloak, rotation=structs.replace(keycloak.rotation, refresh_token_life="with_access_token")
    )
    with World(lifetime) as world:
        names = world.connect(
            profile,
            count,
            client="keycloak",
            terms=Terms(lifetime, one_a_second=True),
            variables={"host": "canaille.example.com", "realm": "main"},
        )
        world.run(hours=6)
        assert world.ledger.asked == []
        assert max(world.ledger.tracks[name].seconds_without(world.now) for name in names) < 60


def test_refusals_of_a_mass_that_end_ask_no_owner() -> None:
    """Ninety minutes of one code for all of a client are one alert, and are over ten minutes after their end."""
    with World(3) as world:
        names = connect(world, PROFILES["hubspot"], 20)
        trouble = world.trouble(scripts.error(400, "invalid_grant"), "hubspot", seconds=90 * MINUTE)
        world.run(hours=4)
        assert world.ledger.asked == []
        assert len(world.ledger.alerts()) == 1
        assert find_late(world, names, trouble.end + 11 * MINUTE) == {}


def test_refusals_of_a_mass_that_last_ask_owners_after_two_hours() -> None:
    with World(3) as world:
        names = connect(world, PROFILES["hubspot"], 20)
        began_at = world.now
        world.trouble(scripts.error(400, "invalid_grant"), "hubspot", truth="grant")
        world.run(hours=5)
        asked = [world.ledger.tracks[name].asked_at for name in names]
        assert all(asked)
        assert min(min(times) for times in asked) > began_at + 2 * HOUR


@pytest.mark.parametrize("count", [1, 6])
def test_a_day_without_a_token_needs_someone(count: int) -> None:
    """No answer is silent for ever: one alert a day for an endpoint behind a page, and the status needs someone."""
    with World(count) as world:
        names = connect(world, PROFILES["xero"], count)
        began_at = world.now
        world.trouble(PAGE_403, "xero")
        world.run(hours=75)
        assert world.ledger.asked == ([] if count > 1 else world.ledger.asked)
        times = [at for at, *_ in world.ledger.alerts(EventType.DEGRADED) if at > began_at + 24 * HOUR]
        assert 2 <= len(times) <= 3
        assert find_herd(times, 23 * HOUR) == []
        assert {assess_health(world.record(name), int(world.now)).level for name in names} == {Level.ACT}


def test_one_that_fails_alone_for_six_hours_is_its_owners() -> None:
    """While others of its endpoint succeed, six hours after the expiry, and not before."""
    with World(2) as world:
        names = connect(world, PROFILES["xero"], 6)
        world.trouble(PAGE_403, "xero", connections=names[:1], truth="provider")
        world.run(hours=10)
        assert world.ledger.asked == names[:1]
        track = world.ledger.tracks[names[0]]
        assert 6 * HOUR <= track.asked_at[0] - track.valid_until < 7 * HOUR


def test_a_vague_refusal_of_one_is_its_owners() -> None:
    """Of one connection, once another was answered properly and it was refused again ten minutes later."""
    with World(2) as world:
        names = connect(world, PROFILES["asana"], 6)
        world.trouble(scripts.says(400), "asana", connections=names[:1], truth="grant")
        world.run(hours=3)
        assert world.ledger.asked == names[:1]
        assert {world.status(name) for name in names[1:]} == {Status.ACTIVE}


def test_a_vague_refusal_of_all_is_the_operators() -> None:
    with World(2) as world:
        names = connect(world, PROFILES["asana"], 6)
        trouble = world.trouble(scripts.says(400), "asana", seconds=5 * HOUR)
        world.run(hours=6)
        assert world.ledger.asked == []
        assert len(world.ledger.alerts()) == 1
        assert find_late(world, names, trouble.end + 90) == {}


def test_a_malformed_request_becomes_the_owners_after_an_hour() -> None:
    """The same ``invalid_request``, while others are accepted, for an hour after the expiry."""
    with World(2) as world:
        names = connect(world, PROFILES["keycloak"], 6)
        world.trouble(scripts.error(400, "invalid_request"), "keycloak", connections=names[:1], truth="request")
        world.run(hours=4)
        assert world.ledger.asked == names[:1]
        track = world.ledger.tracks[names[0]]
        assert HOUR <= track.asked_at[0] - track.valid_until < 1.5 * HOUR


def test_a_client_refused_for_all_recovers_with_its_entry() -> None:
    """One alert, no owner is asked, and all work again soon after the operator has corrected the entry."""
    with World(2) as world:
        names = connect(world, PROFILES["zoho"], 20)
        trouble = world.trouble(scripts.error(400, "invalid_client"), "zoho", seconds=3 * HOUR, truth="client")
        world.run(hours=3)
        world.registry.set_secret("zoho", "canary-corrected")
        world.run(minutes=30)
        assert world.ledger.asked == []
        assert len(world.ledger.alerts(EventType.CLIENT_REFUSED)) == 1
        assert find_late(world, names, trouble.end + 17 * MINUTE) == {}
