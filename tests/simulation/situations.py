"""Situations in which planted mistakes show. Each raises AssertionError where something is wrong.

They hold for the code as it is (:mod:`tests.simulation.test_mutants`), so that what a mistake breaks is the mistake's.
"""

from __future__ import annotations

from functools import partial
from itertools import count as count_from

from evergrant.record.status import EventType, Status
from tests.simulation import pending, scripts
from tests.simulation.checks import Checks
from tests.simulation.ledger import Sending
from tests.simulation.scenarios import HOUR, MINUTE, PROFILES, connect, find_late, strike, with_rate
from tests.simulation.servers import Terms
from tests.simulation.services import Outage
from tests.simulation.world import World


def choose_checks(*but: str) -> Checks:
    """Choose the invariants that the code keeps already, and some more by name."""
    return Checks(without=pending.INVARIANTS.keys() - set(but))


def require_no_gap(world: World, names: list[str]) -> None:
    without = {name: world.ledger.tracks[name].seconds_without(world.now) for name in names}
    assert {name: seconds for name, seconds in without.items() if seconds} == {}


def a_quiet_morning() -> None:
    """Nothing goes wrong: no gap, no request that is refused, no owner is asked."""
    with World(1, checks=choose_checks("a_token_is_not_believed_for_too_long"), reads_every=60) as world:
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
    with World(2, checks=choose_checks("no_refresh_token_is_sent_twice")) as world:
        names = connect(world, PROFILES["box"], 6, within=200)
        strike(world, names, scripts.lost(acts=False), minutes=5)
        world.run(hours=8)
        assert find_late(world, names, world.now - 1) == {}


def a_dead_grant() -> None:
    """One grant is dead: its owner is asked, and the others lose nothing."""
    with World(3, checks=choose_checks()) as world:
        names = connect(world, PROFILES["box"], 8)
        world.trouble(scripts.error(400, "invalid_grant"), "box", connections=names[:1], truth="grant")
        world.run(hours=4)
        assert world.ledger.asked == names[:1]
        require_no_gap(world, names[1:])


def a_short_refusal() -> None:
    """A provider refuses a living grant for five minutes: no owner is asked."""
    with World(4, checks=choose_checks("an_owner_is_asked_with_a_reason")) as world:
        names = connect(world, PROFILES["box"], 1)
        strike(world, names, scripts.error(400, "invalid_grant"), minutes=5)
        world.run(hours=4)
        assert world.ledger.asked == []


def a_tenant_without_the_client() -> None:
    """One tenant of twenty does not know the client: the others lose nothing."""
    with World(5, checks=choose_checks()) as world:
        names = connect(world, PROFILES["microsoft"], 10)
        answer = scripts.error(400, "unauthorized_client")
        world.trouble(answer, "microsoft", connections=names[:1], truth="grant")
        world.run(hours=4)
        require_no_gap(world, names[1:])


def messages_that_come_twice() -> None:
    """Each message arrives twice, and each call takes its time."""
    with World(6, checks=choose_checks("no_refresh_token_is_sent_twice"), service_latency=0.3) as world:
        world.queue.duplicates = 1.0
        names = connect(world, PROFILES["okta"], 12, lifetime=600, within=30)
        world.run(hours=4)
        require_no_gap(world, names)


def a_crowd_at_a_declared_rate() -> None:
    """Many are due at once at a provider that takes one request a second."""
    with World(7, checks=choose_checks(), reads_every=None) as world:
        names = connect(world, with_rate(PROFILES["box"], 1, 1), 150, lifetime=600, within=10)
        world.run(hours=1)
        times = [one.at for one in world.ledger.endpoint(world.member(names[0]).endpoint).recent]
        crowded = [at for at in times if sum(at <= other < at + 10 for other in times) > 15]
        assert crowded == []
        require_no_gap(world, names)


def a_provider_that_asks_to_wait() -> None:
    with World(8, checks=choose_checks("a_wait_is_kept")) as world:
        names = connect(world, PROFILES["asana"], 4, within=300)
        trouble = strike(world, names, scripts.wait(300), minutes=12)
        world.run(hours=4)
        assert find_late(world, names, trouble.end + 6 * MINUTE) == {}
        assert world.ledger.asked == []


