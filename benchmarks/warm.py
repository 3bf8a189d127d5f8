"""A token from a warm cache, in one process: Evergrant's client, and other caches of secrets.

Each reads the same secret of :mod:`benchmarks.fake_aws`, which responds at once. So the figures are the work of the
reader's own process. boto3 without a cache is measured too, without the network.
"""

from __future__ import annotations

import json
import timeit
from collections.abc import Callable
from statistics import median
from typing import Any
from unittest import mock

import boto3
from aws_lambda_powertools.utilities import parameters
from aws_lambda_powertools.utilities.parameters import SecretsProvider
from aws_lambda_powertools.utilities.parameters.constants import DEFAULT_PROVIDERS
from aws_secretsmanager_caching import SecretCache
from rich.console import Console
from rich.progress import Progress

import evergrant_client
from benchmarks.fake_aws import FakeAws
from benchmarks.slow_aws import TOKEN_SECRET, build_token_document
from benchmarks.tables import console, describe_machine, print_goal, print_table
from evergrant_client import _default

ROUNDS = 15
#: The length of one round of one reader, roughly.
ROUND_SECONDS = 0.05

_OURS = "evergrant_client.token()"
_POWERTOOLS = "Powertools get_secret(transform='json'), cached"


def run() -> None:
    """Measure and print."""
    with FakeAws(0).installed() as aws, Progress(console=Console(stderr=True), transient=True) as progress:
        aws.secrets[TOKEN_SECRET] = json.dumps(build_token_document())
        session = boto3.DEFAULT_SESSION
        client = boto3.client("secretsmanager")
        with (
            mock.patch.object(_default, "_default", evergrant_client.Evergrant(session=session)),
            mock.patch.dict(DEFAULT_PROVIDERS, {"secrets": SecretsProvider(boto3_client=client)}),
        ):
            seconds = _measure(_create_readers(client), progress)
        assert aws.calls["secrets-manager:GetSecretValue"] > len(seconds)
    console.print(f"\n{describe_machine()}; {ROUNDS} rounds in turns")
    rows = [
        [name, f"{median(each) * 1e6:.2f}", f"{min(each) * 1e6:.2f}–{max(each) * 1e6:.2f}"]
        for name, each in seconds.items()
    ]
    print_table("A token that was read before", ("reader", "µs", "spread µs"), rows)
    console.print()
    times = median(ours / theirs for ours, theirs in zip(seconds[_OURS], seconds[_POWERTOOLS], strict=True))
    print_goal(f"at most half of what Powertools' cache takes: {times:.2f}", met=times <= 0.5)


def _create_readers(client: Any) -> dict[str, Callable[[], object]]:
    """Create the readers by name; each returns the token or a document with it."""
    document = build_token_document()
    held = {"keap/main": (document["access_token"], float("inf"))}
    cache = SecretCache(client=client)
    return {
        "a dictionary": lambda: held["keap/main"][0],
        _OURS: lambda: evergrant_client.token("keap/main"),
        "evergrant_client.headers()": lambda: evergrant_client.headers("keap/main"),
        _POWERTOOLS: lambda: parameters.get_secret(TOKEN_SECRET, transform="json", max_age=3600),
        "aws-secretsmanager-caching, and json.loads": lambda: json.loads(cache.get_secret_string(TOKEN_SECRET)),
        "boto3 without a cache, and json.loads": lambda: json.loads(
            client.get_secret_value(SecretId=TOKEN_SECRET)["SecretString"]
        ),
    }


def _measure(readers: dict[str, Callable[[], object]], progress: Progress) -> dict[str, list[float]]:
    """Measure the seconds of one call, by reader, in rounds that alternate."""
    timers = {name: timeit.Timer(reader) for name, reader in readers.items()}
    counts = {}
    for name, timer in timers.items():
        timer.timeit(1)  # fills its cache
        calls, seconds = timer.autorange()
        counts[name] = max(1, int(calls * ROUND_SECONDS / seconds))
    measured: dict[str, list[float]] = {name: [] for name in timers}
    task = progress.add_task("reading", total=ROUNDS * len(timers))
    for _ in range(ROUNDS):
        for name, timer in timers.items():
            measured[name].append(timer.timeit(counts[name]) / counts[name])
            progress.advance(task)
    return measured
