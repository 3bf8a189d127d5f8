"""Protects the state machine: which changes of status there are, who may make them, and what reports them."""

from __future__ import annotations

import ast
import itertools
from pathlib import Path

import pytest

import evergrant
from evergrant.record import state_machine
from evergrant.record.connection import RecordChange
from evergrant.record.state_machine import TRANSITIONS, IllegalTransition, event_of, ignore_client_refusal, move
from evergrant.record.status import INACTIVE_STATUSES, EventType, Status
from scripts import state_diagram
from tests.unit.samples import NOW, connection

PACKAGE = Path(evergrant.__file__).parent
PAIRS = list(itertools.permutations(Status, 2))


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_change_of_status_is_in_the_table_or_raises(source: Status, target: Status) -> None:
    if (source, target) in TRANSITIONS:
        assert move(source, target).status is target
    else:
        with pytest.raises(IllegalTransition):
            move(source, target)


@pytest.mark.parametrize("status", list(Status))
def test_a_status_may_stay_as_it_is_without_an_event(status: Status) -> None:
    assert move(status, status).status is status
    assert event_of(status, status) is None


def test_every_status_can_be_reached_and_left() -> None:
    assert {target for _, target in TRANSITIONS} == set(Status)
    assert {source for source, _ in TRANSITIONS} == set(Status)


def test_a_disconnected_connection_only_begins_anew() -> None:
    """A response that arrives late brings no disconnected connection back to life."""
    assert [target for source, target in TRANSITIONS if source is Status.DISCONNECTED] == [state_machine.INITIAL_STATUS]


def test_a_paused_connection_is_left_by_its_operator_alone() -> None:
    """Nothing that a provider or a service of AWS does ends a pause, and resuming is no news."""
    after = {target for source, target in TRANSITIONS if source is Status.PAUSED}
    assert Status.CLIENT_REFUSED not in after
    assert {event_of(Status.PAUSED, target) for target in after - {Status.DISCONNECTED}} == {None}


def test_what_stops_a_running_connection_is_always_reported() -> None:
    """Only what the operator does, and a connection that begins, go without an event."""
    silent = {pair for pair, event in TRANSITIONS.items() if event is None}
    assert all(INACTIVE_STATUSES & {source, target} for source, target in silent)
    recoveries = {event for (source, target), event in TRANSITIONS.items() if target is Status.ACTIVE}
    assert recoveries == {EventType.AUTHORIZED, EventType.RECOVERED, None}


def test_a_client_that_is_accepted_again_lets_own_failures_show() -> None:
    refused = connection(status=Status.CLIENT_REFUSED, alerted_at=NOW)
    seen = ignore_client_refusal(refused)
    assert (seen.status, seen.alerted_at) == (Status.ACTIVE, None)
    assert move(refused.status, Status.DEGRADED).status is Status.DEGRADED
    assert ignore_client_refusal(connection(status=Status.DEGRADED)) == connection(status=Status.DEGRADED)


def test_a_change_keeps_all_that_a_later_one_does_not_set() -> None:
    first = RecordChange({"failures": 1, "last_error": "x"}, {"a": {"type": "t"}})
    second = move(Status.ACTIVE, Status.DEGRADED).set({"failures": 2})
    both = first | second
    assert both.fields == {"failures": 2, "last_error": "x", "status": Status.DEGRADED}
    assert both.events == {"a": {"type": "t"}}
    assert both.without("status", "failures").fields == {"last_error": "x"}
    assert not RecordChange()


#: What sets a status of another kind, or takes a stored one over as it is: the module and the value, as it is written.
OTHER_STATUSES = {
    ("adapters/aws/items.py", "Status(known['status'])"),  # a stored record is decoded
    ("connect/operator_actions.py", "state_machine.INITIAL_STATUS"),  # a new record
    ("connect/account_binding.py", "status"),  # the HTTP status of a provider
    ("getter/handler.py", "status"),  # the response to a consumer
    ("oauth/answer.py", "response.status"),
    ("oauth/unreadable_response.py", "self.response.status"),
    ("record/queued_save.py", "Status(fields['status'])"),  # a message is decoded; the adapter checks the transition
    ("record/queued_save.py", "Status(queued['status'])"),
    ("record/queued_save.py", "connection.status"),
    ("rotation/handler.py", "result.connection.status"),  # a log line
}


def find_status_writes(tree: ast.AST) -> list[tuple[int, str]]:
    """Find each line that sets a status, with the value: in a dict, by a keyword, an assignment or a call by name."""
    found: list[tuple[int, ast.expr]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values, strict=True)
            found += [(value.lineno, value) for key, value in pairs if key is not None and _is_status(key)]
        elif isinstance(node, ast.Call):
            found += [(word.value.lineno, word.value) for word in node.keywords if word.arg == "status"]
            if ast.unparse(node.func).rpartition(".")[2] in ("setattr", "__setattr__", "setdefault"):
                found += [(node.lineno, value) for name, value in itertools.pairwise(node.args) if _is_status(name)]
        elif isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store):
            target = node.slice if isinstance(node, ast.Subscript) else ast.Constant(node.attr)
            found += [(node.lineno, _find_value(tree, node))] if _is_status(target) else []
    return sorted((line, ast.unparse(value)) for line, value in found)


def _find_value(tree: ast.AST, target: ast.expr) -> ast.expr:
    """Find the value of the assignment that a target is a part of."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign) and target in ast.walk(node):
            return node.value or target
    return target


def _is_status(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value == "status"


@pytest.mark.parametrize(
    "line",
    [
        'a = {"status": Status.ACTIVE}',
        'a = {**b, "status": s}',
        "f(b, status=Status.PAUSED)",
        "replace(a, status=s)",
        'a["status"] = s',
        'a["status"]: Status = s',
        'a = b["status"] = s',
        'a["status"], c = s, 1',
        "a.status = s",
        'setattr(a, "status", s)',
        'object.__setattr__(a, "status", s)',
        'a.setdefault("status", s)',
    ],
)
def test_the_search_for_writes_of_a_status_finds_each_way(line: str) -> None:
    assert [number for number, _ in find_status_writes(ast.parse(f"\n{line}"))] == [2]


def test_the_search_for_writes_of_a_status_takes_no_read_for_one() -> None:
    assert find_status_writes(ast.parse('a = b.status, c["status"], c.get("status"), d == "status"')) == []


def test_only_the_state_machine_writes_a_status() -> None:
    """Every other value that is called a status is listed, and each of the list is there."""
    found = {
        (file.relative_to(PACKAGE).as_posix(), value)
        for file in PACKAGE.rglob("*.py")
        if file.stem != "state_machine"
        for _, value in find_status_writes(ast.parse(file.read_text("utf-8")))
    }
    assert found == OTHER_STATUSES


def test_the_diagram_in_the_docs_is_up_to_date() -> None:
    page = state_diagram.PAGE.read_text("utf-8")
    assert state_diagram.insert(page) == page, "run `make state-diagram`"
    assert "authorization_required --> active: Connection Recovered" in page
