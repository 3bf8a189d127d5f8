"""Protects each check of `evergrant doctor`: a planted fault is red, and what could not be looked at is never green."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from botocore import xform_name
from botocore.exceptions import ClientError, EndpointConnectionError

from evergrant.record.status import EventType
from evergrant_cli.deployment import Deployment
from evergrant_cli.doctor import patient
from evergrant_cli.doctor.examination import CHECKS, run_check
from evergrant_cli.doctor.patient import Patient
from evergrant_cli.doctor.verdicts import Finding, Verdict
from tests.adapters.doctor_account import (
    LAYER,
    OLD_KEY,
    RESOURCES,
    VAULT_KEY,
    Account,
    Answer,
    alarms,
    at,
    backups,
    entry,
    identity,
    key,
    letters,
    metrics,
    quotas,
    refused,
    resources,
    secrets,
    settings,
    stack,
    subscriptions,
    table,
)

GREEN, YELLOW, RED, UNKNOWN = Verdict.GREEN, Verdict.YELLOW, Verdict.RED, Verdict.UNKNOWN
NAMES = [check.name for check in CHECKS]
NO_ANSWER = EndpointConnectionError(endpoint_url="https://sts.eu-west-1.amazonaws.com")


def examine(name: str, answer: bool | None = True) -> Finding:
    """Run one check, in a run of the command of its own; ``answer`` is the person's."""
    (check,) = (check for check in CHECKS if check.name == name)
    return run_check(check, Patient(Deployment("evergrant"), lambda question: answer))


@pytest.mark.parametrize("name", NAMES)
def test_in_an_account_in_good_order_each_check_is_green(account: Account, name: str) -> None:
    found = examine(name)
    assert (found.verdict, found.fix) == (GREEN, ""), found


