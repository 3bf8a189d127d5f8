"""Checks of what runs: the stack, the schedule, the event source mapping and the functions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ..output import format_span
from .patient import FUNCTIONS, Patient
from .verdicts import Finding, green, red, unknown, yellow

#: Ticks are a minute apart, and a metric is a few minutes late.
MAX_TICK_AGE_SECONDS = 600
#: Executions beside rotator's: a tick, a page, and a few reads of tokens at once.
OTHER_EXECUTIONS = 5
#: The quota "Concurrent executions" (Lambda quotas).
_CONCURRENCY_QUOTA = "L-B99A9384"
_SUGGESTED_CONCURRENCY = 1000
_MAX_STORAGE_SHARE = 0.9


def check_stack(patient: Patient) -> Finding:
    """Look at the status of the CloudFormation stack, and whether it can be deleted only on purpose."""
    status, name = patient.deployment.status, patient.deployment.stack
    events = patient.write_command(f"cloudformation describe-stack-events --stack-name {name}")
    if status.endswith("_IN_PROGRESS"):
        return yellow(f"a deployment is under way ({status})", "Wait until it is finished, then repeat the command.")
    if "FAILED" in status:
        return red(f"the last deployment failed ({status})", events)
    if "ROLLBACK" in status:
        return yellow(f"the last deployment was rolled back ({status})", events)
    if not patient.deployment.has_termination_protection:
        protect = f"cloudformation update-termination-protection --enable-termination-protection --stack-name {name}"
        return yellow(f"{status}, without termination protection", patient.write_command(protect))
    return green(f"{status}, with termination protection")


def check_schedule(patient: Patient) -> Finding:
    """Look whether the schedule of the ticks is enabled."""
    name = patient.get_id("SchedulerFunctionTick")
    schedule = patient.get_client("scheduler").get_schedule(Name=name)
    said = f"schedule {name}: {schedule['State']}, {schedule['ScheduleExpression']}"
    if schedule["State"] == "ENABLED":
        return green(said)
    return red(said, "evergrant release")  # `evergrant status` shows whether an operator holds all refreshes


def check_ticks(patient: Patient) -> Finding:
    """Look when scheduler was last invoked, and whether it failed."""
    end = datetime.fromtimestamp(patient.now, UTC)
    name = patient.get_function("Scheduler").rpartition(":")[2]

    def read_metric(metric: str) -> dict[datetime, float]:
        answer = patient.get_client("cloudwatch").get_metric_statistics(
            Namespace="AWS/Lambda",
            MetricName=metric,
            Dimensions=[{"Name": "FunctionName", "Value": name}],
            StartTime=end - timedelta(seconds=MAX_TICK_AGE_SECONDS),
            EndTime=end,
            Period=60,
            Statistics=["Sum"],
        )
        return {point["Timestamp"]: point["Sum"] for point in answer["Datapoints"] if point["Sum"]}

    started, failed = read_metric("Invocations"), read_metric("Errors")
    log = patient.write_command(f"logs tail {patient.get_id('SchedulerLogs')} --since 15m")
    span = format_span(MAX_TICK_AGE_SECONDS)
    if not started and patient.deployment.age < MAX_TICK_AGE_SECONDS:
        return yellow("no tick yet; the stack is new", "Repeat the command in ten minutes.")
    if not started:
        letters = patient.write_command(f"sqs receive-message --queue-url {patient.get_id('SchedulerDeadLetterQueue')}")
        return red(f"no tick within {span}", f"If the schedule is enabled, see why it cannot start: {letters}")
    ago = format_span((end - max(started)).total_seconds())
    if failed and max(failed) >= max(started):
        return red(f"the last tick, {ago} ago, failed", log)
    if failed:
        return yellow(f"the last tick was {ago} ago; {len(failed)} within {span} failed", log)
    return green(f"the last tick was {ago} ago")


def check_event_source(patient: Patient) -> Finding:
    """Look whether Lambda hands the queue's messages to rotator."""
    uuid = patient.get_id("RotatorFunctionRotation")
    mapping = patient.get_client("lambda").get_event_source_mapping(UUID=uuid)
    state, last = mapping["State"], str(mapping.get("LastProcessingResult") or "")
    if state in ("Enabled", "Enabling", "Updating"):
        if last.startswith("PROBLEM"):
            return red(f"{state}, and Lambda says: {last}", "Rotator's role must be allowed to receive from the queue.")
        return green(f"event source mapping of the rotation queue: {state}")
    return red(
        f"event source mapping of the rotation queue: {state}",
        patient.write_command(f"lambda update-event-source-mapping --uuid {uuid} --enabled"),
    )


def check_recursion(patient: Patient) -> Finding:
    """Look whether Lambda lets rotator send to its own queue (Lambda guide, "Recursive loop detection")."""
    name = patient.get_function("Rotator")
    setting = patient.get_client("lambda").get_function_recursion_config(FunctionName=name)["RecursiveLoop"]
    if setting == "Allow":
        return green("rotator's recursive loop: Allow")
    return red(
        f"rotator's recursive loop: {setting}",
        patient.write_command(f"lambda put-function-recursion-config --function-name {name} --recursive-loop Allow"),
    )


def check_concurrency(patient: Patient) -> Finding:
    """Look whether the account's concurrency leaves room beside rotator, and no function is throttled by hand."""
    functions = patient.get_client("lambda")
    for each in FUNCTIONS:
        name = patient.get_function(each)
        if functions.get_function_concurrency(FunctionName=name).get("ReservedConcurrentExecutions") == 0:
            return red(
                f"{each.lower()} is throttled: its reserved concurrency is 0",
                patient.write_command(f"lambda delete-function-concurrency --function-name {name}"),
            )
    left = functions.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"]
    rotators = int(patient.get_parameter("RotatorConcurrency", "0"))
    raise_it = patient.write_command(
        f"service-quotas request-service-quota-increase --service-code lambda --quota-code {_CONCURRENCY_QUOTA} "
        f"--desired-value {_SUGGESTED_CONCURRENCY}"
    )
    said = f"{left} unreserved executions in the account; rotator takes up to {rotators}"
    if left <= rotators:
        return red(said, f"{raise_it}; until then, deploy with a smaller RotatorConcurrency.")
    if left < rotators + OTHER_EXECUTIONS:
        return yellow(said, raise_it)
    return green(said)


def check_code_storage(patient: Patient) -> Finding:
    """Look how much of the account's storage for code is used: each deployment leaves a client layer."""
    settings = patient.get_client("lambda").get_account_settings()
    limit, used = settings["AccountLimit"].get("TotalCodeSize"), settings["AccountUsage"].get("TotalCodeSize")
    if not limit or used is None:
        return unknown("AWS does not say how much storage for code there is", "Look at Lambda's dashboard.")
    said = f"{used / 1024**3:.1f} of {limit / 1024**3:.0f} GB of the account's storage for code are used"
    fix = "Delete layer versions and functions that are no longer used: " + patient.write_command("lambda list-layers")
    if used >= limit:
        return red(said, fix)
    return yellow(said, fix) if used >= limit * _MAX_STORAGE_SHARE else green(said)
