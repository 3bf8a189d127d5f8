"""Situations in which planted mistakes show. Each raises AssertionError where something is wrong.

They hold for the code as it is (:mod:`tests.simulation.test_mutants`), so that what a mistake breaks is the mistake's.
"""

from __future__ import annotations

from functools import partial
from itertools import count as count_from

from evergrant.record.status import EventType, Status
from tests.simulation import scripts
from tests.simulation.invariants import is_held
from tests.simulation.ledger import Sending
from tests.simulation.scenarios import HOUR, MINUTE, PROFILES, connect, find_late, strike, with_rate
from tests.simulation.servers import Terms
from tests.simulation.services import Outage
from tests.simulation.world import World


def require_no_gap(world: World, names: list[str]) -> None:
    without = {name: world.ledger.tracks[name].seconds_without(world.now) for name in names}
    assert {name: seconds for name, seconds in without.items() if seconds} == {}


def a_quiet_morning() -> None:
    """Nothing goes wrong: no gap, no request that is refused, no owner is asked."""
    with World(1, reads_every=60) as world:
        names = [
            name
            for provider, lifetime in (("exact-online", 600), ("xero", 1800), ("keap", HOUR), ("figma", 2 * HOUR))
            for name in world.connect(PROFILES[provider], 4, terms=Terms(lifetime), within=lifetime / 2)
        ]
        world.run(hours=6)
        require_no_gap(world, names)
        answers = {one.known for name in names for one in _sendings(world, name)}
        assert answers == {"granted"}
        assert {world.status(name) for name in names} == {Status.ACTIVE}


def lost_responses() -> None:
    """The answers of five minutes are lost; the server has not acted, and recovers."""
    with World(2) as world:
        names = connect(world, PROFILES["box"], 6, within=200)
        strike(world, names, scripts.lost(acts=False), minutes=5)
        world.run(hours=8)
        assert find_late(world, names, world.now - 1) == {}


def a_dead_grant() -> None:
    """One grant is dead: its owner is asked, and the others lose nothing."""
    with World(3) as world:
        names = connect(world, PROFILES["box"], 8)
        world.trouble(scripts.error(400, "invalid_grant"), "box", connections=names[:1], truth="grant")
        world.run(hours=4)
        assert world.ledger.asked == names[:1]
        require_no_gap(world, names[1:])


def a_short_refusal() -> None:
    """A provider refuses a living grant for five minutes: no owner is asked."""
    with World(4) as world:
        names = connect(world, PROFILES["box"], 1)
        strike(world, names, scripts.error(400, "invalid_grant"), minutes=5)
        world.run(hours=4)
        assert world.ledger.asked == []


def a_tenant_without_the_client() -> None:
    """One tenant of twenty does not know the client: the others lose nothing."""
    with World(5) as world:
        names = connect(world, PROFILES["microsoft"], 10)
        answer = scripts.error(400, "unauthorized_client")
        world.trouble(answer, "microsoft", connections=names[:1], truth="grant")
        world.run(hours=4)
        require_no_gap(world, names[1:])


def messages_that_come_twice() -> None:
    """Each message arrives twice, and each call takes its time."""
    with World(6, service_latency=0.3) as world:
        world.queue.duplicates = 1.0
        names = connect(world, PROFILES["okta"], 12, lifetime=600, within=30)
        world.run(hours=4)
        require_no_gap(world, names)


def a_provider_that_asks_to_wait() -> None:
    with World(8) as world:
        names = connect(world, PROFILES["asana"], 4, within=300)
        trouble = strike(world, names, scripts.wait(300), minutes=12)
        world.run(hours=4)
        assert find_late(world, names, trouble.end + 6 * MINUTE) == {}
        assert world.ledger.asked == []


def a_provider_out_of_reach() -> None:
    """Three hours without a connection to it: tokens are served while they live, and come back afterwards."""
    with World(9) as world:
        names = connect(world, PROFILES["figma"], 3, lifetime=4 * HOUR)
        trouble = strike(world, names, scripts.not_sent(), minutes=180)
        world.run(seconds=trouble.end - world.now)
        assert {world.status(name) for name in names} >= {Status.DEGRADED}
        world.run(hours=4)
        assert find_late(world, names, trouble.end + 20 * MINUTE) == {}
        assert world.ledger.asked == []


def short_lived_tokens_of_a_provider_out_of_reach() -> None:
    """Tokens that only rotator serves, for ten minutes without a connection: each is served while it lives."""
    with World(13, reads_every=20) as world:
        names = connect(world, PROFILES["okta"], 4, lifetime=900)
        trouble = strike(world, names, scripts.not_sent(), minutes=10)
        world.run(hours=1)
        assert find_late(world, names, trouble.end + 15 * MINUTE) == {}


