"""Processes of readers at a deployed stack, whose tokens are short-lived, and the counts of its providers."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from benchmarks.readers import Plan, Seen
from local.connections import Connection
from local.tools import ROOT, LocalRunError, clean_environment
from local.world import World

#: The least share of its lifetime after which a token is refreshed: half of it, less a tenth of jitter, less the time
#: that a refresh takes on this machine.
MIN_AGE_SHARE = 0.3
POLL_SECONDS = 0.5


@dataclass
class Load:
    """The results of a load.

    ``seconds`` has the time of each reading, by way. ``refused`` counts the APIs' statuses other than 200, and failed
    readings. ``issued`` has the times (epoch seconds) at which the providers issued tokens, by grant.
    """

    seconds: dict[str, list[float]] = field(default_factory=dict)
    calls: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    issued: list[list[float]] = field(default_factory=list)
    reused: int = 0
    rejected: int = 0

    @property
    def refreshes(self) -> int:
        return sum(len(times) - 1 for times in self.issued)

    def count_premature(self, lifetime: int) -> int:
        """Count the refreshes that came before the schedule allows them; ``lifetime`` is in seconds."""
        return sum(
            later - earlier < MIN_AGE_SHARE * lifetime for times in self.issued for earlier, later in pairwise(times)
        )

    def add(self, way: str, seen: Seen) -> None:
        self.seconds.setdefault(way, []).extend(seen["seconds"])
        self.calls += sum(seen["answers"].values())
        self.refused.update({answer: count for answer, count in seen["answers"].items() if answer != "200"})


def read_under_load(
    world: World,
    connections: Sequence[Connection],
    plans: Sequence[Plan],
    go_on: Callable[[int], bool],
    credentials: Mapping[str, str],
) -> Load:
    """Run processes of readers while ``go_on`` returns true for the number of refreshes so far.

    Each plan is a process with caches of its own, like a Lambda. Its targets are the connections. ``credentials`` are
    the readers' environment variables.

    Raises
    ------
    LocalRunError
        A process of readers failed.
    """
    targets = [world.target(connection) for connection in connections]
    servers = {connection.provider.name: world.providers[connection.provider.name] for connection in connections}
    known = {name: {grant["grant"] for grant in server.provider.grants()} for name, server in servers.items()}
    stats = {name: server.provider.stats() for name, server in servers.items()}

    def issued() -> list[list[float]]:
        grants: list[dict[str, Any]] = [
            grant
            for name, server in servers.items()
            for grant in server.provider.grants()
            if grant["grant"] in known[name]
        ]
        return [sorted(grant["issued_at"]) for grant in grants if grant["revoked_at"] is None]

    before = [len(times) for times in issued()]
    load = Load()
    environment = clean_environment() | world.environment() | dict(credentials) | {"PYTHONPATH": ":".join(sys.path)}
    with _run_readers(environment, [{**plan, "targets": targets} for plan in plans]) as processes:
        while go_on(sum(map(len, issued())) - sum(before)):
            time.sleep(POLL_SECONDS)
            if any(process.poll() is not None for process in processes):
                break
        outputs = [process.communicate()[0] for process in processes]  # closes their standard input
    if any(process.returncode for process in processes):
        raise LocalRunError("A process of readers failed; its output is above.")
    for plan, output in zip(plans, outputs, strict=True):
        load.add(plan["way"], json.loads(output))
    # Of each grant: the last token before the load, whose refresh is the first to count, and all later tokens.
    load.issued = [times[count - 1 :] for count, times in zip(before, issued(), strict=True)]
    for name, server in servers.items():
        now, then = server.provider.stats(), stats[name]
        load.reused += _count(now, "refresh_reuse") - _count(then, "refresh_reuse")
        load.rejected += _count_rejected(now) - _count_rejected(then)
    return load


def warm_getters(world: World, count: int) -> None:
    """Start ``count`` processes of getter by as many concurrent invocations."""
    name, functions = world.stack.outputs["GetterFunctionArn"], world.aws.client("lambda")
    with ThreadPoolExecutor(count) as askers:
        for _ in askers.map(lambda _: functions.invoke(FunctionName=name, Payload=b"{}"), range(count)):
            pass


@contextmanager
def _run_readers(environment: Mapping[str, str], plans: Sequence[Plan]) -> Iterator[list[subprocess.Popen[str]]]:
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.readers"],
            env=dict(environment),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in plans
    ]
    try:
        for process, plan in zip(processes, plans, strict=True):
            assert process.stdin is not None
            process.stdin.write(json.dumps(plan) + "\n")
            process.stdin.flush()
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _count(stats: Mapping[str, Any], name: str) -> int:
    return int(stats[name])


def _count_rejected(stats: Mapping[str, Any]) -> int:
    """Count the token requests that got an error response."""
    return int(stats["token_requests"]["total"]) - int(stats["token_requests"]["ok"])
