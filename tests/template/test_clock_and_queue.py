"""Protects the flow of work: the clock, the queue's arithmetic, and the alarms for when either stops."""

from __future__ import annotations

import re
from typing import Any

import pytest
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from evergrant.adapters.rate_limiter import RateLimiter
from evergrant.record.alerts import describe_event
from evergrant.record.refresh_schedule import compute_claim_until
from evergrant.record.status import EventType
from evergrant.rotation.handler import _MAX_SIDE_BY_SIDE, DEPENDENCY_ERRORS, MAX_AT_PROVIDERS
from evergrant.settings import Budgets
from evergrant.wiring.deployment import _MAX_VAULT_WAIT_SECONDS, _MAX_VAULT_WRITES_PER_SECOND
from tests.template.stack import ROOT, as_list, collect_grants, of_type, properties, read_template, words
from tests.unit.memory import FakeClock

ALARMS = ("TicksStopped", "TicksFailed", "RotationsFailed", "DependencyErrors", "RotationsWaiting", "AlertsLost")


def test_the_clock_ticks_every_minute_and_says_so_when_it_cannot() -> None:
    (schedule,) = of_type("AWS::Scheduler::Schedule").values()
    assert schedule["Properties"]["ScheduleExpression"] == "rate(1 minute)"
    target = schedule["Properties"]["Target"]
    assert words(target["Arn"]) == "SchedulerFunction.Arn"
    assert words(target["RoleArn"]) == "TickRole.Arn"
    assert target["RetryPolicy"]["MaximumEventAgeInSeconds"] == 60, "the next tick does the work of a late one"
    assert words(target["DeadLetterConfig"]["Arn"]) == "SchedulerDeadLetterQueue.Arn"


def test_a_failed_tick_is_kept_and_not_repeated() -> None:
    (config,) = of_type("AWS::Lambda::EventInvokeConfig").values()
    assert words(config["Properties"]["FunctionName"]) == "SchedulerFunction"
    assert config["Properties"]["MaximumRetryAttempts"] == 0
    destination = config["Properties"]["DestinationConfig"]["OnFailure"]["Destination"]
    assert words(destination) == "SchedulerDeadLetterQueue.Arn"


def test_a_message_stays_hidden_for_six_times_rotators_timeout() -> None:
    timeout = properties("RotatorFunction")["Timeout"]
    assert timeout == 60
    assert properties("RotationQueue")["VisibilityTimeout"] == 6 * timeout


def test_five_crashes_put_a_message_aside() -> None:
    redrive = properties("RotationQueue")["RedrivePolicy"]
    assert redrive["maxReceiveCount"] == 5
    assert words(redrive["deadLetterTargetArn"]) == "RotationDeadLetterQueue.Arn"


def test_a_batch_fits_into_rotators_timeout_even_if_every_provider_hangs() -> None:
    (mapping,) = of_type("AWS::Lambda::EventSourceMapping").values()
    assert mapping["Properties"]["BatchSize"] <= _MAX_SIDE_BY_SIDE, "else some wait for others to be done"
    turns = mapping["Properties"]["BatchSize"] / MAX_AT_PROVIDERS
    assert turns * Budgets().attempt + 2 * Budgets().save < properties("RotatorFunction")["Timeout"]