def a_table_out_of_order() -> None:
    """The table fails after every fortieth request: each token set that arrived is saved in the end."""
    with World(10, reads_every=None) as world:
        names = connect(world, PROFILES["okta"], 6, lifetime=600)
        see, count = world.internet.acted, count_from(1)

        def acted(sending: Sending) -> None:
            see(sending)
            if next(count) % 40 == 0:
                world.faults.outages.append(Outage("records", world.now, world.now + 50))

        world.internet.acted = acted
        world.run(hours=4)
        assert find_late(world, names, world.now - 1) == {}
        assert {name: world.ledger.tracks[name].received for name in names} == {name: {} for name in names}
        assert world.ledger.asked == []


def a_table_out_of_order_for_five_minutes() -> None:
    """From the moment at which token sets arrive, which wait in the queue: each is saved in the end."""
    with World(39, reads_every=None) as world:
        names = connect(world, PROFILES["okta"], 3, lifetime=3600, within=10)
        see, count = world.internet.acted, count_from(1)

        def acted(sending: Sending) -> None:
            see(sending)
            if next(count) == 1:
                world.faults.outages.append(Outage("records", world.now, world.now + 5 * MINUTE))

        world.internet.acted = acted
        world.run(hours=3)
        assert world.ledger.asked == []
        assert world.queue.dead == []
        require_no_gap(world, names)


def a_token_that_is_withdrawn() -> None:
    """The provider withdraws an access token early: its consumer says so, and has another one within a minute."""
    with World(11, reads_every=30) as world:
        [name] = connect(world, PROFILES["box"], 1)

        def withdraw() -> None:
            for grant in world.member(name).server.grants_of[name]:
                grant.access.clear()
            world.ledger.tracks[name].withdrawn(world.now)

        world.timeline.after(10 * MINUTE, withdraw)
        withdrawn_at = world.now + 10 * MINUTE
        world.run(hours=1)
        assert find_late(world, [name], withdrawn_at + 61) == {}


def a_client_that_is_corrected() -> None:
    """A client is refused for two hours, until its entry is corrected."""
    with World(12) as world:
        names = connect(world, PROFILES["zoho"], 12)
        answer = scripts.error(400, "invalid_client")
        trouble = world.trouble(answer, "zoho", seconds=2 * HOUR, truth="client")
        world.timeline.after(2 * HOUR, partial(world.registry.set_secret, "zoho", "canary-corrected"))
        world.run(hours=6)
        assert find_late(world, names, trouble.end + 15 * MINUTE) == {}
        assert world.ledger.asked == []
        assert len(world.ledger.alerts(EventType.CLIENT_REFUSED)) == 1
        endpoint = world.ledger.endpoint(world.member(names[0]).endpoint)
        assert len(endpoint.between(trouble.start, trouble.end)) <= 500


def a_client_that_is_corrected_for_many() -> None:
    """Who is held back, without a token, and asks first after the entry was corrected tries the new one at once."""
    with World(37, reads_every=60) as world:
        names = connect(world, PROFILES["zoho"], 40, within=120)
        trouble = strike(world, names, scripts.error(400, "invalid_client"), minutes=35)
        trouble.truth = "client"
        corrected = partial(world.registry.set_secret, "zoho", "canary-corrected")
        world.timeline.after(trouble.end - world.now, corrected)
        world.run(seconds=trouble.end - world.now + HOUR)
        assert find_late(world, names, trouble.end + 90) == {}


def an_epoch_for_a_lifetime() -> None:
    """A server says a moment where the profile reads a lifetime."""
    with World(14) as world:
        names = connect(world, PROFILES["asana"], 4)
        world.trouble(scripts.with_an_epoch(), "asana")
        world.run(hours=6)
        require_no_gap(world, names)


def an_error_beside_a_token_set() -> None:
    """A server says ``error`` beside a complete token set: it is used."""
    with World(15) as world:
        names = connect(world, PROFILES["asana"], 4)
        world.trouble(scripts.with_fields(lambda _: {"error": "access_denied"}), "asana")
        world.run(hours=6)
        require_no_gap(world, names)


def a_page_for_twenty_minutes() -> None:
    """A page of something in front of the server is no refusal, however often it comes."""
    with World(16) as world:
        names = connect(world, PROFILES["xero"], 4, within=200)
        strike(world, names, scripts.page(403), minutes=20)
        world.run(hours=4)
        assert world.ledger.asked == []


def an_unclear_answer() -> None:
    """Three minutes of 502: the refresh token is spared until just before the access token expires."""
    with World(17) as world:
        names = connect(world, PROFILES["box"], 1)
        strike(world, names, scripts.page(502), minutes=3)
        ends_at = world.record(names[0]).expires_at or 0
        world.run(hours=2)
        require_no_gap(world, names)
        granted = [one.at for one in _sendings(world, names[0]) if one.known == "granted"]
        assert ends_at - 40 <= min(granted) <= ends_at - 20