def a_provider_out_of_reach() -> None:
    """Three hours without a connection to it: tokens are served while they live, and come back afterwards."""
    with World(9, checks=choose_checks()) as world:
        names = connect(world, PROFILES["figma"], 3, lifetime=4 * HOUR)
        trouble = strike(world, names, scripts.not_sent(), minutes=180)
        world.run(seconds=trouble.end - world.now)
        assert {world.status(name) for name in names} >= {Status.DEGRADED}
        world.run(hours=4)
        assert find_late(world, names, trouble.end + 20 * MINUTE) == {}
        assert world.ledger.asked == []


def short_lived_tokens_of_a_provider_out_of_reach() -> None:
    """Tokens that only rotator serves, for ten minutes without a connection: each is served while it lives."""
    with World(13, checks=choose_checks(), reads_every=20) as world:
        names = connect(world, PROFILES["okta"], 4, lifetime=900)
        trouble = strike(world, names, scripts.not_sent(), minutes=10)
        world.run(hours=1)
        assert find_late(world, names, trouble.end + 15 * MINUTE) == {}


def a_table_out_of_order() -> None:
    """The table fails after every fortieth request: each token set that arrived is saved in the end."""
    with World(10, checks=choose_checks(), reads_every=None) as world:
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


def a_token_that_is_withdrawn() -> None:
    """The provider withdraws an access token early: its consumer says so, and has another one within a minute."""
    with World(11, checks=choose_checks(), reads_every=30) as world:
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
    with World(12, checks=choose_checks()) as world:
        names = connect(world, PROFILES["zoho"], 12)
        answer = scripts.error(400, "invalid_client")
        trouble = world.trouble(answer, "zoho", seconds=2 * HOUR, truth="client")
        world.timeline.after(2 * HOUR, partial(world.registry.set_secret, "zoho", "canary-corrected"))
        world.run(hours=6)
        assert find_late(world, names, trouble.end + 15 * MINUTE) == {}
        assert world.ledger.asked == []
        assert len(world.ledger.alerts(EventType.CLIENT_REFUSED)) == 1


def an_epoch_for_a_lifetime() -> None:
    """A server says a moment where the profile reads a lifetime."""
    with World(14, checks=choose_checks("a_token_is_not_believed_for_too_long")) as world:
        names = connect(world, PROFILES["asana"], 4)
        world.trouble(scripts.with_fields(lambda at: {"expires_in": int(at) + HOUR}), "asana")
        world.run(hours=6)
        require_no_gap(world, names)


def a_token_that_is_handed_out_again() -> None:
    """A server hands out the same token until it expires, and says zero in the end."""
    with World(17, checks=choose_checks("a_token_is_not_believed_for_too_long")) as world:
        [name] = world.connect(PROFILES["box"], terms=Terms(HOUR, same_token=True))
        world.run(hours=6)
        gaps = [to - since for since, to in world.ledger.tracks[name].gaps]
        assert max(gaps) < 2
        assert world.ledger.tracks[name].requests < 30


def an_error_beside_a_token_set() -> None:
    """A server says ``error`` beside a complete token set: it is used."""
    with World(15, checks=choose_checks()) as world:
        names = connect(world, PROFILES["asana"], 4)
        world.trouble(scripts.with_fields(lambda _: {"error": "access_denied"}), "asana")
        world.run(hours=6)
        require_no_gap(world, names)


def a_page_for_twenty_minutes() -> None:
    """A page of something in front of the server is no refusal, however often it comes."""
    with World(
        16, checks=choose_checks("an_owner_is_asked_with_a_reason", "a_client_is_refused_by_its_provider")
    ) as world:
        names = connect(world, PROFILES["xero"], 4, within=200)
        strike(world, names, scripts.page(403), minutes=20)
        world.run(hours=4)
        assert world.ledger.asked == []


def _sendings(world: World, name: str) -> list[Sending]:
    return [one for some in world.ledger.tracks[name].sendings.values() for one in some]
