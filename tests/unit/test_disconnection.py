"""Protects the end of a grant: disconnected at any answer of the provider, revoked as promised, then forgotten."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from evergrant.connect import operator_actions
from evergrant.errors import Disconnected, InvalidRequest, LostResponse, NotSent, UnknownConnection
from evergrant.http_messages import HttpResponse
from evergrant.ports import PortUnavailable
from evergrant.profiles import built_in
from evergrant.profiles.request_specs import Revoke
from evergrant.record.status import Status
from evergrant.rotation.connection_pass import Rotation
from evergrant.rotation.handler import handle_request as answer_of_rotator
from evergrant.rotation.refresh_demand import TokenDemand
from tests.unit.memory import Crash, answer
from tests.unit.rotation_world import NAME, World, world
from tests.unit.samples import form_of

KEAP = msgspec.structs.replace(
    built_in.load_built_in()["keap"], revoke=Revoke(url="https://{host}/revoke", scope="grant")
)
DONE = HttpResponse(200, {}, b"")


def build_disconnected(*script: HttpResponse | Exception, revoke: bool = True, **fields: Any) -> World:
    w = world(KEAP, **fields)
    operator_actions.disconnect(w.records, NAME, w.clock, revoke=revoke)
    w.provider.script = list(script)
    return w


def rotation(w: World) -> Rotation:
    return Rotation(w.ports, w.settings, w.clock.now() + 59)


def revoke_and_forget(w: World) -> str:
    return rotation(w).revoke_and_forget(NAME)


@pytest.mark.parametrize("disconnects", [True, False], ids=["disconnected", "the lease is about to end"])
def test_a_publication_that_comes_too_late_does_not_restore_the_secret(*, disconnects: bool) -> None:
    w = world(KEAP)
    publish = w.vault.publish

    def slow(*args: Any, **kwargs: Any) -> None:
        w.clock.time = float(w.record().lease_until or 0) - 9
        if disconnects:
            w.clock.advance(10)
            operator_actions.disconnect(w.records, NAME, w.clock)
        w.vault.deleted.add(NAME)
        publish(*args, **kwargs)

    w.vault.publish = slow  # type: ignore[method-assign]
    assert w.run().outcome == "rotated"
    assert w.vault.published == {}
    if not disconnects:  # marked by hand: the next worker has the time
        w.vault.publish = publish  # type: ignore[method-assign]
        w.clock.advance(60)
        assert w.run().outcome == "published"
        assert w.vault.published[NAME]["access_token"] == "access-1"


def test_the_refresh_token_is_sent_and_then_forgotten() -> None:
    w = build_disconnected(DONE)
    assert revoke_and_forget(w) == "asked"
    [request] = w.provider.requests
    sent = form_of(request)
    assert request.url == "https://api.example.com/revoke"
    assert (sent["token"], sent["token_type_hint"]) == ("refresh-0", "refresh_token")
    record = w.record()
    assert (record.status, record.sealed, record.to_revoke, record.lease_owner) == (
        Status.DISCONNECTED,
        None,
        None,
        None,
    )


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        (answer(400, {"error": "unsupported_token_type"}), "refused"),
        (answer(503, {}), "retrying"),
        (NotSent("down"), "retrying"),
        (LostResponse("gone"), "retrying"),
    ],
)
def test_it_ends_disconnected_and_forgotten_for_any_provider_answer(said: Any, outcome: str) -> None:
    w = build_disconnected(said)
    assert revoke_and_forget(w) == outcome
    assert (w.record().status, w.record().sealed, w.record().to_revoke) == (Status.DISCONNECTED, None, None)


def test_an_unanswered_revocation_is_retried_until_connected_again() -> None:
    """A provider that does not answer is asked again, unless the account is connected again."""
    w = build_disconnected(NotSent("down"), DONE)
    revoke_and_forget(w)
    [(message, delay)] = w.queue.messages
    assert delay == 60
    assert rotation(w).revoke_from_queue(message) == "asked"
    assert [form_of(request)["token"] for request in w.provider.requests] == ["refresh-0"] * 2


def test_a_pending_revocation_is_dropped_once_connected_again() -> None:
    """A revocation that was to be retried is left alone once the account is connected again."""
    w = build_disconnected(NotSent("down"), DONE)
    revoke_and_forget(w)
    operator_actions.begin(w.records, *operator_actions.plan(KEAP, NAME), w.clock)
    assert rotation(w).revoke_from_queue(w.queue.messages[0][0]) == "not_needed"
    assert len(w.provider.requests) == 1


def test_a_pass_yields_when_the_account_is_connected_again_meanwhile() -> None:
    """A pass that finds the connection disconnected leaves it to a new connect at that moment."""
    w = build_disconnected()
    get = w.records.get

    def get_and_be_overtaken(connection: str) -> Any:
        seen = get(connection)
        w.records.get = get  # type: ignore[method-assign]
        operator_actions.begin(w.records, *operator_actions.plan(KEAP, NAME), w.clock)
        return seen

    w.records.get = get_and_be_overtaken  # type: ignore[method-assign]
    assert w.run().outcome == "busy"
    assert w.provider.requests == []
    assert w.record().status is Status.AWAITING_AUTHORIZATION


def test_connecting_anew_gives_up_what_was_not_asked_yet() -> None:
    w = build_disconnected(DONE)
    operator_actions.begin(w.records, *operator_actions.plan(KEAP, NAME), w.clock)
    assert w.record().to_revoke is None
    with pytest.raises(InvalidRequest):
        revoke_and_forget(w)
    assert w.provider.requests == []


def test_nothing_is_kept_where_nothing_shall_be_revoked() -> None:
    w = build_disconnected(revoke=False)
    assert (w.record().sealed, w.record().to_revoke) == (None, None)
    assert revoke_and_forget(w) == "not_needed"
    assert w.provider.requests == []


def test_a_second_disconnect_may_give_the_revocation_up() -> None:
    w = build_disconnected()
    assert operator_actions.disconnect(w.records, NAME, w.clock, revoke=True).to_revoke is not None
    assert operator_actions.disconnect(w.records, NAME, w.clock).to_revoke is None


def test_nothing_is_served_while_the_provider_is_still_to_be_asked() -> None:
    w = build_disconnected()
    with pytest.raises(Disconnected):
        w.run(caller_waits=True)
    assert w.provider.requests == []


def test_the_next_pass_revokes_and_reports_a_disconnect_left_unfinished() -> None:
    w = build_disconnected(DONE)
    due_at = w.record().due_at
    assert due_at is not None
    w.run()
    assert form_of(w.provider.requests[0])["token"] == "refresh-0"
    assert (w.record().to_revoke, w.record().due_at) == (None, None)
    assert w.bus.types == ["Connection Disconnected"]


def test_what_another_worker_is_asking_is_left_to_it_and_stays_due() -> None:
    w = build_disconnected()
    now = int(w.clock.now())
    w.records.items[NAME] = replace(w.record(), lease_owner="another", lease_until=now + 40)
    assert revoke_and_forget(w) == "busy"
    assert w.run().outcome == "busy"
    assert w.record().due_at is not None
    assert w.provider.requests == []


def test_a_crash_at_any_call_of_a_disconnect_is_finished_by_the_next() -> None:
    """A worker that dies at any call leaves a disconnected record, which the next pass finishes."""
    w = build_disconnected(DONE)
    before = len(w.faults.calls)
    revoke_and_forget(w)
    calls = len(w.faults.calls) - before
    assert calls > 3
    for at in range(1, calls + 1):
        for kind in ("crash-before", "crash-after", "before", "after"):
            w = build_disconnected(DONE, DONE)
            w.faults.at, w.faults.kind = len(w.faults.calls) + at, kind
            try:
                revoke_and_forget(w)
            except (Crash, PortUnavailable):
                assert w.record().due_at is not None, (at, kind)
            w.faults.at = None
            assert w.record().status is Status.DISCONNECTED
            assert w.record().sealed is None
            w.clock.advance(60)
            w.run()
            for message, _ in w.queue.messages:
                if message.get("task") == "revoke":
                    rotation(w).revoke_from_queue(message)
            assert w.record().to_revoke is None, (at, kind)
            assert w.provider.requests, (at, kind)


def test_a_client_that_is_gone_does_not_hold_up_the_forgetting() -> None:
    w = build_disconnected()
    w.vault.clients.clear()
    assert revoke_and_forget(w) == "failed"
    assert w.record().to_revoke is None


@pytest.mark.parametrize("fields", [{"status": Status.ACTIVE}, {"status": Status.PAUSED}])
def test_what_is_in_use_is_never_revoked(fields: dict[str, Any]) -> None:
    w = world(KEAP, **fields)
    with pytest.raises(InvalidRequest):
        revoke_and_forget(w)
    assert w.provider.requests == []


def test_what_does_not_exist_is_not_revoked() -> None:
    with pytest.raises(UnknownConnection):
        rotation(world(KEAP)).revoke_and_forget("keap/none")


def test_rotator_says_how_it_went_and_shows_no_token() -> None:
    w = build_disconnected(DONE)
    said = answer_of_rotator(rotation(w), w.ports, {"connection": NAME, "revoke": True})
    assert said == {"connection": NAME, "revocation": "asked"}


def test_rotator_refuses_to_revoke_what_is_not_disconnected() -> None:
    w = world(KEAP, due=False)
    said = answer_of_rotator(rotation(w), w.ports, {"connection": NAME, "revoke": True})
    assert said["error"]["code"] == "invalid_request"
    assert rotation(w).run(TokenDemand(NAME)).connection.status is Status.ACTIVE


def test_a_disconnected_record_that_was_changed_is_kept_and_reported() -> None:
    """Nothing is sent to another address. Put right, the record ends its grant after all."""
    w = build_disconnected(DONE)
    before = w.record().variables
    w.records.items[NAME] = replace(w.record(), variables={**before, "host": "evil.example"})
    said = answer_of_rotator(rotation(w), w.ports, {"connection": NAME, "revoke": True})
    assert said["error"]["code"] == "record_tampered"
    for _ in range(2):
        w.clock.advance(60)
        assert rotation(w).run(TokenDemand(NAME)).outcome == "inactive"
    assert w.provider.requests == []
    alerts = [body["detail"] for body in w.bus.events.values() if body["detail"].get("reason") == "record_tampered"]
    assert [detail["alert"] for detail in alerts] == [True]
    assert (w.record().due_at, w.record().lease_owner) == (None, None)
    w.records.items[NAME] = replace(w.record(), variables=before)
    assert revoke_and_forget(w) == "asked"
