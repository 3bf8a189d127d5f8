"""Protects what leaves by queue and bus: nothing is counted as taken that was not, delays are passed on to the second,
and events have the shape that rules are written against."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from evergrant.adapters.aws.event_bus import EventBus
from evergrant.adapters.aws.rotation_queue import SqsQueue
from evergrant.adapters.aws.sdk import client
from evergrant.ports import PortUnavailable
from evergrant.record.connection import create_event
from evergrant.record.status import EventType
from tests.adapters.hooks import failing, on, parameters
from tests.adapters.samples import NAME, NOW, connection

BUS = "evergrant"


@pytest.fixture
def queue(queue_url: str) -> SqsQueue:
    return SqsQueue(queue_url)


@pytest.fixture
def bus(aws: None) -> EventBus:
    client("events").create_event_bus(Name=BUS)
    return EventBus(BUS)


def receive_all(queue_url: str) -> list[Any]:
    found: list[Any] = []
    while batch := client("sqs").receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10).get("Messages"):
        found += [json.loads(message["Body"]) for message in batch]
    return found


def outbox(count: int) -> dict[str, Any]:
    changes = [create_event(EventType.ROTATED, connection(), NOW, generation=number) for number in range(count)]
    return {event_id: body for change in changes for event_id, body in change.items()}


# --- the queue ----------------------------------------------------------------------------------------------------


def test_a_message_arrives_as_json(queue: SqsQueue) -> None:
    queue.send({"connection": NAME})
    assert receive_all(queue.url) == [{"connection": NAME}]


def test_a_delay_is_passed_on_to_the_second(queue: SqsQueue) -> None:
    with parameters("sqs", "SendMessage") as sent:
        queue.send({"connection": NAME}, delay=37)
    assert sent[0]["DelaySeconds"] == 37
    assert receive_all(queue.url) == []


def test_a_queue_that_refuses_is_unavailable(queue: SqsQueue) -> None:
    with failing("sqs", "SendMessage"), pytest.raises(PortUnavailable):
        queue.send({"connection": NAME})
    with failing("sqs", "SendMessageBatch"), pytest.raises(PortUnavailable):
        queue.send_many([({"connection": NAME}, 0)])


def test_a_delay_that_sqs_does_not_know_is_no_success(queue: SqsQueue) -> None:
    with pytest.raises(PortUnavailable):
        queue.send({"connection": NAME}, delay=901)


@pytest.mark.parametrize(("count", "calls"), [(0, 0), (1, 1), (10, 1), (11, 2), (25, 3)])
def test_many_messages_go_in_batches_of_ten(queue: SqsQueue, count: int, calls: int) -> None:
    with parameters("sqs", "SendMessageBatch") as batches:
        assert queue.send_many([({"connection": f"keap/{number}"}, 0) for number in range(count)]) == count
    assert len(batches) == calls
    assert all(len(batch["Entries"]) <= 10 for batch in batches)
    assert sorted(body["connection"] for body in receive_all(queue.url)) == sorted(f"keap/{n}" for n in range(count))


def test_each_message_of_a_batch_has_its_own_delay(queue: SqsQueue) -> None:
    with parameters("sqs", "SendMessageBatch") as batches:
        queue.send_many([({"connection": f"keap/{delay}"}, delay) for delay in (0, 5, 75)])
    sent = {json.loads(entry["MessageBody"])["connection"]: entry["DelaySeconds"] for entry in batches[0]["Entries"]}
    assert sent == {"keap/0": 0, "keap/5": 5, "keap/75": 75}
    assert [body["connection"] for body in receive_all(queue.url)] == ["keap/0"]


def test_what_a_batch_did_not_take_is_not_counted(queue: SqsQueue) -> None:
    def refuse_two(parsed: dict[str, Any], **_: Any) -> None:
        parsed["Failed"] = [{"Id": entry["Id"], "SenderFault": False} for entry in parsed["Successful"][:2]]
        parsed["Successful"] = parsed["Successful"][2:]

    messages = [({"connection": f"keap/{number}"}, 0) for number in range(12)]
    with on("sqs", "after-call.sqs.SendMessageBatch", refuse_two):
        assert queue.send_many(messages) == 8


def test_a_batch_of_which_nothing_was_taken_counts_nothing(queue: SqsQueue) -> None:
    with on("sqs", "after-call.sqs.SendMessageBatch", lambda parsed, **_: parsed.pop("Successful")):
        assert queue.send_many([({"connection": NAME}, 0)]) == 0


# --- the bus ------------------------------------------------------------------------------------------------------


def test_an_event_has_the_shape_that_rules_match(bus: EventBus) -> None:
    [(event_id, body)] = create_event(EventType.DEGRADED, connection(), NOW, reason="invalid_grant").items()
    assert body
    with parameters("events", "PutEvents") as calls:
        assert bus.put({event_id: body}) == {event_id}
    [entry] = calls[0]["Entries"]
    assert entry["EventBusName"] == BUS
    assert entry["Source"] == "evergrant"
    assert entry["DetailType"] == "Connection Degraded"
    assert json.loads(entry["Detail"]) == {
        "id": event_id,
        "connection": "keap/main",
        "provider": "keap",
        "account": "main",
        "time": "2027-01-15T08:00:00Z",
        "reason": "invalid_grant",
        "alert": False,
        "summary": "keap/main cannot be refreshed at present: "
        "the provider no longer accepts the grant (invalid_grant). "
        "Evergrant tries once more before it counts as final.",
        "command": "evergrant status keap/main",
    }


def test_an_event_is_dated_when_it_happened_not_when_it_was_sent(bus: EventBus) -> None:
    with parameters("events", "PutEvents") as calls:
        bus.put(outbox(1))
    assert calls[0]["Entries"][0]["Time"] == datetime.fromtimestamp(NOW, UTC)


@pytest.mark.parametrize(("count", "calls"), [(0, 0), (10, 1), (11, 2), (23, 3)])
def test_events_go_in_batches_of_ten_and_all_count(bus: EventBus, count: int, calls: int) -> None:
    events = outbox(count)
    with parameters("events", "PutEvents") as batches:
        assert bus.put(events) == events.keys()
    assert len(batches) == calls
    sent = [json.loads(entry["Detail"])["id"] for batch in batches for entry in batch["Entries"]]
    assert sorted(sent) == sorted(events)


def test_an_event_that_was_not_taken_stays_in_the_outbox(bus: EventBus) -> None:
    # EventBridge answers 200 and says which entries failed, by their position.
    def refuse_second(parsed: dict[str, Any], **_: Any) -> None:
        parsed["FailedEntryCount"] = 1
        parsed["Entries"][1] = {"ErrorCode": "ThrottlingException", "ErrorMessage": "made to fail"}

    events = outbox(3)
    first, second, third = events
    with on("events", "after-call.events.PutEvents", refuse_second):
        assert bus.put(events) == {first, third}
    assert bus.put({second: events[second]}) == {second}


def test_a_bus_that_refuses_is_unavailable(bus: EventBus) -> None:
    with failing("events", "PutEvents"), pytest.raises(PortUnavailable):
        bus.put(outbox(1))


def test_what_was_delivered_before_the_bus_failed_is_not_sent_again(bus: EventBus) -> None:
    calls: list[Any] = []

    def only_the_first(params: dict[str, Any], **_: Any) -> None:
        calls.append(params)
        if len(calls) > 1:
            raise EndpointConnectionError(endpoint_url="https://events.invalid")

    events = outbox(12)
    with on("events", "provide-client-params.events.PutEvents", only_the_first):
        assert bus.put(events) == set(list(events)[:10])