def an_unclear_answer_past_the_expiry() -> None:
    """Thirty minutes of 502, and the access token expires meanwhile: from then on it is tried every minute."""
    with World(18) as world:
        names = connect(world, PROFILES["box"], 1)
        trouble = strike(world, names, scripts.page(502), minutes=30)
        world.run(hours=3)
        assert find_late(world, names, trouble.end + 75) == {}


def a_fleet_behind_a_page() -> None:
    """Half an hour of 503: probes alone, one alert, and nothing is slow or sudden when it is over."""
    with World(19, reads_every=None) as world:
        names = connect(world, PROFILES["xero"], 40)
        trouble = strike(world, names, scripts.page(503), minutes=30)
        world.run(hours=2)
        endpoint = world.ledger.endpoint(world.member(names[0]).endpoint)
        assert len(endpoint.between(trouble.start, trouble.end)) <= 4 * 30 + 10
        assert find_late(world, names, trouble.end + 60) == {}
        times = [one.at for one in endpoint.between(trouble.end, trouble.end + 120)]
        assert max(sum(at <= other < at + 5 for other in times) for at in times) <= 10
        assert len(world.ledger.alerts()) == 1


def two_behind_a_page() -> None:
    """When an endpoint works again, what was held back does not wait for the next tick."""
    with World(20, reads_every=None) as world:
        names = connect(world, PROFILES["xero"], 5)
        trouble = strike(world, names, scripts.page(503), minutes=31)
        world.run(hours=1)
        assert find_late(world, names, trouble.end + 25) == {}


def a_fleet_with_a_declared_rate_behind_a_page() -> None:
    """What was held back is sent at the rate that its provider declares."""
    with World(21, reads_every=None) as world:
        names = connect(world, with_rate(PROFILES["xero"], 1, 2), 40)
        trouble = strike(world, names, scripts.page(503), minutes=30)
        world.run(hours=1)
        times = [one.at for one in world.ledger.endpoint(world.member(names[0]).endpoint).recent]
        times = [at for at in times if trouble.end <= at < trouble.end + 180]
        assert max(sum(at <= other < at + 10 for other in times) for at in times) <= 7
        assert find_late(world, names, trouble.end + 60 + 80) == {}


def messages_of_probes_that_come_twice() -> None:
    """A probe whose message arrives twice is sent once."""
    with World(22, reads_every=None) as world:
        world.queue.duplicates = 1.0
        names = connect(world, PROFILES["xero"], 6)
        trouble = strike(world, names, scripts.page(503), minutes=45)
        world.run(hours=2)
        assert find_late(world, names, trouble.end + 90) == {}


def a_page_for_one() -> None:
    """One connection gets a page for ever: its owner is asked six hours after the expiry, and others feel nothing."""
    with World(23) as world:
        names = connect(world, PROFILES["xero"], 6)
        world.trouble(scripts.page(403), "xero", connections=names[:1])
        require_closed_circuits(world, every=10)
        world.run(hours=8)
        require_no_gap(world, names[1:])
        assert world.ledger.asked == names[:1]


def a_vague_refusal_of_one() -> None:
    """A refusal without a reason, while others are answered properly, is its owner's."""
    with World(24) as world:
        names = connect(world, PROFILES["asana"], 6)
        world.trouble(scripts.says(400), "asana", connections=names[:1], truth="grant")
        world.run(hours=3)
        assert world.ledger.asked == names[:1]
        require_no_gap(world, names[1:])


def a_vague_refusal_of_all() -> None:
    """A refusal without a reason, of all connections, asks no owner."""
    with World(25) as world:
        names = connect(world, PROFILES["asana"], 4)
        world.trouble(scripts.says(400), "asana", seconds=3 * HOUR)
        world.run(hours=4)
        assert world.ledger.asked == []
        assert find_late(world, names, world.now - 1) == {}


def three_tenants_without_the_client() -> None:
    """Three of ten do not know the client: that is their owners' trouble, and no other one's."""
    with World(26) as world:
        names = connect(world, PROFILES["microsoft"], 10, lifetime=600)
        world.trouble(scripts.error(400, "unauthorized_client"), "microsoft", connections=names[:3], truth="grant")
        world.run(hours=3)
        require_no_gap(world, names[3:])
        assert sorted(world.ledger.asked) == sorted(names[:3])


def one_of_twelve_is_refused_as_a_client() -> None:
    """One account is answered ``invalid_client``: no circuit opens."""
    with World(27) as world:
        names = connect(world, PROFILES["zoho"], 12)
        world.trouble(scripts.error(400, "invalid_client"), "zoho", connections=names[:1], truth="client")
        require_closed_circuits(world, every=10)
        world.run(hours=4)
        require_no_gap(world, names[1:])