FAULTS: list[tuple[str, Mapping[str, Answer], Verdict, str, str]] = [
    ("stack", {"DescribeStacks": stack(StackStatus="UPDATE_ROLLBACK_FAILED")}, RED, "ROLLBACK_FAILED", "stack-events"),
    ("stack", {"DescribeStacks": stack(StackStatus="UPDATE_ROLLBACK_COMPLETE")}, YELLOW, "rolled back", "stack-events"),
    ("stack", {"DescribeStacks": stack(StackStatus="UPDATE_IN_PROGRESS")}, YELLOW, "under way", "Wait"),
    ("stack", {"DescribeStacks": stack(EnableTerminationProtection=False)}, YELLOW, "without", "--enable-termination"),
    ("clock", {"GetCallerIdentity": identity(skew=-400)}, RED, "by 399 s", "NTP"),
    ("clock", {"GetCallerIdentity": identity(skew=400)}, RED, "by 400 s", "NTP"),
    ("clock", {"GetCallerIdentity": identity(skew=40)}, YELLOW, "by 40 s", "NTP"),
    (
        "schedule",
        {"GetSchedule": {"State": "DISABLED", "ScheduleExpression": "rate(1 minute)"}},
        RED,
        "DISABLED",
        "evergrant release",
    ),
    ("ticks", {"GetMetricStatistics": metrics()}, RED, "no tick within 10 min", "SchedulerDeadLetterQueue"),
    (
        "ticks",
        {"GetMetricStatistics": metrics(Invocations={60: 1.0}, Errors={60: 1.0})},
        RED,
        "1 min ago, failed",
        "aws logs tail /aws/lambda/evergrant/scheduler",
    ),
    (
        "ticks",
        {"GetMetricStatistics": metrics(Invocations={60: 1.0, 300: 1.0}, Errors={300: 1.0})},
        YELLOW,
        "1 within 10 min failed",
        "aws logs tail",
    ),
    (
        "event-source",
        {"GetEventSourceMapping": {"State": "Disabled"}},
        RED,
        "Disabled",
        "update-event-source-mapping --uuid aaaaaaaa-2222-3333-4444-555555555555 --enabled",
    ),
    (
        "event-source",
        {"GetEventSourceMapping": {"State": "Enabled", "LastProcessingResult": "PROBLEM: access denied"}},
        RED,
        "PROBLEM",
        "role",
    ),
    (
        "recursion",
        {"GetFunctionRecursionConfig": {"RecursiveLoop": "Terminate"}},
        RED,
        "Terminate",
        "--recursive-loop Allow",
    ),
    ("concurrency", {"GetAccountSettings": settings(left=5)}, RED, "5 unreserved", "request-service-quota-increase"),
    ("concurrency", {"GetAccountSettings": settings(left=9)}, YELLOW, "9 unreserved", "request-service-quota-increase"),
    (
        "concurrency",
        {"GetFunctionConcurrency": {"ReservedConcurrentExecutions": 0}},
        RED,
        "scheduler is throttled",
        "delete-function-concurrency",
    ),
    ("code-storage", {"GetAccountSettings": settings(used=75)}, RED, "75.0 of 75 GB", "lambda list-layers"),
    ("code-storage", {"GetAccountSettings": settings(used=70)}, YELLOW, "70.0 of 75 GB", "lambda list-layers"),
    (
        "artifact",
        {
            "GetFunctionConfiguration": {
                "Runtime": "python3.13",
                "Architectures": ["x86_64"],
                "Layers": [{"Arn": LAYER}],
            }
        },
        RED,
        "built for python3.13 on arm64, and runs on python3.13 on x86_64",
        "Architecture",
    ),
    (
        "artifact",
        {"GetFunctionConfiguration": {"Runtime": "python3.13", "Architectures": ["arm64"]}},
        RED,
        "no layer",
        "Deploy",
    ),
    ("keys", {"DescribeKey": key("PendingDeletion")}, RED, "vault key is to be deleted", "kms cancel-key-deletion"),
    ("keys", {"DescribeKey": key("Disabled")}, RED, "vault key is Disabled", "kms enable-key --key-id"),
    ("keys", {"GetKeyRotationStatus": {"KeyRotationEnabled": False}}, YELLOW, "not rotate", "enable-key-rotation"),
    (
        "secrets",
        {"ListSecrets": secrets(evergrant__clients__keap=OLD_KEY), "DescribeSecret": {"KmsKeyId": OLD_KEY}},
        RED,
        "1 of 2 secrets are under another key: evergrant/clients/keap",
        f"update-secret --secret-id evergrant/clients/keap --kms-key-id {VAULT_KEY}",
    ),
    ("secrets", {"ListSecrets": secrets(evergrant__clients__keap=None)}, RED, "1 of 2 secrets", "update-secret"),
    ("tables", {"DescribeTable": table(DeletionProtectionEnabled=False)}, RED, "no deletion protection", "--deletion-"),
    ("tables", {"DescribeContinuousBackups": backups("DISABLED")}, RED, "point-in-time", "update-continuous-backups"),
    ("tables", {"DescribeTable": table(TableStatus="DELETING")}, RED, "DELETING", "Restore"),
    ("quotas", {"ListServiceQuotas": quotas(secretsmanager=10)}, RED, "is 10, below 50", "--quota-code L-1"),
    ("quotas", {"ListServiceQuotas": quotas(sns=1)}, RED, "Messages Published", "--service-code sns"),
    ("alarms", {"DescribeAlarms": alarms(TicksStopped={"StateValue": "ALARM"})}, RED, "TicksStopped", "operating.md"),
    ("alarms", {"DescribeAlarms": alarms(TicksStopped=None)}, RED, "missing: TicksStopped", "Deploy"),
    (
        "alarms",
        {"DescribeAlarms": alarms(TicksStopped={"StateValue": "OK", "ActionsEnabled": False})},
        RED,
        "switched off: TicksStopped",
        "enable-alarm-actions --alarm-names evergrant-TicksStopped",
    ),
    (
        "alarms",
        {
            "DescribeAlarms": alarms(
                TicksStopped={"StateValue": "INSUFFICIENT_DATA", "InsufficientDataActions": ["arn:aws:sns:x:1:alerts"]}
            )
        },
        YELLOW,
        "no data: TicksStopped",
        "operating.md",
    ),
    (
        "dead-letters",
        {"GetQueueAttributes": letters(RotationDeadLetterQueue=2)},
        RED,
        "2 in RotationDeadLetterQueue",
        "start-message-move-task --source-arn arn:aws:sqs:eu-west-1:123456789012:RotationDeadLetterQueue",
    ),
    ("dead-letters", {"GetQueueAttributes": letters(AlertDeadLetterQueue=1)}, RED, "not delivered", "receive-message"),
    ("dead-letters", {"GetQueueAttributes": letters(SchedulerDeadLetterQueue=1)}, YELLOW, "1 in Scheduler", "log says"),
    ("subscriptions", {"ListSubscriptionsByTopic": subscriptions()}, RED, "no subscription", "aws sns subscribe"),
    (
        "subscriptions",
        {"ListSubscriptionsByTopic": subscriptions("PendingConfirmation")},
        RED,
        "none of 1 subscriptions is confirmed",
        "Press the link",
    ),
    (
        "subscriptions",
        {"ListSubscriptionsByTopic": subscriptions("arn:aws:sns:eu-west-1:123456789012:a:1", "PendingConfirmation")},
        YELLOW,
        "1 confirmed, 1 not",
        "Press the link",
    ),
]


