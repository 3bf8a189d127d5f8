"""Protects the promise of docs/rotation.md on the deployed stack: under every fault it keeps each grant whose response
arrived. `make torture` is the long version.
"""

from __future__ import annotations

import sys

import pytest
from rich.console import Console

from local.terminal import Steps
from local.tools import STATE
from local.torture.faults import SERVICES
from local.torture.phases import Torture
from local.torture.plan import QUICK
from local.torture.report import build_document
from local.torture.results import Results
from local.torture.testbed import run_testbed

#: The same faults every time; the moments at which they strike are the machine's.
SEED = 20260101


@pytest.fixture(scope="module")
def tortured() -> Results:
    if sys.platform != "linux":
        pytest.skip("finds the processes it kills in /proc, which only Linux has")
    steps = Steps(Console(quiet=True))
    with run_testbed(STATE / "torture-test", steps, QUICK) as testbed:
        torture = Torture(testbed, QUICK, steps, SEED)
        torture.run()
    return torture.results


def test_no_grant_is_lost_once_answered_and_everything_recovers(tortured: Results) -> None:
    """No grant is lost whose response arrived, and everything recovers by itself."""
    assert tortured.failures == []


def test_every_fault_was_met_and_rotations_went_on(tortured: Results) -> None:
    assert [row.fault for row in tortured.rows if not row.injected] == []
    assert next(row.injected for row in tortured.rows if row.fault.startswith("SIGKILL")) >= QUICK.kills
    assert build_document(tortured, SEED, 0)["total"]["rotations"] > QUICK.connections


def test_each_outage_met_unsaved_responses_and_the_queue_kept_them(
    tortured: Results,
) -> None:
    """Each outage met responses that were not saved yet; the queue kept those that the table would not take."""
    rows = {title: next(row for row in tortured.rows if row.fault.startswith(title)) for title, _ in SERVICES.values()}

    assert [title for title, row in rows.items() if not row.rotations] == []
    assert rows["DynamoDB"].queued > 0


def test_invocations_were_killed_at_several_steps_of_the_rotation(tortured: Results) -> None:
    steps = build_document(tortured, SEED, 0)["killed_after_step"]

    assert sum(steps.values()) >= QUICK.kills
    assert sum(count > 0 for count in steps.values()) >= 2
