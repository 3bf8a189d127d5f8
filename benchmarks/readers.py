"""One process of readers: threads that get a token, call a protected API with it, and count the statuses.

python -m benchmarks.readers < PLAN

The plan is one line of JSON on standard input. The readers stop when standard input ends, and print the counts.
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

# A call takes at most a second on this machine; the client itself adds a margin of five.
MIN_TTL_SECONDS = 2


class Plan(TypedDict):
    """``way`` is ``client`` or ``getter``; ``pause`` is in seconds, on average; a target is as in `local.world`."""

    way: str
    threads: int
    pause: float
    targets: list[dict[str, Any]]


class Seen(TypedDict):
    """``seconds`` has the time of each reading; ``answers`` counts the API's statuses and our own errors."""

    seconds: list[float]
    answers: dict[str, int]


def read_by_client(target: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the headers of a call, from the process's shared client."""
    return evergrant_client.headers(target["connection"], target["headers"], min_ttl=MIN_TTL_SECONDS)


def create_getter_reader() -> Callable[[Mapping[str, Any]], Mapping[str, str]]:
    """Return a function that gets the headers of a call from getter, with an invocation each time."""
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
    """getter returned no token; the text is the error's code."""


_FAILURES = (evergrant_client.EvergrantError, GetterError, BotoCoreError, ClientError, urllib3.exceptions.HTTPError)


def read_and_call(plan: Plan, stop: threading.Event) -> Seen:
    """Read and call with all threads until ``stop`` is set."""
    read = read_by_client if plan["way"] == "client" else create_getter_reader()
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

    def wait_for_end_of_input() -> None:
        sys.stdin.read()
        stop.set()

    threading.Thread(target=wait_for_end_of_input, daemon=True).start()
    json.dump(read_and_call(plan, stop), sys.stdout)


if __name__ == "__main__":
    main()