@pytest.mark.parametrize(("name", "answers", "verdict", "seen", "fix"), FAULTS)
def test_a_planted_fault_is_seen_with_the_command_that_fixes_it(
    account: Account, name: str, answers: Mapping[str, Answer], verdict: Verdict, seen: str, fix: str
) -> None:
    account.answers |= answers
    found = examine(name)
    assert found.verdict is verdict, found
    assert seen in found.seen
    assert fix in found.fix


#: Commands of the AWS CLI that are made for it, and an option that it renames.
CUSTOM, RENAMED = {("logs", "tail")}, {"notification-endpoint": "endpoint"}


def test_the_commands_that_fix_a_fault_are_those_of_the_aws_cli(account: Account) -> None:
    """Each exists, has the options that are shown, and lacks none that AWS demands."""
    shown = 0
    for name, answers, _, _, _ in FAULTS:
        account.answers = {**Account().answers, **answers}
        for command in find_commands(examine(name).fix):
            shown += 1
            require_command(*shlex.split(command))
    assert shown > len(FAULTS) / 2


def find_commands(fix: str) -> list[str]:
    """Find the commands in a text, and in a command's own ``$(…)``."""
    inner = re.findall(r"\$\((aws [^)]*)\)", fix)
    outer = re.sub(r"\$\(aws [^)]*\)", "VALUE", fix)
    return [*inner, *(part for part in re.findall(r"aws .*?(?= && |; |\. |\.$|$)", outer) if part.strip())]


def require_command(program: str, service: str, verb: str, *rest: str) -> None:
    """Fail on a command that the AWS CLI, which makes them of the services' descriptions, would refuse."""
    if (service, verb) in CUSTOM:
        return
    model = patient.create_client(service).meta.service_model
    operations = {xform_name(name, "-"): name for name in model.operation_names}
    assert verb in operations, f"{program} {service} has no {verb}"
    shape = model.operation_model(operations[verb]).input_shape
    members = {xform_name(member, "-") for member in shape.members}
    given = {word.removeprefix("--") for word in rest if word.startswith("--")} - {"region", "query", "output"}
    options = {RENAMED.get(option, option) for option in given}
    assert options <= members, f"{service} {verb} has no {options - members}"
    assert {xform_name(member, "-") for member in shape.required_members} <= options, f"{service} {verb} needs more"


def test_the_commands_act_under_the_identity_of_the_run(account: Account) -> None:
    account.answers |= {"ListSubscriptionsByTopic": subscriptions()}
    (check,) = (check for check in CHECKS if check.name == "subscriptions")
    found = run_check(check, Patient(Deployment("evergrant"), profile="production"))
    assert found.fix.endswith("--region eu-west-1 --profile production")


