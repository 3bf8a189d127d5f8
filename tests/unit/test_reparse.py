"""Protects the unreadable response: it is kept with all that reading takes, and a corrected profile reads it."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from evergrant.errors import (
    InvalidRequest,
    InvalidVariable,
    LostResponse,
    Paused,
    TemporarilyUnavailable,
    UnknownConnection,
    UnreadableResponse,
)
from evergrant.ports import PortUnavailable
from evergrant.profiles import built_in
from evergrant.profiles.model import Profile, Variable, content_hash
from evergrant.profiles.response_specs import ErrorRule, Success
from evergrant.record.status import Status
from evergrant.rotation.connection_pass import Rotation
from evergrant.secret import Secret
from evergrant.settings import Settings
from tests.unit.memory import MemoryProfiles, answer
from tests.unit.rotation_world import NAME, World, world

KEAP = built_in.load_built_in()["keap"]
ODD = {"result": {"token": "access-9", "renew": "refresh-9"}, "lives": 7200}


def correct_profile(**response: object) -> Profile:
    """A profile that finds the tokens where the provider puts them now."""
    spec = {"access_token": ("result.token",), "refresh_token": ("result.renew",), **response}
    expires = (msgspec.structs.replace(KEAP.response.expires[0], path="lives"),)
    return msgspec.structs.replace(KEAP, response=msgspec.structs.replace(KEAP.response, expires=expires, **spec))


CORRECTED = correct_profile()


def holding(*others: Profile) -> World:
    """A connection whose last refresh was answered in a way that its profile cannot read, an hour ago."""
    w = world()
    w.provider.script = [answer(200, ODD)]
    w.run()
    assert w.record().unreadable_response is not None
    profiles = MemoryProfiles(KEAP, CORRECTED, *others)
    w.ports.profiles.load_pinned = profiles.load_pinned  # type: ignore[method-assign]
    w.clock.advance(3600)
    return w


def reparse(w: World, profile: Profile = CORRECTED) -> None:
    Rotation(w.ports, Settings(), w.clock.now() + 59).reparse(NAME, content_hash(profile))


def test_a_corrected_profile_reads_it_and_becomes_the_connections_own() -> None:
    w = holding()
    reparse(w)
    assert w.stored.access_token == Secret("access-9")
    assert w.stored.refresh_token == Secret("refresh-9")
    assert (w.record().status, w.record().generation, w.record().unreadable_response) == (Status.ACTIVE, 2, None)
    assert w.record().profile_hash == content_hash(CORRECTED)
    assert len(w.provider.requests) == 1


def test_its_life_counts_from_the_moment_at_which_its_request_was_sent() -> None:
    w = holding()
    sent_at = int(w.clock.now()) - 3600
    reparse(w)
    assert (w.record().issued_at, w.record().expires_at) == (sent_at, sent_at + 7200)


def test_it_is_published_and_reported_like_every_other() -> None:
    w = holding()
    reparse(w)
    tokens = w.run(caller_waits=True).tokens
    assert tokens is not None
    assert tokens.access_token == Secret("access-9")
    assert w.vault.published[NAME]["access_token"] == "access-9"
    assert w.bus.types == ["Connection Degraded", "Token Rotated", "Connection Recovered"]


def test_a_set_that_expired_meanwhile_is_refreshed_with_its_new_token() -> None:
    w = holding()
    w.clock.advance(86_400)
    reparse(w)
    w.provider.script = [answer(200, {**ODD, "result": {"token": "access-10", "renew": "refresh-10"}})]
    tokens = w.run(caller_waits=True).tokens
    assert tokens is not None
    assert tokens.access_token == Secret("access-10")
    assert b"refresh-9" in w.provider.requests[1].body


def test_a_profile_that_cannot_read_it_either_changes_nothing() -> None:
    w = holding()
    before = w.record()
    with pytest.raises(UnreadableResponse, match="keap/main"):
        reparse(w, KEAP)
    assert w.record() == before


def test_a_caller_after_expiry_is_asked_to_retry_not_to_authorize() -> None:
    """A caller that asks once the old token has expired is asked to retry, and not to authorize again."""
    w = holding()
    w.clock.advance(86_400)
    with pytest.raises(TemporarilyUnavailable, match="unreadable_response"):
        w.run(caller_waits=True)


def test_what_the_profile_takes_for_a_refusal_is_one() -> None:
    rule = ErrorRule(kind="grant_rejected", status=200)
    refusing = correct_profile(success_when=Success(path="ok", equals=True))
    refusing = msgspec.structs.replace(refusing, errors=(rule,))
    w = holding(refusing)
    reparse(w, refusing)
    assert w.record().unreadable_response is None
    assert w.record().rejected_at == w.clock.now()
    assert (w.record().refresh_at or 0) > w.clock.now(), "it goes on"


def test_new_variables_get_their_defaults_and_removed_ones_go() -> None:
    """A new variable of the corrected profile takes its default, and a removed variable goes."""
    variables = {**CORRECTED.variables, "zone": Variable(pattern="[a-z]+", default="eu")}
    del variables["login_host"]
    zoned = msgspec.structs.replace(CORRECTED, variables=variables)
    w = holding(zoned)
    reparse(w, zoned)
    assert w.record().variables == {"host": "api.example.com", "refresh_token_days": "45", "zone": "eu"}


def test_a_profile_that_wants_what_the_connection_has_not_is_refused() -> None:
    wanting = msgspec.structs.replace(CORRECTED, variables={"zone": Variable(pattern="[a-z]+")})
    w = holding(wanting)
    before = w.record()
    with pytest.raises(InvalidVariable, match="zone"):
        reparse(w, wanting)
    assert w.record() == before


def test_another_providers_profile_is_refused() -> None:
    other = built_in.load_built_in()["wealthyhood"]
    w = holding(other)
    with pytest.raises(InvalidRequest, match="wealthyhood"):
        reparse(w, other)


def test_there_must_be_something_to_read() -> None:
    w = world()
    with pytest.raises(InvalidRequest, match="no response"):
        reparse(w, KEAP)
    with pytest.raises(UnknownConnection):
        Rotation(w.ports, Settings()).reparse("keap/absent", content_hash(KEAP))


def test_a_paused_connection_is_resumed_first() -> None:
    w = holding()
    w.records.items[NAME] = replace(w.record(), status=Status.PAUSED)
    with pytest.raises(Paused):
        reparse(w)


def test_a_table_that_does_not_take_it_leaves_it_in_the_queue() -> None:
    w = holding()
    change = w.records.change

    def down(*_: object, **__: object) -> None:
        raise PortUnavailable("made to fail")

    w.records.change = down  # type: ignore[assignment,method-assign]
    reparse(w)
    w.records.change = change  # type: ignore[method-assign]
    assert w.record().unreadable_response is not None
    [message] = [message for message, _ in w.queue.messages if message.get("task") == "save"]
    Rotation(w.ports, Settings()).save_from_queue(message)
    assert w.stored.access_token == Secret("access-9")
    assert w.record().profile_hash == content_hash(CORRECTED)


def test_a_set_of_a_replayed_request_counts_its_life_from_the_replay() -> None:
    """A set whose first request was lost counts its life from the last request."""
    profile = msgspec.structs.replace(KEAP, rotation=msgspec.structs.replace(KEAP.rotation, reuse_grace=60))
    w = world(profile)
    w.provider.script = [LostResponse("gone"), answer(200, ODD)]
    w.run()
    w.ports.profiles.load_pinned = MemoryProfiles(CORRECTED).load_pinned  # type: ignore[method-assign]
    sent_at = int(w.clock.now())
    w.clock.advance(100)
    reparse(w)
    assert w.record().issued_at == sent_at
