"""Checks of the ways on which a person hears of a failure: alarms, dead letters, subscriptions, a test alert."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from evergrant.times import format_rfc3339

from .patient import Patient
from .running import MAX_TICK_AGE_SECONDS
from .verdicts import Finding, green, red, unasked, unknown, yellow

#: Not one of the types of Evergrant's own events: a program on the bus can tell it from them.
TEST_ALERT = "Test Alert"
_MAX_NAMES = 100  # DescribeAlarms takes so many at once


def check_alarms(patient: Patient) -> Finding:
    """Look whether an alarm is raised, and whether each would be reported."""
    names = patient.list_ids("AWS::CloudWatch::Alarm")
    found = patient.get_client("cloudwatch").describe_alarms(
        AlarmNames=list(names.values())[:_MAX_NAMES], AlarmTypes=["MetricAlarm"]
    )["MetricAlarms"]
    states = {alarm["AlarmName"]: alarm for alarm in found}
    raised = [name for name, full in names.items() if states.get(full, {}).get("StateValue") == "ALARM"]
    if raised:
        return red(f"raised: {', '.join(raised)}", "docs/operating.md says for each alarm what to do.")
    missing = [name for name, full in names.items() if full not in states]
    if missing or not names:
        return red(f"missing: {', '.join(missing) or 'all alarms'}", "Deploy the stack again.")
    silent = [name for name, full in names.items() if not states[full].get("ActionsEnabled", True)]
    if silent:
        enable = f"cloudwatch enable-alarm-actions --alarm-names {' '.join(names[name] for name in silent)}"
        return red(f"switched off: {', '.join(silent)}", patient.write_command(enable))
    # An alarm with an action for this state, such as that on silence, is raised by it; a new one has no data yet.
    silence = [name for name, full in names.items() if _lacks_data(states[full])]
    if silence and patient.deployment.age >= MAX_TICK_AGE_SECONDS:
        return yellow(f"no data: {', '.join(silence)}", "docs/operating.md says for each alarm what to do.")
    return green(f"{len(names)} alarms, none raised")


def _lacks_data(alarm: Mapping[str, Any]) -> bool:
    return alarm["StateValue"] == "INSUFFICIENT_DATA" and bool(alarm.get("InsufficientDataActions"))


def check_dead_letters(patient: Patient) -> Finding:
    """Look whether the dead-letter queues are empty."""
    queues = {name: url for name, url in patient.list_ids("AWS::SQS::Queue").items() if "DeadLetter" in name}
    counts = {}
    for name, url in queues.items():
        attributes = patient.get_client("sqs").get_queue_attributes(
            QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages", "QueueArn"]
        )["Attributes"]
        counts[name] = (int(attributes["ApproximateNumberOfMessages"]), attributes["QueueArn"])
    full = {name: (count, arn) for name, (count, arn) in counts.items() if count}
    said = ", ".join(f"{count} in {name}" for name, (count, _) in full.items())
    if "RotationDeadLetterQueue" in full:
        redrive = patient.write_command(
            f"sqs start-message-move-task --source-arn {full['RotationDeadLetterQueue'][1]}"
        )
        return red(said, f"Fix what rotator's log says, then: {redrive}. A message may hold the only token set.")
    if "AlertDeadLetterQueue" in full:
        letters = patient.write_command(f"sqs receive-message --queue-url {queues['AlertDeadLetterQueue']}")
        return red(f"{said}: alerts that were not delivered", letters)
    if full:
        return yellow(f"{said}, of the last two weeks", "Scheduler's log says why a tick failed.")
    return green(f"{len(queues)} dead-letter queues, all empty")


def check_subscriptions(patient: Patient) -> Finding:
    """Look whether a subscription of the alert topic is confirmed. Its address is not shown: it may hold a key."""
    topic = patient.get_output("AlertTopicArn")
    pages = patient.get_client("sns").get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic)
    arns = [subscription["SubscriptionArn"] for page in pages for subscription in page["Subscriptions"]]
    confirmed = [arn for arn in arns if arn.startswith("arn:")]
    pending = arns.count("PendingConfirmation")
    subscribe = patient.write_command(
        f"sns subscribe --topic-arn {topic} --protocol email --notification-endpoint ADDRESS"
    )
    if not confirmed and pending:
        return red(
            f"none of {pending} subscriptions is confirmed",
            f"Press the link in the mail from AWS Notifications. A new one (the link holds for two days): {subscribe}",
        )
    if not confirmed:
        return red("the alert topic has no subscription", subscribe)
    if pending:
        return yellow(
            f"{len(confirmed)} confirmed, {pending} not", "Press the link in the mail from AWS Notifications."
        )
    return green(f"{len(confirmed)} confirmed")


def check_alert(patient: Patient) -> Finding:
    """Put a test alert on the bus, on the way of every alert, and ask whether it came."""
    if not patient.sends_alert:
        return unasked("no test alert was sent (--no-alert)", "Run the command without --no-alert.")
    at = datetime.fromtimestamp(int(patient.now), UTC)
    said = format_rfc3339(int(patient.now))
    detail = {
        "alert": True,
        "connection": "(no connection)",
        "summary": f"This is a test of stack {patient.deployment.stack}.",
        "command": "nothing",
        "time": said,
    }
    entry = {
        "EventBusName": patient.get_output("EventBusName"),
        "Source": "evergrant",
        "DetailType": TEST_ALERT,
        "Time": at,
        "Detail": json.dumps(detail),
    }
    answer = patient.get_client("events").put_events(Entries=[entry])
    if answer["FailedEntryCount"]:
        code = answer["Entries"][0].get("ErrorCode", "no reason given")
        return unknown(f"EventBridge did not accept the test alert ({code})", "Repeat the command.")
    came = patient.ask(f"A test alert was sent at {said}. Has it come? A mail takes up to a minute.")
    if came is None:
        return unasked(f"EventBridge accepted the test alert of {said}", "Look whether it came to every subscriber.")
    if came:
        return green(f"the test alert of {said} came")
    return red(
        f"the test alert of {said} was accepted, and did not come",
        "Look for it among the spam, and at the checks subscriptions and dead-letters.",
    )
