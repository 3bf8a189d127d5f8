"""Two hundred readers for a minute, on the deployed local stack, with short-lived tokens.

The simulated providers' protected APIs decide whether a token is valid; their token endpoints count the refreshes. Some
readers share a client in their process, the others ask getter every time.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import quantiles

from rich.console import Console
from rich.progress import Progress

from benchmarks.reader_processes import Load, read_under_load, warm_getters
from benchmarks.readers import Plan
from benchmarks.tables import console, describe_machine, print_goal, print_table
from local.connections import INVESTREADY, INVESTSUITE, KEAP
from local.terminal import Steps
from local.tools import STATE
from local.world import local_world

SECONDS = 60
ACCESS_TOKEN_SECONDS = 40
CONNECTIONS = [
    *(KEAP.for_account(f"load{number}") for number in range(3)),
    *(INVESTREADY.for_account(f"load{number}") for number in range(3)),
    *(INVESTSUITE.for_account(f"load{number}") for number in range(2)),
]
GETTERS = 8
#: Four consumers, each with a client that its threads share; and eight that ask getter.
PLANS: Sequence[Plan] = (
    *(Plan(way="client", threads=48, pause=3.0, targets=[]) for _ in range(4)),
    Plan(way="getter", threads=GETTERS, pause=2.0, targets=[]),
)
_WAYS = {"client": "evergrant_client, a thread of four consumers", "getter": "getter, asked every time"}


def run() -> None:
    """Measure and print."""
    settings = {
        name: {"access_token_lifetime": ACCESS_TOKEN_SECONDS} for name in ("keap", "investready", "investsuite")
    }
    steps = Steps(Console(stderr=True, highlight=False))
    with local_world(STATE / "bench", steps, settings=settings) as world:
        with steps.step(f"Connecting {len(CONNECTIONS)} accounts") as say:
            for connection in CONNECTIONS:
                say(connection.name)
                world.connect(connection)
        with steps.step(f"Warming {GETTERS} getters"):
            warm_getters(world, GETTERS)
        with Progress(console=Console(stderr=True), transient=True) as progress:
            task, began = progress.add_task("reading", total=SECONDS), time.monotonic()

            def go_on(refreshes: int) -> bool:
                passed = time.monotonic() - began
                progress.update(task, completed=passed, description=f"reading, {refreshes} refreshes")
                return passed < SECONDS

            load = read_under_load(world, CONNECTIONS, PLANS, go_on, {})
    _print(load)


def _print(load: Load) -> None:
    console.print(
        f"\n{describe_machine()}; {SECONDS} s, {len(CONNECTIONS)} connections "
        f"whose tokens live for {ACCESS_TOKEN_SECONDS} s, "
        f"{sum(plan['threads'] for plan in PLANS)} readers; an emulated AWS and the providers on the same machine"
    )
    rows = []
    for way, name in _WAYS.items():
        marks = quantiles(load.seconds[way], n=1000, method="inclusive")
        rows.append(
            [
                name,
                str(len(load.seconds[way])),
                *(f"{marks[at] * 1000:.2f}" for at in (499, 949, 989, 998)),
                f"{max(load.seconds[way]) * 1000:.0f}",
            ]
        )
    print_table(
        "Reading under load: ms for a token", ("reader", "readings", "p50", "p95", "p99", "p99.9", "most"), rows
    )
    console.print()
    refused, premature = sum(load.refused.values()), load.count_premature(ACCESS_TOKEN_SECONDS)
    print_goal(
        f"no expired token was handed out: of {load.calls} calls {refused} were not answered with 200", met=not refused
    )
    for answer, count in load.refused.most_common(5):
        console.print(f"          {count} × {answer}")
    print_goal(
        f"one refresh for each expiry: {load.refreshes} refreshes, {premature} of a token that had been refreshed "
        f"already, {load.reused} refresh tokens used twice, {load.rejected} token requests refused",
        met=load.refreshes > 0 and not (premature or load.reused or load.rejected),
    )
