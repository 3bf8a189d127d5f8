"""The situations of a provider that refuses, errs or ends something, and what people do about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec

from evergrant.connect import operator_actions
from evergrant.http_messages import HttpResponse
from evergrant.profiles.model import Profile
from evergrant.profiles.request_specs import Revoke
from evergrant.profiles.response_specs import ErrorRule
from evergrant.record.connection import Connection
from evergrant.record.status import Status
from evergrant.secret import Secret
from tests.proof.exploring import Scenario
from tests.proof.provider import CLIENT_REFUSED, Oddity
from tests.proof.simulation import OTHER, Simulation
from tests.unit.memory import CLIENT, answer
from tests.unit.rotation_world import KEAP, LIFETIME, with_grace

KINDLY = with_grace(KEAP, 60)
ON_DEMAND = msgspec.structs.replace(KEAP, rotation=msgspec.structs.replace(KEAP.rotation, refresh="on_demand"))
VAGUE = answer(400, b"")
BUSY = answer(503, {"error": "busy"})
CAREFUL = msgspec.structs.replace(KEAP, errors=(ErrorRule(kind="not_used", status=503, code="busy"), *KEAP.errors))
#: Finds the tokens where a provider that :func:`moved` them puts them.
CORRECTED = msgspec.structs.replace(
    KEAP,
    response=msgspec.structs.replace(
        KEAP.response,
        access_token=("result.token",),
        refresh_token=("result.renew",),
        expires=(msgspec.structs.replace(KEAP.response.expires[0], path="lives"),),
    ),
)
NEVER = float("inf")


def revocable(scope: Any) -> Profile:
    return msgspec.structs.replace(KEAP, revoke=Revoke(url="https://{host}/revoke", scope=scope))


def refusing(*, until: float, refusal: HttpResponse = CLIENT_REFUSED, **fields: Any) -> Callable[[], Simulation]:
    """The client is refused for so many seconds."""

    def build() -> Simulation:
        world = Simulation(KEAP, **fields)
        world.provider.refuses = {CLIENT.secrets[0].reveal(): world.clock.now() + until}
        world.provider.refusal = refusal
        return world

    return build


def with_a_newer_secret() -> Simulation:
    """The client's newest secret is not known to the provider yet."""
    world = Simulation(KEAP)
    world.vault.clients["keap"] = replace(CLIENT, secrets=(Secret("canary-newer"), *CLIENT.secrets))
    world.provider.refuses = {"canary-newer": NEVER}
    return world


def odd(*oddities: Oddity, profile: Profile = KEAP) -> Callable[[], Simulation]:
    def build() -> Simulation:
        world = Simulation(profile)
        world.provider.oddities, world.provider.unused = oddities, BUSY
        return world

    return build


def moved() -> Simulation:
    """The provider words its answers anew, and an operator corrects the profile once an unreadable response is kept."""
    world = Simulation(KEAP, corrected=[CORRECTED])
    world.provider.shape = lambda said: {
        "result": {"token": said["access_token"], "renew": said["refresh_token"]},
        "lives": said["expires_in"],
    }

    def corrected() -> bool:
        if world.record.unreadable_response is None:
            return False
        world.reparse(CORRECTED)
        return True

    world.person = corrected
    return world


def unread() -> Simulation:
    world = moved()
    world.worker()
    assert world.record.unreadable_response
    return world


def unread_and_reconnected_meanwhile() -> Simulation:
    world = unread()
    world.meanwhile = lambda: world.reconnect(CORRECTED)
    return world


def dead() -> Simulation:
    """The grant is dead, and its owner connects the account again once asked."""
    world = Simulation(KEAP)
    world.provider.live[0] = None

    def connects() -> bool:
        if world.record.status is not Status.AUTHORIZATION_REQUIRED:
            return False
        world.reconnect()
        return True

    world.person = connects
    return world


def expired_on_demand() -> Simulation:
    world = Simulation(ON_DEMAND, refresh_at=2_000_000_000)
    world.clock.advance(LIFETIME)
    return world


def ending(scope: str, act: Callable[[Simulation], object] | None = None) -> Callable[[], Simulation]:
    """A provider that revokes on demand; ``meanwhile`` runs while a worker stalls."""

    def build() -> Simulation:
        world = Simulation(revocable(scope))
        world.provider.revokes_all = scope == "grant"
        if act:
            world.meanwhile = lambda: act(world)
        return world

    return build


def begin_again(records: Any, name: str, clock: Any) -> Connection:
    plan, grant = operator_actions.plan(KEAP, name, variables={"host": "api.example.com"})
    return operator_actions.begin(records, plan, grant, clock)


def connected_again(world: Simulation) -> None:
    """The account is connected again, disconnected or not."""
    if world.record.status is Status.DISCONNECTED:
        world.operate(begin_again)
    if world.record.status is Status.AWAITING_AUTHORIZATION:
        world.reconnect()


def revoke_and_forget(world: Simulation) -> None:
    """What was disconnected with the wish to be revoked is revoked, or no longer the connection's."""
    if world.record.status is Status.DISCONNECTED:
        assert world.record.to_revoke is None, "it is still to be revoked, and no pass will do it"
        assert world.provider.asked_to_revoke, "no pass asked the provider to revoke the grant"


ENDS = (Status.ACTIVE, Status.AUTHORIZATION_REQUIRED)
OVER = (*ENDS, Status.DISCONNECTED)
_AGAIN = (*OVER, Status.AWAITING_AUTHORIZATION)
TROUBLES = [
    Scenario("a refused client", refusing(until=60)),
    Scenario("a refusal of client or grant", refusing(until=20, refusal=VAGUE, others=[OTHER])),
    Scenario("a newer client secret that is refused", with_a_newer_secret),
    Scenario("429", odd(("does not act", answer(429, b"", retry_after="120")))),
    Scenario("503 that says that nothing was used", odd(("does not act", BUSY), profile=CAREFUL)),
    Scenario("an answer that cannot be read", moved),
    Scenario("an answer read again", unread, lambda world: world.reparse(CORRECTED)),
    Scenario(
        "a re-connect while an answer is read again", unread_and_reconnected_meanwhile, lambda w: w.reparse(CORRECTED)
    ),
    Scenario("a dead grant, connected again", dead, ends_as=(Status.ACTIVE,)),
    Scenario(
        "on demand, asked for", lambda: Simulation(ON_DEMAND, refresh_at=2_000_000_000), lambda w: w.ask(min_ttl=80_000)
    ),
    Scenario("on demand, expired", expired_on_demand, lambda w: w.ask()),
    Scenario("a re-connect that lets the old grant go", ending("token"), Simulation.reconnect),
    Scenario("disconnected and revoked", ending("token"), Simulation.disconnect_and_revoke, OVER, revoke_and_forget),
    Scenario(
        "disconnected and revoked while it rotates",
        ending("token", Simulation.disconnect_and_revoke),
        ends_as=OVER,
        also=revoke_and_forget,
    ),
    Scenario(
        "connected again while it is revoked",
        ending("grant", connected_again),
        Simulation.disconnect_and_revoke,
        _AGAIN,
    ),
]
