"""The situations in which the provider may have used a refresh token: by an answer that settles nothing, or by none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from evergrant.errors import LostResponse
from evergrant.http_messages import HttpResponse
from evergrant.profiles.model import Profile
from evergrant.record.status import EventType, Status
from evergrant.secret import Secret
from evergrant.times import DAY_SECONDS
from tests.proof.exploring import Scenario
from tests.proof.provider import Oddity
from tests.proof.simulation import Simulation
from tests.proof.troubles import KINDLY, revocable
from tests.unit.memory import answer
from tests.unit.rotation_world import KEAP, LIFETIME

ERROR = answer(500, b"")
BUSY = answer(429, b"", retry_after="120")
PAGE = HttpResponse(200, {"content-type": "text/html"}, b"<html>We are back in a moment.</html>")
LOST = LostResponse("the provider closes the connection")
#: Its refresh tokens end with their access tokens.
ENDING = msgspec.structs.replace(
    KEAP,
    rotation=msgspec.structs.replace(KEAP.rotation, refresh_token_life="with_access_token"),
)
#: What is late by no more than this took no detour.
_PROMPT = 90


def acts(says: HttpResponse | LostResponse) -> Oddity:
    return "acts", says


def ignores(says: HttpResponse | LostResponse) -> Oddity:
    return "does not act", says


def doubtful(*oddities: Oddity, profile: Profile = KEAP, **fields: Any) -> Callable[[], Simulation]:
    def build() -> Simulation:
        world = Simulation(profile, **fields)
        world.provider.oddities = oddities
        return world

    return build


def down(seconds_after_expiry: int, oddity: Oddity) -> Callable[[], Simulation]:
    """The provider fails until so long after the token has expired."""

    def build() -> Simulation:
        world = Simulation(KEAP)
        world.provider.outage = world.first_end + seconds_after_expiry, oddity
        return world

    return build


def ending_together(*oddities: Oddity) -> Callable[[], Simulation]:
    def build() -> Simulation:
        world = doubtful(*oddities, profile=ENDING, refresh_expires_at=Simulation(ENDING).first_end)()
        world.provider.ends_together = True
        return world

    return build


def probed_daily(*oddities: Oddity) -> Callable[[], Simulation]:
    """Reuse may end the whole permission of the account."""

    def build() -> Simulation:
        world = doubtful(*oddities, profile=revocable("grant"))()
        world.patience = 3 * DAY_SECONDS
        return world

    return build


def renewed_by(late: int = _PROMPT, *, of: Callable[[Simulation], int]) -> Callable[[Simulation], None]:
    """The next token set came promptly, and no person was asked for it."""

    def check(world: Simulation) -> None:
        record = world.record
        assert record.status is Status.ACTIVE, f"it is {record.status}"
        by = of(world)
        assert by <= (record.issued_at or 0) <= by + late, f"renewed at {record.issued_at}, and not at {by}"
        kinds = {body["type"] for body in world.bus.events.values()}
        assert EventType.AUTHORIZATION_REQUIRED not in kinds, "a person was asked"

    return check


def before_its_end(seconds: int) -> Callable[[Simulation], int]:
    return lambda world: world.first_end - seconds


def asked_for_a_person(world: Simulation) -> None:
    """Whose grant is gone is asked soon after the token has expired: not before, and not days later."""
    [at] = [body["at"] for body in world.bus.events.values() if body["type"] == EventType.AUTHORIZATION_REQUIRED]
    assert world.first_end - 60 <= at <= world.first_end + 3600, "a person was asked too early, or too late"


def rejected_later(world: Simulation) -> None:
    """A consumer finds an hour later that its token does not work any more."""
    world.clock.advance(3600)
    world.ask(rejected=Secret("access-0-0").fingerprint)


def asked_again(world: Simulation) -> None:
    """Callers that want a fresher token come while the refresh token is spared."""
    world.clock.advance(1000)
    world.ask(min_ttl=LIFETIME // 2)


_LAST_TRY = renewed_by(20, of=before_its_end(30))
DOUBTS = [
    Scenario("500, not acted upon", doubtful(ignores(ERROR)), undisturbed=_LAST_TRY),
    Scenario("500, acted upon", doubtful(acts(ERROR)), undisturbed=asked_for_a_person),
    Scenario("500, acted upon, with a grace", doubtful(acts(ERROR), profile=KINDLY)),
    Scenario("200 without a token set, not acted upon", doubtful(ignores(PAGE)), undisturbed=_LAST_TRY),
    Scenario("200 without a token set, acted upon", doubtful(acts(PAGE)), undisturbed=asked_for_a_person),
    Scenario("500, and asked by getter", doubtful(ignores(ERROR)), then=asked_again, undisturbed=_LAST_TRY),
    Scenario(
        "500 until after its expiry", down(80, ignores(ERROR)), undisturbed=renewed_by(of=lambda w: w.first_end + 80)
    ),
    Scenario(
        "500 of a token that lives for five minutes",
        doubtful(ignores(ERROR), lifetime=300),
        undisturbed=renewed_by(15, of=before_its_end(30)),
    ),
    Scenario("lost, not acted upon", doubtful(ignores(LOST)), undisturbed=_LAST_TRY),
    Scenario("lost, acted upon", doubtful(acts(LOST)), undisturbed=asked_for_a_person),
    Scenario(
        "lost shortly before its expiry",
        doubtful(ignores(LOST), lifetime=3600),
        undisturbed=renewed_by(of=lambda world: world.first_end + 450),
    ),
    Scenario(
        "500, its expiry assumed",
        doubtful(ignores(ERROR), expiry_rule="default"),
        undisturbed=renewed_by(of=before_its_end(30 - LIFETIME)),
    ),
    Scenario(
        "500, its expiry assumed, rejected by an API",
        doubtful(ignores(ERROR), expiry_rule="default"),
        then=rejected_later,
        undisturbed=renewed_by(of=before_its_end(LIFETIME // 8 - 3600)),
    ),
    Scenario(
        "500 where both tokens end together",
        ending_together(ignores(ERROR)),
        undisturbed=renewed_by(of=before_its_end(LIFETIME // 16)),
    ),
    Scenario(
        "lost twice where both tokens end together",
        ending_together(ignores(LOST), ignores(LOST)),
        undisturbed=renewed_by(of=before_its_end(30)),
    ),
    Scenario(
        "lost where reuse ends the whole permission",
        probed_daily(ignores(LOST), ignores(LOST)),
        undisturbed=asked_for_a_person,
    ),
    Scenario(
        "lost, then 500, where reuse ends the whole permission",
        probed_daily(ignores(LOST), ignores(BUSY), ignores(ERROR)),
        undisturbed=asked_for_a_person,
    ),
]
