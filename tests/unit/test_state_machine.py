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


def find_status_writes(tree: ast.AST) -> list[int]:
    """The lines that put a status into a dict, an item or a keyword, but for a new record's."""
    found = []
    for node in ast.walk(tree):
        pairs: list[tuple[object, ast.expr]] = []
        if isinstance(node, ast.Dict):
            pairs = [(key.value, value) for key, value in zip(node.keys, node.values, strict=True) if _is_text(key)]  # type: ignore[union-attr]
        elif isinstance(node, ast.Call):
            pairs = [(keyword.arg, keyword.value) for keyword in node.keywords]
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript):
            index = node.targets[0].slice
            pairs = [(index.value, node.value)] if isinstance(index, ast.Constant) else []
        found += [node.lineno for name, value in pairs if name == "status" and "Status." in ast.unparse(value)]  # type: ignore[attr-defined]
    return sorted(found)


def _is_text(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def test_the_search_for_writes_of_a_status_finds_them() -> None:
    lines = (
        'a = {"status": Status.ACTIVE}',
        "f(b, status=Status.PAUSED)",
        'c["status"] = Status.ACTIVE',
        'd = {"status": e}',
    )
    text = "\n".join(lines)
    assert find_status_writes(ast.parse(text)) == [1, 2, 3]


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.py")), ids=lambda file: file.stem)
def test_only_the_state_machine_writes_a_status(file: Path) -> None:
    if file.stem != "state_machine":
        assert find_status_writes(ast.parse(file.read_text("utf-8"))) == []


def test_the_diagram_in_the_docs_is_up_to_date() -> None:
    page = state_diagram.PAGE.read_text("utf-8")
    assert state_diagram.insert(page) == page, "run `make state-diagram`"
    assert "authorization_required --> active: Connection Recovered" in page
