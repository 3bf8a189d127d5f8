"""Protects `evergrant doctor` as it is run: its exit status, its questions, and a document that holds no secret."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner, Result

from evergrant_cli.doctor import command
from evergrant_cli.doctor.examination import CHECKS
from evergrant_cli.main import app
from tests.adapters.doctor_account import Account, Answer, alarms, quotas, refused, stack, subscriptions

FAULT: dict[str, Answer] = {"DescribeAlarms": alarms(TicksStopped={"StateValue": "ALARM"})}
NOT_SEEN: dict[str, Answer] = {"ListServiceQuotas": quotas(sns=-1)}


def doctor(*arguments: str, given: str = "") -> Result:
    return CliRunner().invoke(app, ["doctor", *arguments], input=given)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "is_interactive", lambda: True)


@pytest.mark.parametrize(
    ("answers", "status"),
    [({}, 0), ({"DescribeStacks": stack(EnableTerminationProtection=False)}, 0), (NOT_SEEN, 4), (NOT_SEEN | FAULT, 3)],
)
def test_the_exit_status_says_what_a_script_has_to_know(
    account: Account, answers: dict[str, Answer], status: int
) -> None:
    """Questions that were not asked do not count."""
    account.answers |= answers
    assert doctor("--json").exit_code == status


def test_the_first_line_names_what_is_red(account: Account) -> None:
    account.answers |= FAULT | NOT_SEEN
    said = doctor().stdout.splitlines()
    assert said[0] == "evergrant in eu-west-1: 1 of 18 checks red (needs action): alarms."
    (at,) = (number for number, line in enumerate(said) if line.startswith("red "))
    assert said[at].split() == ["red", "alarms", "raised:", "TicksStopped"]
    assert said[at + 2] == "         → docs/operating.md says for each alarm what to do."


def test_at_a_terminal_it_asks_what_only_a_person_knows(account: Account, terminal: None) -> None:
    said = doctor(given="y\nyes\n")
    assert said.exit_code == 0
    assert "evergrant in eu-west-1: all 18 checks are green." in said.stdout.splitlines()
    assert "Has it come?" in said.stderr
    assert "client keap" in said.stderr
    assert "https://a1b2.execute-api.eu-west-1.amazonaws.com/callback/keap" in said.stderr


def test_no_for_an_answer_is_red_and_none_is_unknown(account: Account, terminal: None) -> None:
    said = doctor(given="n\n\n")
    assert said.exit_code == 3
    lines = [line.split()[:2] for line in said.stdout.splitlines() if line.startswith(("red", "unknown"))]
    assert lines == [["red", "alert"], ["unknown", "redirect-uris"]]


def test_with_json_it_asks_nothing(account: Account, terminal: None) -> None:
    said = doctor("--json", "--no-alert")
    found = json.loads(said.stdout)
    assert found["summary"] == "evergrant in eu-west-1: 2 of 18 checks unknown (not known): alert, redirect-uris."
    assert [check["check"] for check in found["checks"]] == [check.name for check in CHECKS]
    assert all(check["why"] for check in found["checks"])
    assert all(bool(check["fix"]) is (check["verdict"] != "green") for check in found["checks"])
    assert said.stderr == ""


def test_the_document_fits_into_a_bug_report(account: Account) -> None:
    """It holds no secret, no address of a subscriber, and not the account's id, in any failure of a call."""
    for operation in account.answers:
        account.answers = Account().answers | {operation: refused("AccessDenied", operation)}
        account.answers |= {} if operation in FAULT else FAULT
        said = doctor("--json").stdout
        assert json.loads(said)
        for hidden in ("123456789012", "a-key-of-the-receiver", "Signature", "user/x"):
            assert hidden not in said, operation


def test_subscribers_addresses_are_not_shown_at_all(account: Account) -> None:
    account.answers["ListSubscriptionsByTopic"] = subscriptions("PendingConfirmation")
    assert "events.example" not in doctor().output


def test_without_a_stack_of_that_name_it_fails_as_every_command(account: Account) -> None:
    account.answers["DescribeStacks"] = refused("ValidationError", "DescribeStacks")
    said = doctor("--json")
    assert said.exit_code == 1
    assert json.loads(said.stdout)["error"]["code"] == "stack_not_found"


def test_where_it_may_not_see_the_stack_the_checks_say_so(account: Account) -> None:
    account.answers["DescribeStacks"] = refused("AccessDenied", "DescribeStacks")
    said = doctor("--json")
    assert said.exit_code == 4
    verdicts = {check["check"]: check["verdict"] for check in json.loads(said.stdout)["checks"]}
    green = {check for check, verdict in verdicts.items() if verdict == "green"}
    assert green == {"clock", "schedule", "event-source", "code-storage", "quotas", "alarms", "dead-letters"}
