"""Protects the refresh attempt: what is sent, and what a refusal of the provider changes in the record."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from evergrant.errors import LostResponse, NotSent
from evergrant.record.refusals import MIN_SECOND_REJECTION_SECONDS
from evergrant.record.status import Status
from evergrant.secret import Secret
from tests.unit.memory import CLIENT, answer, basic_of
from tests.unit.rotation_world import KEAP, LIFETIME, NAME, table_down_after_the_answer, with_grace, world


def test_the_older_client_secret_is_tried_when_the_newer_one_is_refused() -> None:
    w = world()
    w.vault.clients["keap"] = replace(CLIENT, secrets=(Secret("new"), Secret("old")))
    w.provider.script = [answer(401, {"error": "invalid_client"})]
    assert w.run().outcome == "rotated"
    assert [basic_of(request) for request in w.provider.requests] == ["client-1:new", "client-1:old"]


def test_every_request_of_an_attempt_carries_its_own_assertion() -> None:
    assert KEAP.refresh
    refresh = msgspec.structs.replace(KEAP.refresh, client_auth="private_key_jwt")
    w = world(with_grace(msgspec.structs.replace(KEAP, refresh=refresh), 60))
    key = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    w.vault.clients["keap"] = replace(CLIENT, secrets=(), private_key=Secret(key.decode()))
    w.provider.script = [LostResponse("gone"), LostResponse("gone")]
    assert w.run().outcome == "rotated"
    proofs = [dict(parse_qsl(request.body.decode()))["client_assertion"] for request in w.provider.requests]
    ids = {json.loads(urlsafe_b64decode(proof.split(".")[1] + "=="))["jti"] for proof in proofs}
    assert len(proofs) == len(ids) == 3


def test_what_cannot_have_reached_the_provider_is_not_in_doubt() -> None:
    w = world()
    w.provider.script = [NotSent("no route")]
    w.run()
    assert w.record().attempt_id is None
    assert w.record().failures == 1
    assert w.record().status is Status.ACTIVE
    assert 0 < (w.record().refresh_at or 0) - w.clock.now() <= 15
    w.clock.advance(20)
    assert w.run().outcome == "rotated"


DEAD = answer(400, {"error": "invalid_grant", "error_description": "token canary-in-description is dead"})


def test_a_second_rejection_requires_a_person() -> None:
    """One rejection degrades the connection, and a second one ten minutes later requires a person."""
    w = world()
    w.provider.script = [DEAD, DEAD]
    w.run()
    assert (w.record().status, w.record().last_error) == (Status.DEGRADED, "invalid_grant")
    assert w.record().refresh_at == w.clock.now() + MIN_SECOND_REJECTION_SECONDS
    w.clock.advance(MIN_SECOND_REJECTION_SECONDS)
    w.run()
    assert w.record().status is Status.AUTHORIZATION_REQUIRED
    assert w.bus.types == ["Connection Degraded", "Authorization Required"]
    # One probe a day from now on, in case the provider heals.
    assert 0.8 * 86_400 < (w.record().refresh_at or 0) - w.clock.now() < 1.2 * 86_400
    assert w.record().sealed is not None, "a credential is never deleted because a refresh failed"
    assert "canary-in-description" not in repr(w.records.history) + repr(w.bus.events)


def test_a_grant_that_heals_is_active_again_and_says_so() -> None:
    w = world()
    w.provider.script = [DEAD]
    w.run()
    w.clock.advance(MIN_SECOND_REJECTION_SECONDS)
    w.run()
    assert w.record().status is Status.ACTIVE
    assert w.record().rejected_at is None
    assert w.bus.types == ["Connection Degraded", "Token Rotated", "Connection Recovered"]


def test_a_rejection_after_another_worker_rotated_adopts_the_new_set() -> None:
    w = world()
    send = w.provider.send

    def overtaken(*args: Any, **kwargs: Any) -> Any:
        w.provider.send = send  # type: ignore[method-assign]
        now = int(w.clock.now())
        w.records.items[NAME] = replace(
            w.record(), lease_owner=None, lease_until=None, attempt_id=None, refresh_at=now, due_at=now
        )
        w.run()
        return DEAD

    w.provider.send = overtaken  # type: ignore[method-assign]
    result = w.run(caller_waits=True, rejected=Secret("access-0").fingerprint)
    assert result.tokens is not None
    assert result.tokens.access_token == Secret("access-1")
    assert w.record().status is Status.ACTIVE


def test_a_refused_client_is_distinguished_from_a_refused_grant() -> None:
    w = world()
    w.provider.script = [answer(401, {"error": "invalid_client"})]
    w.run()
    assert w.record().status is Status.CLIENT_REFUSED
    assert w.bus.types == ["Client Refused"]


def test_a_rate_limit_is_waited_out_as_long_as_the_provider_says() -> None:
    w = world()
    w.provider.script = [answer(429, b"", retry_after="120")]
    w.run()
    assert w.record().refresh_at == w.clock.now() + 120
    assert w.record().status is Status.ACTIVE


def test_three_failures_in_a_row_degrade() -> None:
    w = world()
    w.provider.script = [NotSent("no route")] * 3
    for _ in range(3):
        w.run()
        w.clock.time = max(w.clock.time, w.record().refresh_at or 0)
    assert w.record().status is Status.DEGRADED


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        (answer(429, b""), "rate_limited"),
        (answer(400, {"error": "invalid_grant"}), "invalid_grant"),
        (answer(401, {"error": "invalid_client"}), "invalid_client"),
    ],
)
def test_a_refusal_is_written_down_even_if_the_table_takes_it_late(refusal: Any, error: str) -> None:
    w = world()
    w.provider.script = [refusal]
    table_down_after_the_answer(w, 50)
    assert w.run().outcome == "failed"
    assert (w.record().attempt_id, w.record().last_error) == (None, error)
    assert w.record().lease_owner is None


def test_a_waiting_caller_bounds_the_retries_of_saving_a_refusal() -> None:
    """A caller that waits is not held longer than its wait for the table to take a refusal."""
    for wait, held in ((25, 25), (0, 5)):
        w = world()
        w.provider.script = [answer(429, b"")]
        table_down_after_the_answer(w, 50)
        begun = w.clock.now()
        w.run(caller_waits=True, min_ttl=LIFETIME // 2, wait=wait)
        assert len(w.provider.requests) == 1
        assert held <= w.clock.now() - begun < held + 1


def test_a_late_failure_does_not_undo_a_pause() -> None:
    w = world()

    def paused(*_: Any, **__: Any) -> Any:
        w.records.items[NAME] = replace(w.record(), status=Status.PAUSED, due_at=None, due_shard=None)
        raise NotSent("no route")

    w.provider.send = paused  # type: ignore[method-assign]
    w.run()
    assert (w.record().status, w.record().due_at) == (Status.PAUSED, None)