@pytest.mark.parametrize(
    ("name", "seen", "fix"),
    [
        ("alert", "was accepted, and did not come", "spam"),
        ("redirect-uris", "client keap is not registered with https://a1b2", "evergrant client show keap"),
    ],
)
def test_what_a_person_denies_is_red(account: Account, name: str, seen: str, fix: str) -> None:
    found = examine(name, answer=False)
    assert found.verdict is RED
    assert seen in found.seen
    assert fix in found.fix


def test_each_check_has_a_fault_that_turns_it_red() -> None:
    asked = {"alert", "redirect-uris"}
    assert {name for name, _, verdict, _, _ in FAULTS if verdict is RED} | asked == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("failure", ["refused", "unreachable"])
def test_a_check_that_could_not_look_is_unknown(account: Account, name: str, failure: str) -> None:
    """Each call of a check fails in turn, and the others succeed."""
    examine(name)
    made = dict.fromkeys(operation for operation, _ in account.calls)
    assert made
    for operation in made:
        account.answers = Account().answers | {operation: _fail(failure, operation)}
        found = examine(name)
        assert found.verdict is UNKNOWN, f"{operation}: {found}"
        assert not found.is_unasked
        assert found.fix


def _fail(failure: str, operation: str) -> Callable[[Mapping[str, Any]], Any]:
    def unreachable(asked: Mapping[str, Any]) -> Any:
        raise NO_ANSWER

    return refused("AccessDeniedException", operation) if failure == "refused" else unreachable


@pytest.mark.parametrize(
    ("name", "answers", "seen"),
    [
        ("clock", {"GetCallerIdentity": {"Account": "123456789012"}}, "no date"),
        ("schedule", {"ListStackResources": resources(SchedulerFunctionTick=None)}, "SchedulerFunctionTick"),
        ("code-storage", {"GetAccountSettings": {"AccountLimit": {}, "AccountUsage": {}}}, "does not say"),
        ("recursion", {"GetFunctionRecursionConfig": {}}, "not as expected (KeyError: 'RecursiveLoop')"),
        ("quotas", {"ListServiceQuotas": quotas(sns=-1)}, "does not list Messages Published per Second of sns"),
        ("alert", {"PutEvents": {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "ThrottlingException"}]}}, "Throttl"),
        ("stack", {"DescribeStacks": refused("ValidationError", "DescribeStacks")}, "There is no stack evergrant"),
        ("tables", {"DescribeTable": refused("ResourceNotFoundException", "DescribeTable")}, "ResourceNotFound"),
    ],
)
def test_an_answer_that_says_nothing_is_unknown(
    account: Account, name: str, answers: Mapping[str, Answer], seen: str
) -> None:
    account.answers |= answers
    found = examine(name)
    assert found.verdict is UNKNOWN, found
    assert seen in found.seen


@pytest.mark.parametrize("name", ["alert", "redirect-uris"])
def test_what_only_a_person_knows_is_unknown_without_one(account: Account, name: str) -> None:
    found = examine(name, answer=None)
    assert (found.verdict, found.is_unasked) == (UNKNOWN, True)


def test_the_redirect_uri_is_shown_for_each_client(account: Account) -> None:
    seen = examine("redirect-uris", answer=None).seen
    assert "https://a1b2.execute-api.eu-west-1.amazonaws.com/callback/keap at keap (client keap)" in seen
    account.answers["GetSecretValue"] = entry(redirect_path="/callback")
    seen = examine("redirect-uris", answer=None).seen
    assert "https://a1b2.execute-api.eu-west-1.amazonaws.com/callback at keap (client keap)" in seen


def test_who_may_not_read_clients_learns_which_policy_allows_it(account: Account) -> None:
    account.answers["GetSecretValue"] = refused("AccessDeniedException", "GetSecretValue")
    found = examine("redirect-uris")
    assert (found.verdict, "OperatorPolicyArn" in found.fix) == (UNKNOWN, True)


