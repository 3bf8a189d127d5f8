"""A consumer of Evergrant: calls protected APIs for a while, each call with a token from the client library.

It retries nothing and handles no rejection: if a token were invalid, the call would fail and be counted.
"""

from __future__ import annotations

import time
from typing import TypedDict

import urllib3

import evergrant_client

# Far below the lifetime of tokens in the demo, so that the consumer reads what the schedule has published.
MIN_TTL_SECONDS = 5
PAUSE_SECONDS = 0.2


class Target(TypedDict):
    """One API to call."""

    connection: str
    url: str
    headers: dict[str, str]


class Request(TypedDict):
    """An invocation: call all targets in turn for this many seconds, at least once each."""

    seconds: float
    targets: list[Target]


class Tally(TypedDict):
    """The counts of one connection's calls."""

    calls: int
    failed: int
    failures: list[str]


def handler(event: Request, context: object) -> dict[str, Tally]:
    """Call every target in turn until the time has passed."""
    until = time.monotonic() + event["seconds"]
    tallies: dict[str, Tally] = {
        target["connection"]: {"calls": 0, "failed": 0, "failures": []} for target in event["targets"]
    }
    with urllib3.PoolManager(retries=False, timeout=10.0) as http:
        while True:
            for target in event["targets"]:
                tally = tallies[target["connection"]]
                failure = call(http, target)
                tally["calls"] += 1
                if failure is not None:
                    tally["failed"] += 1
                    tally["failures"].append(failure)
            if time.monotonic() >= until:
                return tallies
            time.sleep(PAUSE_SECONDS)


def call(http: urllib3.PoolManager, target: Target) -> str | None:
    """Call one API; return why it failed, or None."""
    try:
        headers = evergrant_client.headers(target["connection"], target["headers"], min_ttl=MIN_TTL_SECONDS)
        answer = http.request("GET", target["url"], headers=headers)
    except (evergrant_client.EvergrantError, urllib3.exceptions.HTTPError) as error:
        return f"{type(error).__name__}: {error}"
    return None if answer.status == 200 else f"status {answer.status}"
