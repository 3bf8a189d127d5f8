"""Proves that rotation cannot lose a token: any fault may strike any call, and any further fault may follow it.

What is tried, and how that is complete, stands in :mod:`tests.proof.exploring`; what must hold, in
:mod:`tests.proof.monitor` (at every write) and :mod:`tests.proof.judging` (in the end).
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.proof.exploring import Report, Scenario, explore
from tests.proof.faults import kinds
from tests.proof.recovering import ORDERS
from tests.proof.scenarios import SCENARIOS

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
#: The longest first: they are what a run of several processes would wait for in the end.
NAMES = sorted(BY_NAME, key=lambda name: ("table" not in name, "refus" not in name))
PORTS = {
    *(
        "records.get",
        "records.change",
        "seal.prepare",
        "seal.unseal",
        "vault.client",
        "vault.find_current",
        "vault.publish",
    ),
    *("provider.send", "queue.send", "bus.put", "profiles.load_pinned", "circuits.get_many", "circuits.change"),
    *("records.due", "queue.send_many"),
}
#: Where a killed worker takes an answer with it: after it had the answer and before a write took it. No order of steps
#: can close this: the answer is in no other place yet. A data key is fetched then only for a new grant that a rotation
#: of the old one was saved before; a token set is unsealed only where another answer was first, and nothing is lost.
#: The owner who connects again gets an error where neither table nor queue takes the new grant; the old one stays.
WINDOWS = re.compile(
    r"killed at (records\.change|queue\.send|the invocation's time is over|seal\.prepare|seal\.unseal"
    r"|telling the person)"
    r" with access-\d+-\d+"
)


def prove(scenario: Scenario, faults: int, order: str, *, recovery: bool = True) -> Report:
    report = explore(scenario, faults, order, recovery=recovery)
    assert not report.failures, "\n".join(report.failures)
    assert report.ends, "no history came to its end"
    assert all(WINDOWS.fullmatch(window) for window in report.windows), report.windows
    return report


@pytest.fixture(scope="module")
def singles() -> dict[str, Report]:
    return {}


@pytest.mark.parametrize("name", NAMES)
def test_one_fault_at_any_call_loses_no_token(name: str, singles: dict[str, Report]) -> None:
    singles[name] = prove(BY_NAME[name], 1, "in order")


def test_the_points_covered_do_not_become_fewer(singles: dict[str, Report]) -> None:
    if singles.keys() != BY_NAME.keys():
        pytest.skip("only some of the scenarios were run")
    points: Counter[str] = Counter()
    for report in singles.values():
        points.update(report.faults)
    tried = {(call, kind) for call in PORTS for kind in kinds(call)}
    assert set(points) == {f"{call} {kind}" for call, kind in tried}, "each fault of each port, somewhere"
    total = sum(report.points[1] for report in singles.values())
    text = (Path(__file__).parents[2] / "docs/rotation.md").read_text("utf-8")
    stated = re.search(r"([\d,]+) points in (\d+) scenarios", text)
    assert stated, "docs/rotation.md says how many points are covered"
    assert int(stated[1].replace(",", "")) <= total
    assert int(stated[2]) == len(singles)


ELSEWISE = ["no grace", "a grace of 60 s", "the table down for longer than the grace", "disconnected and revoked"]


@pytest.mark.parametrize("order", ORDERS[1:])
@pytest.mark.parametrize("name", ELSEWISE)
def test_one_fault_at_any_call_loses_no_token_however_messages_arrive(name: str, order: str) -> None:
    prove(BY_NAME[name], 1, order)


#: Every pair of faults, recovery included: two situations always, all of them in every order in 'make proof'.
ALWAYS = {("no grace", "in order"), ("a grace of 60 s", "in order")}


#: Every pair of faults of a worker, in one situation at least of each kind: the others would take ten minutes more.
PAIRS = (
    *("expired", "asked by getter, with a grace", "not published yet", "client credentials", "log-in, refreshed"),
    *("a re-connect while it rotates", "a rotation while it is re-connected", "paused and resumed meanwhile"),
    *("disconnected and begun again meanwhile", "an answer read again", "a re-connect while an answer is read again"),
    *("on demand, expired", "disconnected and revoked", "connected again while it is revoked"),
    *("500, acted upon, with a grace", "500 where both tokens end together", "lost shortly before its expiry"),
)


@pytest.mark.parametrize("name", PAIRS)
def test_two_faults_at_any_two_calls_of_a_worker_lose_no_token(name: str) -> None:
    assert prove(BY_NAME[name], 2, "in order", recovery=False).points[2] > 1000


ANYWHERE = [
    pytest.param(name, order, marks=[] if (name, order) in ALWAYS else [pytest.mark.exhaustive])
    for name in NAMES
    for order in ORDERS
]


@pytest.mark.parametrize(("name", "order"), ANYWHERE)
def test_two_faults_at_any_two_calls_lose_no_token(name: str, order: str) -> None:
    assert prove(BY_NAME[name], 2, order).points[2] > 1000
