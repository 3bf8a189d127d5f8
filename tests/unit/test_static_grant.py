"""Protects pasted keys: served like any token, never sent to the provider, and their end is reported in time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from evergrant.connect import operator_actions
from evergrant.connect.token_import import TokenImport, parse_pasted_key
from evergrant.errors import AuthorizationRequired, InvalidRequest
from evergrant.ports import PortUnavailable
from evergrant.profiles.model import Profile
from evergrant.profiles.request_specs import Static
from evergrant.record.connection import Connection
from evergrant.record.status import Status
from evergrant.record.token_document import build_document
from evergrant.rotation.connection_pass import Rotation
from evergrant.rotation.refresh_demand import TokenDemand
from evergrant.secret import Secret
from tests.unit.rotation_world import KEAP, NAME, World, world

DAY = 86_400
KEY = "canary-pasted-key"
SERVICE_KEYS = Static(describe="Settings > API.", headers={"X-Api-Key": "{access_token}"})
PROFILE = msgspec.structs.replace(KEAP, static=SERVICE_KEYS)


class Pasted:
    """A connection that an operator made by pasting a key."""

    def __init__(self, profile: Profile = PROFILE, *, days: int | None = 30) -> None:
        self.profile = profile
        self.w: World = world(profile)
        self.w.records.items.clear()
        self.paste(KEY, days)

    def paste(self, key: str, days: int | None = 30) -> Connection:
        w, now = self.w, int(self.w.clock.now())
        ports = w.ports
        importing = TokenImport(ports.records, ports.seal, ports.queue, ports.clock, w.settings)
        authorization, grant = operator_actions.plan(self.profile, NAME, grant="static")
        tokens = parse_pasted_key(self.profile, key, now, None if days is None else now + days * DAY)
        return importing.keep(authorization, grant, self.profile, tokens, None)

    def run(self, **ask: Any) -> Any:
        return Rotation(self.w.ports, self.w.settings, self.w.clock.now() + 59).run(TokenDemand(NAME, **ask))

    @property
    def record(self) -> Connection:
        return self.w.records.items[NAME]

    @property
    def token(self) -> str:
        return str(self.run(caller_waits=True).tokens.access_token.reveal())


def test_a_pasted_key_is_saved_published_and_reported() -> None:
    pasted = Pasted()
    assert [message for message, _ in pasted.w.queue.messages] == [{"connection": NAME}]
    assert pasted.run().outcome == "published"
    assert pasted.w.vault.published[NAME]["access_token"] == KEY
    assert pasted.w.bus.types == ["Connection Authorized"]
    assert pasted.record.refresh_at == pasted.record.expires_at
    assert pasted.w.provider.requests == []


def test_consumers_send_a_key_in_the_header_that_keys_have() -> None:
    pasted = Pasted()
    tokens = pasted.run(caller_waits=True).tokens
    assert build_document(pasted.record, PROFILE, tokens)["headers"] == {"X-Api-Key": KEY}


def test_without_headers_of_its_own_a_key_is_sent_like_every_token() -> None:
    pasted = Pasted(msgspec.structs.replace(KEAP, static=Static(describe="x")))
    tokens = pasted.run(caller_waits=True).tokens
    assert build_document(pasted.record, pasted.profile, tokens)["headers"] == {"Authorization": f"Bearer {KEY}"}


@pytest.mark.parametrize("ask", [{"force": True}, {"min_ttl": 365 * DAY}, {"min_ttl": 31 * DAY - 1}, {"rejected": "x"}])
def test_a_caller_gets_the_key_there_is_and_nothing_is_sent(ask: dict[str, Any]) -> None:
    pasted = Pasted()
    pasted.run()
    pasted.w.clock.advance(29 * DAY)
    assert pasted.run(caller_waits=True, **ask).tokens.access_token == Secret(KEY)
    assert pasted.record.status is Status.ACTIVE
    assert pasted.w.provider.requests == []


def test_an_expired_key_is_reported_once() -> None:
    pasted = Pasted()
    pasted.run()
    pasted.w.clock.advance(30 * DAY)
    pasted.run()
    pasted.run()
    with pytest.raises(AuthorizationRequired):
        pasted.run(caller_waits=True)
    assert (pasted.record.status, pasted.record.last_error) == (Status.AUTHORIZATION_REQUIRED, "key_expired")
    assert pasted.w.bus.types == ["Connection Authorized", "Authorization Required"]
    assert pasted.w.provider.requests == []
    assert pasted.record.due_at is None


def test_an_expiring_key_is_warned_of() -> None:
    pasted = Pasted(days=90)
    pasted.run()
    for days in (60, 23, 6):
        assert pasted.record.due_at == pasted.w.clock.now() + days * DAY
        pasted.w.clock.advance(days * DAY)
        pasted.run()
    assert pasted.w.bus.types == ["Connection Authorized", *["Grant Expiring"] * 3]
    assert pasted.record.due_at == pasted.record.expires_at
    assert pasted.w.provider.requests == []


def test_a_key_the_api_refuses_is_reported_once_and_still_served() -> None:
    """A key that the API refuses is reported once, and still served to other callers."""
    pasted = Pasted()
    pasted.run()
    pasted.w.clock.advance(DAY)
    for _ in range(2):
        with pytest.raises(AuthorizationRequired):
            pasted.run(caller_waits=True, rejected=Secret(KEY).fingerprint)
    assert (pasted.record.status, pasted.record.last_error) == (Status.AUTHORIZATION_REQUIRED, "key_refused")
    assert pasted.w.bus.types == ["Connection Authorized", "Authorization Required"]
    assert pasted.token == KEY
    assert pasted.w.provider.requests == []


def test_another_key_makes_it_active_again() -> None:
    pasted = Pasted()
    pasted.run()
    pasted.w.clock.advance(31 * DAY)
    pasted.run()
    pasted.paste("another-key")
    assert pasted.token == "another-key"
    assert (pasted.record.status, pasted.record.generation) == (Status.ACTIVE, 2)


def test_a_key_without_a_known_end_is_never_due_and_its_grant_has_no_end() -> None:
    pasted = Pasted(days=None)
    pasted.run()
    pasted.w.clock.advance(50 * 365 * DAY)
    assert pasted.run().outcome == "fresh"
    assert pasted.token == KEY
    assert pasted.record.refresh_expires_at is None


def test_what_the_profile_documents_of_a_keys_life_counts_from_the_paste() -> None:
    pasted = Pasted(msgspec.structs.replace(KEAP, static=Static(describe="x", lifetime=7 * DAY)), days=None)
    assert pasted.record.expires_at == pasted.record.refresh_expires_at == pasted.w.clock.now() + 7 * DAY


def test_a_key_is_paused_and_resumed_like_every_connection() -> None:
    pasted = Pasted(days=None)
    pasted.run()
    operator_actions.pause(pasted.w.records, NAME, pasted.w.clock)
    assert operator_actions.resume(pasted.w.records, NAME, pasted.w.clock).status is Status.ACTIVE
    assert pasted.token == KEY


def test_a_key_is_published_although_a_refresh_would_end_its_token() -> None:
    """A key is published, although a refresh would end the token before it."""
    rotation = msgspec.structs.replace(KEAP.rotation, old_access_token_revoked=True)
    pasted = Pasted(msgspec.structs.replace(PROFILE, rotation=rotation))
    pasted.run()
    assert NAME in pasted.w.vault.published


def test_a_failing_queue_does_not_stop_a_key_being_saved_and_published() -> None:
    """A queue that is down does not keep a key from being saved and published."""
    pasted = Pasted()
    pasted.w.records.items.clear()

    def down(*_: Any, **__: Any) -> None:
        raise PortUnavailable("down")

    pasted.w.queue.send = down  # type: ignore[method-assign]
    pasted.paste(KEY)
    due_at = pasted.record.due_at
    assert due_at is not None
    assert due_at <= pasted.w.clock.now() + 60


def test_a_rotation_meanwhile_does_not_undo_the_pasted_key() -> None:
    pasted = Pasted()
    ports, w = pasted.w.ports, pasted.w
    genuine = ports.seal.prepare

    def prepare(connection: str, generation: int) -> Any:
        key = genuine(connection, generation)
        if generation == 2:  # while the key is on its way, another worker saves generation 2
            w.records.items[NAME] = replace(w.records.items[NAME], generation=2)
        return key

    w.ports.seal.prepare = prepare  # type: ignore[method-assign]
    pasted.paste("another-key")
    assert pasted.record.generation == 3
    assert pasted.token == "another-key"


@pytest.mark.parametrize("key", ["", "a b", "a\nb", "ü", "a\x00", "x" * 16_385])
def test_what_is_no_key_is_refused_without_being_repeated(key: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse_pasted_key(PROFILE, key, 0)
    assert not key or key not in str(refused.value.as_dict())