def some_are_refused_as_clients() -> None:
    """The accounts that are due first are answered ``invalid_client``: the next one shows that the client works."""
    with World(28, reads_every=None) as world:
        names = connect(world, PROFILES["zoho"], 9, lifetime=600)
        first = sorted(names, key=lambda name: world.record(name).refresh_at or 0)
        refused, others = first[:6], first[6:]
        world.trouble(scripts.error(400, "invalid_client"), "zoho", connections=refused, truth="client")
        times = sample_open(world, every=5)
        world.run(hours=1)
        require_no_gap(world, others)
        assert 0 < len(times) * 5 <= SOON_CLOSED_SECONDS


def many_grants_refused_for_ninety_minutes() -> None:
    """All grants of a client are refused by one code: the operator is alerted, and no owner is asked."""
    with World(29) as world:
        names = connect(world, PROFILES["hubspot"], 12)
        trouble = world.trouble(scripts.error(400, "invalid_grant"), "hubspot", seconds=90 * MINUTE)
        world.run(hours=3)
        assert world.ledger.asked == []
        assert len(world.ledger.alerts()) == 1
        assert find_late(world, names, trouble.end + 11 * MINUTE) == {}


def many_grants_refused_for_ever() -> None:
    """After two hours of that, the owners are asked."""
    with World(30) as world:
        names = connect(world, PROFILES["hubspot"], 8)
        world.trouble(scripts.error(400, "invalid_grant"), "hubspot", truth="grant")
        world.run(hours=5)
        assert sorted(world.ledger.asked) == sorted(names)


def a_malformed_request_of_one() -> None:
    """``invalid_request`` for one connection, while others are accepted, is its owner's an hour after the expiry."""
    with World(31) as world:
        names = connect(world, PROFILES["keycloak"], 4)
        world.trouble(scripts.error(400, "invalid_request"), "keycloak", connections=names[:1], truth="request")
        world.run(hours=4)
        assert world.ledger.asked == names[:1]


def a_page_for_a_day() -> None:
    """A connection without a token is reported when it expires, and again a day later."""
    with World(32, reads_every=None) as world:
        names = connect(world, PROFILES["xero"], 1, within=0)
        world.trouble(scripts.page(403), "xero")
        world.run(hours=26)
        assert len(world.ledger.tracks[names[0]].alerts) == 2


def a_page_for_twenty_minutes_hours_before_the_expiry() -> None:
    """The operator is not alerted: there is time enough."""
    with World(38) as world:
        names = connect(world, PROFILES["keap"], 4, lifetime=24 * HOUR)
        strike(world, names, scripts.page(403), minutes=20)
        world.run(hours=25)
        assert world.ledger.alerts() == []


def a_wait_longer_than_the_token() -> None:
    """A wait that ends after the access token does not keep the last try before the expiry from being made."""
    with World(34) as world:
        names = connect(world, PROFILES["asana"], 1)
        strike(world, names, scripts.wait(1200), minutes=5)
        world.run(hours=3)
        require_no_gap(world, names)


def a_lifetime_of_zero() -> None:
    """A server says once that the access token has expired when it comes: it is not served, and soon replaced."""
    with World(35) as world:
        [name] = connect(world, PROFILES["asana"], 1)
        trouble = world.trouble(scripts.with_fields(lambda _: {"expires_in": 0}), "asana", times=1)
        generation = world.record(name).generation
        world.run(hours=1)
        assert trouble.times == 0
        assert world.record(name).generation == generation + 2


def the_same_token_again() -> None:
    """A server hands out a token again until it expires: its renewal comes at the very end, without many requests."""
    with World(36) as world:
        [name] = world.connect(PROFILES["zoho"], client="zoho", terms=Terms(HOUR, same_token=True))
        world.run(hours=6)
        gaps = [to - since for since, to in world.ledger.tracks[name].gaps_until(world.now)]
        assert max(gaps, default=0) < 2
        assert world.ledger.tracks[name].requests <= 6 * 5


#: So long a client's circuit is open at most where a connection is at hand that is not refused.
SOON_CLOSED_SECONDS = 600


def sample_open(world: World, *, every: int) -> list[float]:
    """Look at the circuits so often (seconds). Returns the times at which one was open, as a list that grows."""
    times: list[float] = []

    def look() -> None:
        world.timeline.after(every, look)
        if any(is_held(world, record) for record in world.records.items.values()):
            times.append(world.now)

    world.timeline.after(every, look)
    return times


def require_closed_circuits(world: World, *, every: int) -> None:
    """Require that no circuit opens, by looking so often (seconds)."""

    def look() -> None:
        world.timeline.after(every, look)
        assert not [name for name, record in world.records.items.items() if is_held(world, record)]

    world.timeline.after(every, look)


def _sendings(world: World, name: str) -> list[Sending]:
    return [one for some in world.ledger.tracks[name].sendings.values() for one in some]
