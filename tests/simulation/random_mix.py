"""A deployment, its providers and a day of troubles, all chosen by a seed."""

from __future__ import annotations

from functools import partial
from random import Random

from tests.simulation import scripts
from tests.simulation.checks import Checks
from tests.simulation.refusals import REFUSALS
from tests.simulation.scenarios import HOUR, MINUTE, PROFILES, REFRESHED, share_endpoint, with_rate
from tests.simulation.scripts import Answer, Trouble
from tests.simulation.servers import Terms
from tests.simulation.services import Outage, Service
from tests.simulation.world import World

LIFETIMES = (60, 300, 600, 1800, HOUR, HOUR, 8 * HOUR, 24 * HOUR)
SERVICES: tuple[Service, ...] = ("records", "circuits", "seal", "vault", "queue", "bus")
#: Troubles of a provider that pass: they ask no owner.
PASSING = (
    scripts.page(503),
    scripts.page(503, retry_after="120"),
    scripts.page(502),
    scripts.page(500),
    scripts.page(403),
    scripts.page(404),
    scripts.page(200),
    scripts.wait(30),
    scripts.wait(600),
    scripts.wait("a while"),
    scripts.not_sent(),
    scripts.slow(4),
    scripts.slow(12),
    scripts.acts_and_says(502),
    scripts.lost(acts=False),
    scripts.lost(acts=True),
    scripts.with_fields(lambda _: {"expires_in": 0}),
    scripts.with_an_epoch(),
    scripts.with_fields(lambda _: {"error": "access_denied"}),
)
#: How soon an owner who was asked connects again, and an operator corrects a client's entry (seconds).
OWNER_SECONDS, OPERATOR_SECONDS = (10 * MINUTE, 6 * HOUR), (10 * MINUTE, 3 * HOUR)


def build(seed: int, hours: float, checks: Checks | None = None) -> World:
    """Build a world in which something goes wrong about twice an hour, for so many hours."""
    choose = Random(seed)
    world = World(
        seed,
        checks=checks,
        reads_every=choose.choice((None, 60, 300)),
        service_latency=choose.choice((0.0, 0.05)),
    )
    for name in choose.sample(REFRESHED, choose.randint(2, 5)):
        _connect(world, name, choose)
    for _ in range(round(2 * hours)):
        at = choose.uniform(0, hours * HOUR)
        world.timeline.after(at, partial(choose.choice(_HAPPENINGS), world, choose))
    if choose.random() < 0.5:
        world.queue.duplicates, world.queue.late = 0.05, 0.01
        world.kills = 0.005
    _meet_people(world, choose)
    return world


def _connect(world: World, name: str, choose: Random) -> None:
    profile = PROFILES[name]
    if choose.random() < 0.2:
        profile = with_rate(profile, choose.randint(1, 5), choose.choice((1, 10)))
    lifetime = max(choose.choice(LIFETIMES), profile.rotation.minimum_age + 30)
    variables = share_endpoint(profile) if choose.random() < 0.8 else {}
    count = choose.choice((1, 2, 5, 12))
    skew = choose.choice((0, 0, 0, -600, 600))
    world.connect(profile, count, terms=Terms(lifetime), within=lifetime, variables=variables)
    world.registry.servers[name].skew = skew


def _let_a_provider_fail(world: World, choose: Random) -> None:
    provider = choose.choice(list(world.registry.servers))
    seconds = choose.choice((1, 60, 10 * MINUTE, HOUR, 3 * HOUR)) * choose.uniform(0.5, 1.5)
    world.trouble(choose.choice(PASSING), provider, seconds=seconds, share=choose.choice((0.3, 1.0)))


def _let_a_connection_be_refused(world: World, choose: Random) -> None:
    name = choose.choice(list(world.registry.members))
    refusal = choose.choice([one for one in REFUSALS.values() if one.truth == "grant"])
    world.trouble(refusal.answer, world.member(name).profile.name, connections=[name], truth="grant")


def _let_a_client_be_refused(world: World, choose: Random) -> None:
    provider = choose.choice(list(world.registry.servers))
    answer: Answer = scripts.error(choose.choice((400, 401)), "invalid_client")
    trouble = world.trouble(answer, provider, truth="client")
    world.timeline.after(choose.uniform(*OPERATOR_SECONDS), partial(_correct_entry, world, trouble))


def _correct_entry(world: World, trouble: Trouble) -> None:
    trouble.end = world.now
    clients = {
        one.authorization.client for one in world.registry.members.values() if one.profile.name == trouble.provider
    }
    for client in sorted(clients):
        world.registry.set_secret(client, f"canary-{world.now:.0f}")


def _let_a_service_fail(world: World, choose: Random) -> None:
    seconds = choose.choice((1, 30, 5 * MINUTE)) * choose.uniform(0.5, 1.5)
    service, share = choose.choice(SERVICES), choose.choice((0.3, 1.0))
    world.faults.outages.append(Outage(service, world.now, world.now + seconds, share, takes_effect=0.5))


_HAPPENINGS = (
    _let_a_provider_fail,
    _let_a_provider_fail,
    _let_a_provider_fail,
    _let_a_connection_be_refused,
    _let_a_client_be_refused,
    _let_a_service_fail,
)


def _meet_people(world: World, choose: Random) -> None:
    """Owners who were asked connect again, some time later."""
    answered: dict[str, int] = {}

    def look() -> None:
        world.timeline.after(MINUTE, look)
        for name, track in world.ledger.tracks.items():
            if len(track.asked_at) > answered.get(name, 0):
                answered[name] = len(track.asked_at)
                world.timeline.after(choose.uniform(*OWNER_SECONDS), partial(_connect_again, world, name))

    world.timeline.after(MINUTE, look)


def _connect_again(world: World, name: str) -> None:
    for trouble in world.script.troubles:
        if trouble.truth == "grant" and name in trouble.connections:
            trouble.end = min(trouble.end, world.now)
    world.reconnect(name)