def test_messages_of_a_batch_fail_one_by_one_at_bounded_concurrency() -> None:
    """Messages of a batch succeed and fail one by one, and concurrency is bounded."""
    (mapping,) = of_type("AWS::Lambda::EventSourceMapping").values()
    assert mapping["Properties"]["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert words(mapping["Properties"]["ScalingConfig"]["MaximumConcurrency"]) == "RotatorConcurrency"


def test_a_batch_is_published_within_its_share_of_the_quota() -> None:
    """A batch is published within its share of what Secrets Manager takes, at the highest number of rotators."""
    (mapping,) = of_type("AWS::Lambda::EventSourceMapping").values()
    rotators = read_template()["Parameters"]["RotatorConcurrency"]["MaxValue"]
    all_at_once = FakeClock()
    all_at_once.sleep = lambda seconds: None  # type: ignore[method-assign]
    pace = RateLimiter(_MAX_VAULT_WRITES_PER_SECOND / rotators, all_at_once, _MAX_VAULT_WAIT_SECONDS)
    assert all(pace.wait() for _ in range(mapping["Properties"]["BatchSize"]))


def test_rotator_has_its_seal_key_before_its_first_message() -> None:
    assert "RotatorSealPolicy" in as_list(of_type("AWS::Lambda::Function")["RotatorFunction"]["DependsOn"])


def test_only_a_function_that_feeds_its_own_queue_may_recurse() -> None:
    """A function that may send to its own event source allows recursion, and no other function does.

    Lambda stops a chain of about 16 invocations unless the function has ``RecursiveLoop: Allow``; the message then ends
    in the dead-letter queue. For every other function the detection stays on (Lambda guide, "Use Lambda recursive loop
    detection to prevent infinite loops").
    """
    functions = of_type("AWS::Lambda::Function")
    sources = {
        (words(mapping["Properties"]["FunctionName"]), words(mapping["Properties"]["EventSourceArn"]))
        for mapping in of_type("AWS::Lambda::EventSourceMapping").values()
    }
    roles = {name: words(function["Properties"]["Role"]).removesuffix(".Arn") for name, function in functions.items()}
    recursive = {name for name, queue in sources if ("sqs:SendMessage", queue) in collect_grants(roles[name])}
    assert recursive, "a queued save is sent to the queue that it came from"
    allowed = {name: function["Properties"].get("RecursiveLoop", "Terminate") for name, function in functions.items()}
    assert allowed == {name: "Allow" if name in recursive else "Terminate" for name in functions}


def test_silence_of_the_clock_is_an_alarm() -> None:
    alarm = properties("TicksStopped")
    assert (alarm["Namespace"], alarm["MetricName"]) == ("AWS/Lambda", "Invocations")
    (dimension,) = alarm["Dimensions"]
    assert (dimension["Name"], words(dimension["Value"])) == ("FunctionName", "SchedulerFunction")
    # Breaching data would be looked for before the stack existed, and each new stack would alarm.
    assert alarm["TreatMissingData"] == "missing"
    assert alarm["InsufficientDataActions"] == [{"Ref": "AlertTopic"}]
    assert (alarm["ComparisonOperator"], alarm["Threshold"]) == ("LessThanThreshold", 1)
    assert alarm["Period"] * alarm["EvaluationPeriods"] <= 300


def test_one_rotation_put_aside_is_an_alarm_for_as_long_as_it_lies_there() -> None:
    alarm = properties("RotationsFailed")
    assert alarm["MetricName"] == "ApproximateNumberOfMessagesVisible"
    assert words(alarm["Dimensions"][0]["Value"]) == "RotationDeadLetterQueue.QueueName"
    assert (alarm["ComparisonOperator"], alarm["Threshold"]) == ("GreaterThanThreshold", 0)
    assert alarm["TreatMissingData"] == "ignore", "SQS stops measuring a queue to which nothing happens"


def test_every_tick_that_fails_is_an_alarm_that_ends_with_the_failures() -> None:
    alarm = properties("TicksFailed")
    assert (alarm["Namespace"], alarm["MetricName"]) == ("AWS/Lambda", "Errors"), "a message put aside stays for weeks"
    assert words(alarm["Dimensions"][0]["Value"]) == "SchedulerFunction"
    assert (alarm["Statistic"], alarm["ComparisonOperator"], alarm["Threshold"]) == ("Sum", "GreaterThanThreshold", 0)
    assert alarm["TreatMissingData"] == "notBreaching"


def test_forty_minutes_of_dependency_errors_raise_an_alarm() -> None:
    """Rotators with dependency errors for forty minutes raise an alarm, by the metric that they count."""
    alarm = properties("DependencyErrors")
    rotator = properties("RotatorFunction")["Environment"]["Variables"]
    counted = EphemeralMetrics(namespace="Evergrant/this", service=rotator["POWERTOOLS_SERVICE_NAME"])
    counted.add_metric(DEPENDENCY_ERRORS, MetricUnit.Count, 1)
    sent: dict[str, Any] = {**counted.serialize_metric_set()}
    [directive] = sent["_aws"]["CloudWatchMetrics"]
    assert alarm["Namespace"] == rotator["POWERTOOLS_METRICS_NAMESPACE"], "and no other stack's"
    assert "AWS::StackName" in words(alarm["Namespace"])
    assert [metric["Name"] for metric in directive["Metrics"]] == [alarm["MetricName"]]
    dimensions = {dimension["Name"]: dimension["Value"] for dimension in alarm["Dimensions"]}
    assert [{name: sent[name] for name in names} for names in directive["Dimensions"]] == [dimensions]
    assert (alarm["Statistic"], alarm["ComparisonOperator"], alarm["Threshold"]) == ("Sum", "GreaterThanThreshold", 0)
    assert alarm["Period"] * alarm["EvaluationPeriods"] == 2400, "one call that fails raises no alarm"
    assert alarm["Period"] >= 2 * compute_claim_until(0, 0, None), "what is dependency_errors is tried in each period"
    assert alarm["TreatMissingData"] == "notBreaching"


def test_a_message_that_nothing_takes_is_an_alarm() -> None:
    alarm = properties("RotationsWaiting")
    assert (alarm["Namespace"], alarm["MetricName"]) == ("AWS/SQS", "ApproximateAgeOfOldestMessage")
    assert words(alarm["Dimensions"][0]["Value"]) == "RotationQueue.QueueName"
    longest_delay = 900
    assert alarm["Threshold"] >= 2 * longest_delay
    assert (alarm["Statistic"], alarm["ComparisonOperator"]) == ("Maximum", "GreaterThanThreshold")
    assert alarm["TreatMissingData"] == "notBreaching"


def test_every_alarm_reaches_the_topic() -> None:
    assert set(of_type("AWS::CloudWatch::Alarm")) == set(ALARMS)
    for alarm in ALARMS:
        assert properties(alarm)["AlarmActions"] == [{"Ref": "AlertTopic"}]
        assert properties(alarm)["AlarmDescription"]


def test_the_end_of_an_alarm_is_a_message_only_if_it_has_fired() -> None:
    """A new alarm becomes OK from INSUFFICIENT_DATA, and each of its OKActions would send a message."""
    assert not [name for name in ALARMS if "OKActions" in properties(name)]
    rule = properties("RecoveryRule")
    assert {words(arn) for arn in rule["EventPattern"]["resources"]} == {f"{name}.Arn" for name in ALARMS}
    assert rule["EventPattern"]["detail"] == {"state": {"value": ["OK"]}, "previousState": {"value": ["ALARM"]}}
    assert words(rule["Targets"][0]["Arn"]) == "AlertTopic"


@pytest.mark.parametrize("rule", of_type("AWS::Events::Rule"))
def test_what_a_rule_cannot_deliver_is_kept_and_raises_an_alarm(rule: str) -> None:
    """EventBridge retries no permission error; without a dead-letter queue the event is gone (EventBridge guide)."""
    for target in properties(rule)["Targets"]:
        assert words(target["DeadLetterConfig"]["Arn"]) == "AlertDeadLetterQueue.Arn"
    assert words(properties("AlertsLost")["Dimensions"][0]["Value"]) == "AlertDeadLetterQueue.QueueName"
    statement, *_ = properties("AlertDeadLetterPolicy")["PolicyDocument"]["Statement"]
    assert statement["Effect"] == "Allow"
    assert statement["Principal"] == {"Service": "events.amazonaws.com"}
    assert statement["Condition"]["ArnLike"].keys() == {"aws:SourceArn"}


def test_a_new_accounts_concurrency_leaves_room_beside_rotator() -> None:
    """It may be ten for all functions together (Lambda guide, "Lambda quotas")."""
    assert read_template()["Parameters"]["RotatorConcurrency"]["Default"] <= 5


def test_the_manual_says_what_to_do_on_each_alarm() -> None:
    manual = (ROOT / "docs" / "operating.md").read_text()
    assert set(re.findall(r"^\| `(\w+)` \|", manual, re.MULTILINE)) >= set(ALARMS)


def test_events_that_need_a_person_reach_the_topic() -> None:
    rule = properties("AlertRule")
    assert words(rule["EventBusName"]) == "EventBus"
    assert rule["EventPattern"] == {"detail": {"alert": [True]}}, "a list of types would leave out the next one"
    (target,) = rule["Targets"]
    assert words(target["Arn"]) == "AlertTopic"
    paths = target["InputTransformer"]["InputPathsMap"]
    event = describe_event(
        {"type": EventType.DEGRADED, "detail": {"connection": "keap/main", "time": "2027-01-15T08:00:00Z"}}
    )
    assert {path.removeprefix("$.detail.") for path in paths.values()} <= {*event, "$.detail-type"}
    template = target["InputTransformer"]["InputTemplate"]
    assert set(re.findall(r"<(\w+)>", template)) == paths.keys()
    assert {"<summary>", "<command>", "<connection>"} <= set(re.findall(r"<\w+>", template)), "words, and what to do"


def test_the_topic_takes_events_without_a_condition() -> None:
    """The topic accepts events with no ``Condition``, and alarms of this account only. It denies plain HTTP alone.

    "You can't use `Condition` blocks in Amazon SNS topic policies for EventBridge": with one, a rule's messages may be
    refused although PutEvents succeeds (EventBridge guide, "Using resource-based policies for Amazon EventBridge",
    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html).
    """
    every = properties("AlertTopicPolicy")["PolicyDocument"]["Statement"]
    statements = [it for it in every if it["Effect"] == "Allow"]
    assert all(it["Action"] == "sns:Publish" for it in every)
    allowed = {it["Principal"]["Service"]: it.get("Condition") for it in statements}
    assert allowed == {
        "events.amazonaws.com": None,
        "cloudwatch.amazonaws.com": {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}},
    }