def test_without_a_client_no_redirect_uri_has_to_be_registered(account: Account) -> None:
    account.answers["ListSecrets"] = {"SecretList": []}
    assert "no clients yet" in examine("redirect-uris", answer=None).seen
    assert examine("secrets").seen == "there are no secrets yet"


def test_a_new_stack_has_no_tick_yet(account: Account) -> None:
    account.answers |= {"GetMetricStatistics": metrics(), "DescribeStacks": stack(CreationTime=at(-60))}
    assert examine("ticks").verdict is YELLOW


def test_the_clock_is_read_from_a_refusal_too(account: Account) -> None:
    """With a wrong clock AWS refuses each request, and its answer says what time it is."""
    answer = refused("RequestExpired", "GetCallerIdentity")

    def with_date(asked: Mapping[str, Any]) -> Any:
        try:
            answer(asked)
        except ClientError as error:
            error.response["ResponseMetadata"] = identity(skew=900)["ResponseMetadata"]
            raise

    account.answers |= {"GetCallerIdentity": with_date, "DescribeStacks": refused("RequestExpired", "DescribeStacks")}
    assert examine("clock").verdict is RED


@pytest.mark.parametrize(
    ("modules", "status", "seen"),
    [
        (("python/a.py", "python/_rust.abi3.so"), 200, "does not show what it was built for"),
        ((), 403, "cannot be downloaded (HTTP 403)"),
    ],
)
def test_a_layer_that_cannot_be_looked_into_is_unknown(
    account: Account, modules: tuple[str, ...], status: int, seen: str
) -> None:
    account.layer, account.layer_status = modules, status
    found = examine("artifact")
    assert found.verdict is UNKNOWN
    assert seen in found.seen
    assert "Signature" not in found.seen


def test_a_secrets_key_may_be_named_by_id_or_by_alias(account: Account) -> None:
    named = {
        "evergrant/clients/keap": VAULT_KEY.rpartition("/")[2],
        "evergrant/tokens/keap/main": "alias/evergrant-vault",
    }
    account.answers["ListSecrets"] = {"SecretList": [{"Name": name, "KmsKeyId": each} for name, each in named.items()]}
    assert examine("secrets").verdict is GREEN


def test_a_secret_whose_key_was_changed_just_now_is_described(account: Account) -> None:
    """ListSecrets may be five minutes old (API_ListSecrets)."""
    account.answers |= {
        "ListSecrets": secrets(evergrant__clients__keap=OLD_KEY),
        "DescribeSecret": {"Name": "evergrant/clients/keap", "KmsKeyId": VAULT_KEY},
    }
    assert examine("secrets").verdict is GREEN


def test_the_test_alert_takes_the_way_of_every_alert(account: Account) -> None:
    """It has the fields of which the alert's message is made, and a type of its own."""
    examine("alert")
    ((_, asked),) = (call for call in account.calls if call[0] == "PutEvents")
    (entry,) = asked["Entries"]
    assert entry["EventBusName"] == "evergrant"
    assert entry["DetailType"] not in set(EventType)
    assert json.loads(entry["Detail"]).keys() == {"alert", "connection", "summary", "command", "time"}
    assert json.loads(entry["Detail"])["alert"] is True


def test_no_test_alert_is_sent_where_it_is_not_wanted(account: Account) -> None:
    (check,) = (check for check in CHECKS if check.name == "alert")
    found = run_check(check, Patient(Deployment("evergrant"), lambda question: True, sends_alert=False))
    assert (found.verdict, found.is_unasked) == (UNKNOWN, True)
    assert account.calls == []


def test_each_dead_letter_queue_of_the_stack_is_looked_at(account: Account) -> None:
    examine("dead-letters")
    asked = {params["QueueUrl"].rpartition("/")[2] for call, params in account.calls if call == "GetQueueAttributes"}
    assert asked == {name for name in RESOURCES if "DeadLetter" in name}
