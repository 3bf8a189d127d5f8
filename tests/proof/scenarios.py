"""The situations in which every fault is tried."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from evergrant.connect import operator_actions
from evergrant.profiles import built_in
from evergrant.profiles.model import Profile
from evergrant.record.status import Status
from evergrant.secret import Secret
from tests.proof.circuits import CIRCUITS
from tests.proof.doubts import DOUBTS
from tests.proof.exploring import Scenario
from tests.proof.faults import STALL
from tests.proof.simulation import NAME, Simulation
from tests.proof.troubles import ENDS, KINDLY, TROUBLES, begin_again
from tests.unit.rotation_world import KEAP, LIFETIME, with_grace

WEALTHYHOOD, INVESTSUITE = (built_in.load_built_in()[name] for name in ("wealthyhood", "investsuite"))


def plain(profile: Profile = KEAP, **fields: Any) -> Callable[[], Simulation]:
    return lambda: Simulation(profile, **fields)


def expired() -> Simulation:
    world = Simulation(KEAP)
    world.clock.advance(LIFETIME)
    return world


def asked(world: Simulation) -> None:
    world.ask(rejected=Secret("access-0-0").fingerprint)


def logging_in(**fields: Any) -> Callable[[], Simulation]:
    return lambda: Simulation(INVESTSUITE, lifetime=300, grant="login", client="login", **fields)


def refused_log_in() -> Simulation:
    world = logging_in()()
    world.provider.live = {0: None}
    return world


def first_of(profile: Profile, **fields: Any) -> Callable[[], Simulation]:
    awaiting = {"status": Status.AWAITING_AUTHORIZATION, "generation": 0, "published_generation": 0, "sealed": None}
    times = {"issued_at": None, "expires_at": None}
    return lambda: Simulation(profile, **{**awaiting, **times, **fields})


def with_table_down(profile: Profile, seconds: int, kms_seconds: int = 0) -> Callable[[], Simulation]:
    """The provider answers, and from then on the table takes no write for a while, and KMS opens nothing."""

    def build() -> Simulation:
        world = Simulation(profile)

        def goes_down() -> None:
            world.provider.after_answer = _nothing
            world.records.down_until = world.clock.now() + seconds
            world.seal.down_until = world.clock.now() + kms_seconds

        world.provider.after_answer = goes_down
        return world

    return build


def forced(world: Simulation) -> None:
    """The lease has run out, and an operator tries whether all is well again, before the queue delivers."""
    world.clock.advance(STALL)
    world.rotate()


def _nothing() -> None:
    pass


def shown_an_older_token() -> Simulation:
    """Consumers were overtaken by a late Put of the generation before."""
    world = Simulation(KEAP, due=False)
    document = {**world.vault.published[NAME], "access_token": "access-0-older"}
    world.vault.put(NAME, document, f"{0:016x}" + "f" * 48)
    return world


def refused_older_token(world: Simulation) -> None:
    """Until a reader gets an answer: one that meets a failing service asks again, and so does the next one."""
    for _ in range(3):
        world.ask(rejected=Secret("access-0-older").fingerprint)


def unpublished() -> Simulation:
    return Simulation(KEAP, published_generation=0)


def with_meanwhile(act: Callable[[Simulation], None], profile: Profile = KEAP) -> Callable[[], Simulation]:
    """While a worker stalls it is an operator that comes by, and not another worker."""

    def build() -> Simulation:
        world = Simulation(profile)
        world.meanwhile = lambda: act(world)
        return world

    return build


PAUSED, GONE = (Status.PAUSED,), (Status.DISCONNECTED,)
SCENARIOS = [
    Scenario("no grace", plain()),
    Scenario("a grace of 60 s", plain(KINDLY)),
    Scenario("early in its life", plain(due=False, refresh_at=1_800_000_000)),
    Scenario("expired", expired),
    Scenario("asked by getter", plain(due=False), asked),
    Scenario("asked by getter, with a grace", plain(KINDLY, due=False), asked),
    Scenario("an older token published late", shown_an_older_token, refused_older_token),
    Scenario("not published yet", unpublished),
    Scenario("client credentials", plain(WEALTHYHOOD, lifetime=3600, grant="client_credentials", client="wealthyhood")),
    Scenario("a client's first token", first_of(WEALTHYHOOD, grant="client_credentials", client="wealthyhood")),
    Scenario("log-in, refreshed", logging_in()),
    Scenario("log-in, the refresh refused", refused_log_in),
    Scenario("the table down for 20 s", with_table_down(KEAP, 20)),
    Scenario("the table down for 20 s, and KMS for 40 s", with_table_down(KEAP, 20, 40)),
    Scenario("the table down for longer than the grace", with_table_down(with_grace(KEAP, 10), 20)),
    Scenario("forced while its answer is in the queue", with_table_down(KEAP, 20), then=forced),
    Scenario("a re-connect while it rotates", with_meanwhile(Simulation.reconnect)),
    Scenario("a rotation while it is re-connected", plain(), Simulation.reconnect),
    Scenario(
        "paused meanwhile",
        with_meanwhile(lambda world: world.operate(operator_actions.pause)),
        ends_as=(*ENDS, *PAUSED),
    ),
    Scenario(
        "paused and resumed meanwhile",
        with_meanwhile(lambda world: world.operate(operator_actions.pause, operator_actions.resume)),
        ends_as=(*ENDS, *PAUSED),
    ),
    Scenario(
        "disconnected meanwhile",
        with_meanwhile(lambda world: world.operate(operator_actions.disconnect)),
        ends_as=(*ENDS, *GONE),
    ),
    Scenario(
        "disconnected and begun again meanwhile",
        with_meanwhile(lambda world: world.operate(operator_actions.disconnect, begin_again)),
        ends_as=(*ENDS, *GONE, Status.AWAITING_AUTHORIZATION),
    ),
    *TROUBLES,
    *DOUBTS,
    *CIRCUITS,
]
