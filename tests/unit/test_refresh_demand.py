"""Protects the answers to callers and operators that ask for a token."""

from __future__ import annotations

from dataclasses import replace

import pytest

from evergrant.errors import AuthorizationRequired, ClientRefused, NotSent, Paused, TemporarilyUnavailable
from evergrant.record.status import Status
from evergrant.secret import Secret
from tests.unit.memory import seal_again
from tests.unit.rotation_world import LIFETIME, NAME, world


def test_a_fresh_token_is_answered_without_asking_the_provider() -> None:
    w = world(due=False)
    assert w.run(caller_waits=True, min_ttl=3600).tokens == w.stored
    assert w.provider.requests == []


def test_a_token_that_does_not_live_long_enough_is_refreshed() -> None:
    w = world(due=False)
    tokens = w.run(caller_waits=True, min_ttl=LIFETIME - 30).tokens
    assert tokens is not None
    assert tokens.access_token == Secret("access-1")


def test_more_than_the_tokens_live_is_answered_with_what_there_is() -> None:
    w = world(due=False)
    assert w.run(caller_waits=True, min_ttl=LIFETIME * 2).tokens == w.stored
    assert w.provider.requests == []


def test_a_refused_token_is_replaced_only_while_it_is_the_current_one() -> None:
    w = world(due=False)
    refused = Secret("access-0").fingerprint
    first = w.run(caller_waits=True, rejected=refused).tokens
    again = w.run(caller_waits=True, rejected=refused).tokens
    assert first == again
    assert len(w.provider.requests) == 1


def test_a_refused_token_that_is_brand_new_is_not_replaced_again_and_again() -> None:
    w = world(due=False)
    first = w.run(caller_waits=True, rejected=Secret("access-0").fingerprint).tokens
    assert first is not None
    w.run(caller_waits=True, rejected=first.access_token.fingerprint)
    assert len(w.provider.requests) == 1


def test_a_dead_connection_serves_its_token_then_gives_the_remedy() -> None:
    """A dead connection serves its token to the end, and then says what to do."""
    w = world(status=Status.AUTHORIZATION_REQUIRED, failures=2)
    assert w.run(caller_waits=True).tokens == w.stored
    w.records.items[NAME] = replace(w.record(), refresh_at=int(w.clock.now()) + LIFETIME)
    w.clock.advance(LIFETIME // 2)
    with pytest.raises(AuthorizationRequired, match="keap/main") as raised:
        w.run(caller_waits=True)
    assert "evergrant connect keap/main" in raised.value.hint
    assert w.provider.requests == []


def test_an_expired_token_of_a_refused_client_names_the_client() -> None:
    """An expired token of a refused client says whose credentials to correct."""
    w = world(status=Status.CLIENT_REFUSED, failures=1, refresh_at=1_800_999_999)
    w.clock.advance(LIFETIME)
    with pytest.raises(ClientRefused) as raised:
        w.run(caller_waits=True)
    assert "evergrant client set keap" in raised.value.hint


def test_a_provider_that_is_down_is_not_hammered_by_those_who_ask() -> None:
    w = world()
    w.clock.advance(LIFETIME)
    w.provider.script = [NotSent("no route")]
    for _ in range(5):
        with pytest.raises(TemporarilyUnavailable) as raised:
            w.run(caller_waits=True)
        assert 1 <= raised.value.retry_after <= 15
    assert len(w.provider.requests) == 1


def test_an_operator_can_force_a_refresh_of_a_fresh_token() -> None:
    w = world(due=False)
    tokens = w.run(caller_waits=True, force=True).tokens
    assert tokens is not None
    assert tokens.access_token == Secret("access-1")


def test_a_paused_connection_serves_its_token_to_the_end() -> None:
    w = world(status=Status.PAUSED, due=False)
    assert w.run(caller_waits=True, min_ttl=LIFETIME).tokens == w.stored
    w.clock.advance(LIFETIME)
    with pytest.raises(Paused):
        w.run(caller_waits=True)
    assert w.provider.requests == []


def test_a_caller_of_a_grant_without_a_refresh_token_gets_the_remedy() -> None:
    """A caller that asks for a grant without a refresh token hears what to do."""
    w = world()
    bare = replace(w.stored, refresh_token=None)
    w.records.items[NAME] = replace(w.record(), sealed=seal_again(NAME, 1, bare))
    w.clock.advance(LIFETIME)
    with pytest.raises(AuthorizationRequired):
        w.run(caller_waits=True)
    assert (w.record().status, w.record().last_error) == (Status.AUTHORIZATION_REQUIRED, "no_refresh_token")
