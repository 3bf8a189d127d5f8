"""One process of readers: threads that get a token, call a protected API with it, and count what the API says.

python -m benchmarks.readers < PLAN

The plan is one line of JSON on standard input; the readers stop when standard input ends, and print what they saw.
"""

from __future__ import annotations

import json
import os
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, TypedDict

import boto3
import urllib3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

import evergrant_client

# A call takes this machine a second at the worst; the client itself keeps another five in hand.
MIN_TTL_SECONDS = 2


class Plan(TypedDict):
    """``way`` is ``client`` or ``getter``; ``pause`` is in seconds, on average; a target is as in `local.world`."""

    way: str
    threads: int
    pause: float
    targets: list[dict[str, Any]]


class Seen(TypedDict):
    """``seconds`` are those that each reading took; ``answers`` counts the API's by status, and our own errors."""

    seconds: list[float]
    answers: dict[str, int]


def by_client(target: Mapping[str, Any]) -> Mapping[str, str]:
    """The headers of a call, from the process's one client."""
    return evergrant_client.headers(target["connection"], target["headers"], min_ttl=MIN_TTL_SECONDS)


def by_getter() -> Callable[[Mapping[str, Any]], Mapping[str, str]]:
    """The same from getter, asked every time."""
    config = Config(max_pool_connections=50, read_timeout=35, retries={"total_max_attempts": 1})
    functions = boto3.client("lambda", config=config)
    name = os.environ["EVERGRANT_GETTER"]

    def read(target: Mapping[str, Any]) -> Mapping[str, str]:
        request = {"connection": target["connection"], "min_ttl": MIN_TTL_SECONDS}
        document = json.loads(functions.invoke(FunctionName=name, Payload=json.dumps(request))["Payload"].read())
        if "headers" not in document:
            raise GetterError(document.get("error", {}).get("code") or document.get("errorType"))
        return {**document["headers"], **target["headers"]}

    return read


class GetterError(Exception):
    """getter answered without a token; the text is its error's code."""


_FAILURES = (evergrant_client.EvergrantError, GetterError, BotoCoreError, ClientError, urllib3.exceptions.HTTPError)


def read_and_call(plan: Plan, stop: threading.Event) -> Seen:
    """Go on with all threads until told to stop."""
    read = by_client if plan["way"] == "client" else by_getter()
    answers: Counter[str] = Counter()
    seconds: list[float] = []
    counting = threading.Lock()
    http = urllib3.PoolManager(maxsize=plan["threads"], retries=False, timeout=30.0)

    def reader(target: Mapping[str, Any]) -> None:
        while not stop.wait(random.uniform(0, 2 * plan["pause"])):
            began = time.perf_counter()
            try:
                headers = read(target)
                took = time.perf_counter() - began
                answer = str(http.request("GET", target["url"], headers=dict(headers)).status)
            except _FAILURES as error:
                took, answer = time.perf_counter() - began, f"{type(error).__name__}: {str(error)[:80]}"
            with counting:
                answers[answer] += 1
                seconds.append(took)

    targets = plan["targets"]
    threads = [
        threading.Thread(target=reader, args=(targets[number % len(targets)],)) for number in range(plan["threads"])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"seconds": seconds, "answers": dict(answers)}


def main() -> None:
    plan: Plan = json.loads(sys.stdin.readline())
    stop = threading.Event()

    def wait_for_the_end() -> None:
        sys.stdin.read()
        stop.set()

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    json.dump(read_and_call(plan, stop), sys.stdout)


if __name__ == "__main__":
    main()
