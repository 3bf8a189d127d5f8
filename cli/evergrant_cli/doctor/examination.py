"""The checks, and their run: side by side, but for those that ask a person."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass

from botocore.exceptions import BotoCoreError, ClientError

from evergrant.adapters.aws.sdk import read_error_code
from evergrant.ports import PortUnavailable

from ..problems import CommandFailed
from . import alerting, artifact, keeping, running, surroundings
from .patient import Patient
from .verdicts import Finding, Result, unknown

_WORKERS = 6
#: What the policy for doctor does not allow: sending an alert, and reading records and clients.
_OPERATORS_CALLS = frozenset({"PutEvents", "GetItem", "Scan", "GetSecretValue"})


@dataclass(frozen=True, slots=True)
class Check:
    """A check: its name, why it matters, and what looks."""

    name: str
    why: str
    look: Callable[[Patient], Finding]
    asks: bool = False


CHECKS = (
    Check(
        "stack",
        "A failed deployment leaves parts of the old stack; with a deleted one, its address is lost.",
        running.check_stack,
    ),
    Check("clock", "With a wrong clock AWS refuses requests, and times are shown wrongly.", surroundings.check_clock),
    Check("schedule", "Without it nothing is refreshed.", running.check_schedule),
    Check("ticks", "A tick finds the connections that are due.", running.check_ticks),
    Check("event-source", "Without it no message reaches rotator.", running.check_event_source),
    Check("recursion", "Lambda would drop a token set that is being saved again.", running.check_recursion),
    Check("concurrency", "A function that is throttled refreshes and serves nothing.", running.check_concurrency),
    Check("code-storage", "When it is full, no deployment succeeds.", running.check_code_storage),
    Check("artifact", "Code that was built for another target fails at import.", artifact.check_artifact),
    Check("keys", "Without its keys no secret can be read, and no grant used.", keeping.check_keys),
    Check("secrets", "A secret under another key cannot be read or published.", keeping.check_secrets),
    Check("tables", "The records hold the only copy of every refresh token.", keeping.check_tables),
    Check("quotas", "Below them Evergrant is throttled.", surroundings.check_quotas),
    Check("alarms", "An alarm that is raised says that Evergrant itself fails.", alerting.check_alarms),
    Check("dead-letters", "A message there may be the only copy of a token set.", alerting.check_dead_letters),
    Check("subscriptions", "Without one, no alert reaches a person.", alerting.check_subscriptions),
    Check("alert", "Only its receiver knows whether an alert arrives.", alerting.check_alert, asks=True),
    Check("redirect-uris", "No person can connect without.", surroundings.check_redirect_uris, asks=True),
)


def examine(patient: Patient, busy: AbstractContextManager[None]) -> list[Result]:
    """Run all checks, and return their results in the order of :data:`CHECKS`.

    ``busy`` shows that the command works; it has ended when the first question is asked.
    """
    alone = [check for check in CHECKS if not check.asks]
    with busy, ThreadPoolExecutor(_WORKERS) as pool:
        findings = pool.map(lambda check: run_check(check, patient), alone)
        found = {check.name: finding for check, finding in zip(alone, findings, strict=True)}
    found |= {check.name: run_check(check, patient) for check in CHECKS if check.asks}
    return [Result(check.name, check.why, found[check.name]) for check in CHECKS]


def run_check(check: Check, patient: Patient) -> Finding:
    """Run one check. What it could not look at is unknown, and the other checks go on."""
    try:
        return check.look(patient)
    except ClientError as error:
        return _describe_refusal(error)
    except PortUnavailable as error:
        if isinstance(error.__cause__, ClientError):
            return _describe_refusal(error.__cause__)
        return unknown(f"AWS does not answer ({error})", "Check the network, and AWS's status page.")
    except BotoCoreError as error:
        return unknown(f"AWS does not answer ({type(error).__name__})", "Check the network, and AWS's status page.")
    except CommandFailed as failed:
        return unknown(failed.problem.message, failed.problem.hint)
    except ConnectionError as error:
        return unknown(str(error), "Repeat the command.")
    except (LookupError, TypeError, ValueError) as error:
        return unknown(
            f"AWS's answer was not as expected ({type(error).__name__}: {error})",
            "Is the command of the stack's version? `evergrant --version` says which it is.",
        )


def _describe_refusal(error: ClientError) -> Finding:
    code = read_error_code(error)
    if "AccessDenied" in code or code in ("AuthorizationError", "UnauthorizedOperation"):
        return unknown(f"your AWS identity may not call {error.operation_name}", _advise_on_rights(error))
    return unknown(f"AWS refused {error.operation_name} ({code})", "Repeat the command.")


def _advise_on_rights(error: ClientError) -> str:
    policy = "OperatorPolicyArn" if error.operation_name in _OPERATORS_CALLS else "DoctorPolicyArn"
    return f"Attach the policy of the stack's output {policy} to your identity."
