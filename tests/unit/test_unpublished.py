"""Protects that a token set which cannot be published, and an event that no bus takes, do not stay a secret."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from evergrant.connect import operator_actions
from evergrant.errors import TemporarilyUnavailable
from evergrant.ports import PortUnavailable
from evergrant.record.alerts import describe_event
from evergrant.record.status import EventType, Status
from evergrant.rotation.refresh_demand import Result, TokenDemand, build_warning
from evergrant.secret import Secret
from evergrant_cli.health import Level, assess_health
from tests.unit.memory import answer
from tests.unit.rotation_world import NAME, World, world

MINUTE, HOUR, DAY = 60, 3600, 86_400


def refuses(what: str) -> Any:
    def refuse(*_: Any, **__: Any) -> Any:
        raise PortUnavailable(f"{what}: AccessDeniedException")

    return refuse


def pass_time(w: World, seconds: float) -> list[Result]:
    """Work on all that is due, each minute, as the ticks would."""
    results, until = [], w.clock.now() + seconds
    while w.clock.now() < until:
        due_at = w.record().due_at
        if due_at is not None and due_at <= w.clock.now():
            results.append(w.run())
        w.clock.advance(MINUTE)
    return results


def alerts(w: World) -> list[tuple[str, str]]:
    return [
        (str(event["type"]), event["detail"].get("reason", ""))
        for event in w.bus.events.values()
        if describe_event(event)["alert"]
    ]


def health_of(w: World, **fields: Any) -> Level:
    return assess_health(replace(w.record(), **fields), int(w.clock.now())).level


# A secret that takes nothing


def test_an_alert_is_raised_before_the_published_token_expires() -> None:
    w = world()
    w.vault.publish = refuses("publishing")  # type: ignore[method-assign]
    before = w.record().expires_at or 0
    results = pass_time(w, 10 * MINUTE)
    assert w.clock.now() < before
    assert (w.record().status, w.record().last_error, w.record().failures) == (Status.DEGRADED, "unpublished", 0)
    assert alerts(w) == [("Connection Degraded", "unpublished")]
    assert health_of(w) is Level.ACT
    assert {result.outcome for result in results[1:]} == {"unpublished"}
    assert w.dependency_errors == ["publishing: AccessDeniedException"] * len(results)


def test_a_few_tries_that_fail_are_nobodys_concern() -> None:
    w = world()
    publish, w.vault.publish = w.vault.publish, refuses("publishing")  # type: ignore[method-assign]
    pass_time(w, 4 * MINUTE)
    assert w.record().status is Status.ACTIVE
    w.vault.publish = publish  # type: ignore[method-assign]
    pass_time(w, 4 * MINUTE)
    assert not w.record().is_unpublished
    assert (w.record().status, w.bus.types) == (Status.ACTIVE, ["Token Rotated"])


def test_it_stays_so_over_later_refreshes_and_is_reported_once() -> None:
    w = world()
    w.vault.publish = refuses("publishing")  # type: ignore[method-assign]
    pass_time(w, 2 * DAY)
    assert w.record().generation > 2
    assert (w.record().status, w.record().last_error) == (Status.DEGRADED, "unpublished")
    assert alerts(w) == [("Connection Degraded", "unpublished")]
    assert "Connection Recovered" not in w.bus.types


def test_publication_ends_it_and_the_recovery_is_reported() -> None:
    """It ends when the token set is published, and the recovery is reported like the failure was."""
    w = world()
    publish, w.vault.publish = w.vault.publish, refuses("publishing")  # type: ignore[method-assign]
    pass_time(w, 2 * DAY)
    w.vault.publish = publish  # type: ignore[method-assign]
    pass_time(w, 3 * MINUTE)
    assert w.vault.published[NAME]["access_token"] == w.stored.access_token.reveal()
    assert alerts(w) == [("Connection Degraded", "unpublished"), ("Connection Recovered", "")]
    assert (w.record().status, w.record().last_error, w.record().alerted_at) == (Status.ACTIVE, None, None)
    assert health_of(w) is Level.FINE
    assert not w.record().outbox


def test_it_ends_with_the_next_save_where_that_needs_no_secret_any_more() -> None:
    w = world()
    w.vault.publish = refuses("publishing")  # type: ignore[method-assign]
    pass_time(w, 10 * MINUTE)
    w.provider.lifetime = 900
    w.run(caller_waits=True, force=True)
    assert (w.record().status, w.record().last_error) == (Status.ACTIVE, None)
    assert alerts(w)[-1][0] == "Connection Recovered"


def test_a_pause_in_between_does_not_leave_it_standing() -> None:
    w = world()
    publish, w.vault.publish = w.vault.publish, refuses("publishing")  # type: ignore[method-assign]
    pass_time(w, 10 * MINUTE)
    w.clock.advance(HOUR)
    operator_actions.pause(w.records, NAME, w.clock)
    operator_actions.resume(w.records, NAME, w.clock)
    w.vault.publish = publish  # type: ignore[method-assign]
    pass_time(w, 3 * MINUTE)
    assert (w.record().status, w.record().last_error) == (Status.ACTIVE, None)
    assert alerts(w)[-1][0] == "Connection Recovered"


def test_a_refresh_that_fails_too_is_what_the_record_says() -> None:
    w = world()
    w.vault.publish = refuses("publishing")  # type: ignore[method-assign]
    pass_time(w, 2 * MINUTE)
    w.records.items[NAME] = replace(w.record(), failures=1, last_error="server_error")
    pass_time(w, 10 * MINUTE)
    assert (w.record().status, w.record().last_error) == (Status.DEGRADED, "server_error")
    assert alerts(w) == [("Connection Degraded", "unpublished")]


@pytest.mark.parametrize("status", [Status.AUTHORIZATION_REQUIRED, Status.CLIENT_REFUSED])
def test_what_is_worse_stays(status: Status) -> None:
    w = world(due=False, published_generation=0, status=status)
    w.vault.publish = refuses("publishing")  # type: ignore[method-assign]
    pass_time(w, 10 * MINUTE)
    assert (w.record().status, alerts(w)) == (status, [])


def test_a_caller_has_the_new_token_and_no_warning() -> None:
    w = world()
    w.vault.publish = refuses("publishing")  # type: ignore[method-assign]
    pass_time(w, 10 * MINUTE)
    result = w.run(caller_waits=True)
    assert result.tokens
    assert result.tokens.access_token.reveal() == "access-1"
    assert build_warning(result, TokenDemand(NAME, caller_waits=True), 0, int(w.clock.now())) is None


def test_the_words_say_who_is_cut_off() -> None:
    detail = {"connection": NAME, "client": "keap", "reason": "unpublished", "alert": True}
    words = describe_event({"type": EventType.DEGRADED, "detail": detail})["summary"]
    assert "Secrets Manager" in words
    assert "cannot be refreshed" not in words


# A bus, and a table, that take nothing


def test_events_that_no_bus_takes_are_reported_by_every_pass() -> None:
    w = world()
    w.bus.put = refuses("putting events")  # type: ignore[method-assign]
    results = pass_time(w, 10 * MINUTE)
    assert len(results) > 2
    assert w.dependency_errors == ["putting events: AccessDeniedException"] * len(results)
    assert results[-1].outcome == "unpublished"


def test_an_event_that_a_bus_leaves_out_is_reported() -> None:
    w = world()
    w.bus.put = lambda events: frozenset()  # type: ignore[method-assign]
    w.run()
    assert w.dependency_errors == ["putting events: not all were taken"]


def test_undelivered_events_of_an_inactive_connection_are_reported() -> None:
    w = world(status=Status.PAUSED, outbox={"1": {"type": "x", "at": 0, "detail": {}}})
    w.bus.put = refuses("putting events")  # type: ignore[method-assign]
    w.run()
    assert w.dependency_errors == ["putting events: AccessDeniedException"]


def test_a_release_that_the_table_does_not_take_is_reported() -> None:
    w = world()
    change = w.records.change

    def no_release(name: str, changes: Any, **conditions: Any) -> Any:
        if "published_generation" in changes:
            raise PortUnavailable("changing the record: ThrottlingException")
        return change(name, changes, **conditions)

    w.records.change = no_release  # type: ignore[assignment, method-assign]
    w.run()
    assert w.dependency_errors == ["changing the record: ThrottlingException"]


def test_a_failing_data_key_is_reported_beside_what_the_record_says() -> None:
    """A data key that cannot be made is reported, beside what the record says."""
    w = world()
    w.ports.seal.prepare = refuses("generating a data key")  # type: ignore[method-assign]
    result = w.run()
    assert w.dependency_errors == ["generating a data key: AccessDeniedException"]
    assert (result.outcome, w.record().last_error) == ("failed", "service_unavailable")


def test_a_refusal_that_the_table_does_not_take_is_reported() -> None:
    w = world()
    w.provider.script = [answer(400, {"error": "invalid_grant"})]
    send = w.provider.send

    def break_table(*given: Any, **named: Any) -> Any:
        w.records.change = refuses("changing the record")  # type: ignore[method-assign]
        return send(*given, **named)

    w.provider.send = break_table  # type: ignore[method-assign]
    w.run()
    assert w.dependency_errors == ["changing the record: AccessDeniedException"]


def test_what_is_served_although_the_table_takes_nothing_is_reported() -> None:
    w = world()
    w.records.change = refuses("changing the record")  # type: ignore[method-assign]
    w.run(caller_waits=True, force=True)
    assert w.dependency_errors == ["changing the record: AccessDeniedException"]


def test_dependency_errors_are_reported_though_the_caller_gets_an_error() -> None:
    """What fails in a pass is reported, though the caller gets an error."""
    w = world()
    w.clock.time = float(w.record().expires_at or 0)
    w.bus.put = refuses("putting events")  # type: ignore[method-assign]
    w.provider.script = [answer(400, {"error": "invalid_grant"})]
    with pytest.raises(TemporarilyUnavailable):
        w.run(caller_waits=True)
    assert w.dependency_errors == ["putting events: AccessDeniedException"]


def test_a_pass_that_did_all_it_had_to_reports_nothing() -> None:
    w = world()
    w.run()
    assert w.dependency_errors == []


# A token that no secret takes


def test_a_token_too_large_for_a_secret_is_said_at_once_and_served() -> None:
    """Secrets Manager is not asked in vain: no later try can succeed."""
    w = world()
    large = "x" * 70_000
    body = {"access_token": large, "refresh_token": "refresh-1", "expires_in": HOUR}
    w.provider.script = [answer(200, body)]
    w.run()
    record = w.record()
    assert (record.status, record.last_error, record.last_detail) == (Status.DEGRADED, "unpublished", "too_large")
    assert w.vault.published == {}
    [event] = [found for found in w.bus.events.values() if found["type"] == EventType.DEGRADED]
    said = describe_event(event)
    assert said["alert"] is True
    assert "65,536 bytes" in said["summary"]
    served = w.run(caller_waits=True)
    assert served.tokens is not None
    assert served.tokens.access_token == Secret(large)
    assert len(alerts(w)) == 1
