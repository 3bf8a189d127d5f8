"""Refreshes a second of one rotator, a plain loop, and a loop with Authlib, at the same provider.

The provider responds after 200 ms over HTTP on loopback. AWS is :mod:`benchmarks.fake_aws`: boto3 does all its work,
and each call then takes a given time. CPU is this process's, without the fakes' own.
"""

from __future__ import annotations

import gc
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from threading import Semaphore
from typing import Any

import boto3
from rich.console import Console
from rich.progress import Progress, TaskID

from benchmarks import slow_provider
from benchmarks.fake_aws import FakeAws
from benchmarks.refresh_loops import refresh_by_hand, refresh_with_authlib
from benchmarks.tables import console, describe_machine, print_goal, print_table
from evergrant.adapters.aws.circuits import DynamoCircuits
from evergrant.adapters.aws.event_bus import EventBus
from evergrant.adapters.aws.items import to_item
from evergrant.adapters.aws.profiles import StoredProfiles
from evergrant.adapters.aws.records import DynamoRecords
from evergrant.adapters.aws.rotation_queue import SqsQueue
from evergrant.adapters.aws.sdk import client
from evergrant.adapters.aws.seal import KmsSeal
from evergrant.adapters.aws.secrets_manager import SecretsVault
from evergrant.adapters.clock import SystemClock
from evergrant.adapters.http import GuardedHttp
from evergrant.adapters.observability import logger
from evergrant.oauth.issuance import describe_issuance
from evergrant.oauth.token_set import TokenSet
from evergrant.ports import Provider, RotationPorts
from evergrant.profiles import loader
from evergrant.profiles.model import content_hash
from evergrant.record.connection import Connection
from evergrant.record.status import Status
from evergrant.rotation.connection_pass import Rotation
from evergrant.rotation.handler import MAX_AT_PROVIDERS, process_batch
from evergrant.secret import Secret
from evergrant.settings import Settings

PROVIDER_SECONDS = 0.2
AWS_SECONDS = 0.001
CONNECTIONS = 1000
#: The alternatives refresh in sequence, so that fewer connections give the same figure.
SEQUENTIAL_CONNECTIONS = 50
#: Connections to refresh before the measurement.
WARM_UP = 10
#: CPU is measured in chunks of refreshes; the median counts.
CHUNK, CHUNKS = 10, 60

_PROFILE = """
name = "bench"
title = "Benchmark"
[variables.host]
pattern = "127\\\\.0\\\\.0\\\\.1:[0-9]+"
[authorize]
url = "https://{host}/authorize"
[exchange]
url = "https://{host}/token"
[refresh]
url = "https://{host}/token"
"""


@dataclass(frozen=True)
class Measured:
    """One contender's run."""

    name: str
    count: int
    side_by_side: int
    seconds: float
    cpu: float
    calls: Counter[str]

    @property
    def ideal(self) -> float:
        return self.count * PROVIDER_SECONDS / self.side_by_side

    def row(self) -> list[str]:
        return [
            self.name,
            str(self.count),
            str(self.side_by_side),
            f"{self.count / self.seconds:.1f}",
            f"{self.seconds / self.ideal:.2f}",
            f"{self.cpu / self.count * 1000:.1f}",
            f"{sum(self.calls.values()) / self.count:.1f}",
        ]


def run() -> None:
    """Measure and print."""
    with (
        slow_provider.run_server(PROVIDER_SECONDS) as host,
        Progress(console=Console(stderr=True), transient=True, refresh_per_second=1) as progress,
    ):
        ours, beyond_sdk = _measure_evergrant(host, progress), _measure_beyond_sdk(progress)
        others = [_measure_loop(name, once, host, progress) for name, once in _ALTERNATIVES.items()]
    console.print(
        f"\n{describe_machine()}; provider {PROVIDER_SECONDS * 1000:.0f} ms, "
        f"each call of AWS {AWS_SECONDS * 1000:.0f} ms; "
        "ideal: connections × provider's time ÷ requests at providers at once"
    )
    header = ("refresh and store", "connections", "at providers", "a second", "wall ÷ ideal", "CPU ms", "AWS calls")
    print_table("Rotation: one worker", header, [each.row() for each in (ours, *others)])
    kinds = [(kind, f"{count / ours.count:.2f}") for kind, count in sorted(ours.calls.items())]
    print_table("Evergrant's calls of AWS for each refresh", ("call", "a refresh"), kinds)
    console.print()
    per = {kind: count / ours.count for kind, count in ours.calls.items()}
    kms = per.get("kms:Decrypt", 0) + per.get("kms:GenerateDataKey", 0)
    print_goal(
        f"at most three writes to DynamoDB: {per['dynamodb:UpdateItem']:.2f}",
        met=per["dynamodb:UpdateItem"] <= 3,
    )
    print_goal(
        f"one write to Secrets Manager: {per['secrets-manager:PutSecretValue']:.2f}",
        met=per["secrets-manager:PutSecretValue"] == 1,
    )
    print_goal(f"at most two calls of KMS: {kms:.2f}", met=kms <= 2)
    print_goal(f"below 4 ms of CPU beyond the SDK's own: {beyond_sdk * 1000:.1f} ms", met=beyond_sdk < 0.004)
    print_goal(f"wall within 1.1 of the ideal: {ours.seconds / ours.ideal:.2f}", met=ours.seconds <= 1.1 * ours.ideal)


# --- Evergrant -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Stage:
    """A rotator over AWS in this process, with connections that are due."""

    begin: Callable[[], Rotation]
    clock: SystemClock
    messages: list[dict[str, str]]

    def work_through(self, first: int, last: int | None = None) -> None:
        answer = process_batch(self.begin, self.messages[first:last], self.clock, time.time() + 900)
        assert answer == {"batchItemFailures": []}, f"{len(answer['batchItemFailures'])} messages failed"


@contextmanager
def _stage(aws: FakeAws, provider: Provider, host: str, count: int) -> Iterator[_Stage]:
    client.cache_clear()
    clock = SystemClock()
    ports = RotationPorts(
        records=DynamoRecords("records"),
        seal=KmsSeal("arn:aws:kms:eu-west-1:123456789012:key/seal"),
        vault=SecretsVault("evergrant"),
        provider=provider,
        queue=SqsQueue("https://sqs.eu-west-1.amazonaws.com/123456789012/rotation"),
        bus=EventBus("evergrant"),
        profiles=StoredProfiles("records"),
        clock=clock,
        circuits=DynamoCircuits("records", "authorizations"),
    )
    _put_connections(aws, ports, host, count)
    settings, deadline, turns = Settings(allow_loopback=True), time.time() + 900, Semaphore(MAX_AT_PROVIDERS)
    messages = [
        {"messageId": str(number), "body": json.dumps({"connection": f"bench/a{number}"})} for number in range(count)
    ]
    stage = _Stage(lambda: Rotation(ports, settings, deadline, turns), clock, messages)
    with _discard_logs():
        stage.work_through(0, WARM_UP)
        aws.calls.clear()
        # Keep the garbage collector from the fakes' data.
        gc.collect()
        gc.freeze()
        yield stage
    client.cache_clear()


def _measure_evergrant(host: str, progress: Progress) -> Measured:
    provider = _ProgressHttp(
        GuardedHttp(allow_loopback=True), progress, progress.add_task("Evergrant", total=CONNECTIONS)
    )
    with FakeAws(0).installed() as aws, _stage(aws, provider, host, CONNECTIONS) as stage:
        aws.latency = AWS_SECONDS
        cpu, began = aws.measure_cpu(), time.perf_counter()
        stage.work_through(WARM_UP)
        seconds, cpu = time.perf_counter() - began, aws.measure_cpu() - cpu
        refreshed = sum(item["generation"]["N"] == "2" for key, item in aws.items.items() if key.startswith("conn"))
        assert refreshed == CONNECTIONS, f"{refreshed} of {CONNECTIONS} were refreshed"
        return Measured("Evergrant", CONNECTIONS - WARM_UP, MAX_AT_PROVIDERS, seconds, cpu, Counter(aws.calls))


def _measure_beyond_sdk(progress: Progress) -> float:
    """Measure the CPU seconds of a refresh outside the SDK's calls.

    In sequence, with a provider and an AWS that respond at once: concurrent waiting costs CPU of its own.
    """
    measured, count = [], WARM_UP + CHUNK * CHUNKS
    task = progress.add_task("CPU of one after the other", total=count)
    with (
        slow_provider.run_server(0) as host,
        FakeAws(0).installed() as aws,
        _stage(aws, GuardedHttp(allow_loopback=True), host, count) as stage,
    ):
        for first in range(WARM_UP, count, CHUNK):
            cpu = aws.measure_cpu_beyond_calls()
            for each in range(first, first + CHUNK):
                stage.work_through(each, each + 1)
            measured.append((aws.measure_cpu_beyond_calls() - cpu) / CHUNK)
            progress.advance(task, CHUNK)
    return median(measured)


@contextmanager
def _discard_logs() -> Iterator[None]:
    """Write logs and metrics as in Lambda, but discard them."""
    handler: Any = logger.registered_handler
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        seen, handler.stream = handler.stream, nowhere
        try:
            yield
        finally:
            handler.stream = seen


def _put_connections(aws: FakeAws, ports: RotationPorts, host: str, count: int) -> None:
    profile = loader.load_profile(_PROFILE, "bench.toml")
    StoredProfiles("records").keep(profile)
    entry = {"client_id": "client", "client_secrets": ["secret"], "hosts": [host]}
    aws.secrets["evergrant/clients/bench"] = json.dumps(entry)
    now = int(time.time())
    tokens = TokenSet(
        access_token=Secret("access" + "x" * 900),
        issued_at=now - 80_000,
        expires_at=now + 6_400,
        expiry_rule="expires_in:seconds",
        refresh_token=Secret("refresh" + "x" * 300),
    )
    record = Connection(
        "bench/a", Status.ACTIVE, "authorization_code", "bench", content_hash(profile), variables={"host": host}
    )
    issuance = describe_issuance(profile, record, ports.vault.client("bench"))
    for number in range(count):
        name = f"bench/a{number}"
        aws.secrets[f"evergrant/tokens/{name}"] = "{}"
        filled = replace(
            record,
            name=name,
            generation=1,
            published_generation=1,
            sealed=ports.seal.prepare(name, 1).seal(tokens.encode(issuance)),
            issued_at=tokens.issued_at,
            expires_at=tokens.expires_at,
            refresh_at=now - 5,
            due_at=now + 115,
            due_shard="0",
        )
        client("dynamodb").put_item(TableName="records", Item=to_item(filled))


class _ProgressHttp:
    """The provider's port, with progress."""

    def __init__(self, http: GuardedHttp, progress: Progress, task: TaskID) -> None:
        self._http = http
        self._progress = progress
        self._task = task

    def send(self, request: Any, *, hosts: tuple[str, ...], timeout: float) -> Any:
        answer = self._http.send(request, hosts=hosts, timeout=timeout)
        self._progress.advance(self._task)
        return answer


# --- the others ----------------------------------------------------------------------------------------------------


def _measure_loop(name: str, once: Callable[[str, Any, int], None], host: str, progress: Progress) -> Measured:
    with FakeAws(AWS_SECONDS).installed() as aws:
        secrets = boto3.client("secretsmanager")
        for number in range(SEQUENTIAL_CONNECTIONS):
            aws.secrets[f"tokens/a{number}"] = json.dumps({"refresh_token": f"refresh-{number}-{'x' * 300}"})
        once(host, secrets, 0)
        aws.calls.clear()
        task = progress.add_task(name, total=SEQUENTIAL_CONNECTIONS)
        cpu, began = aws.measure_cpu(), time.perf_counter()
        for number in range(SEQUENTIAL_CONNECTIONS):
            once(host, secrets, number)
            progress.advance(task)
        seconds, cpu = time.perf_counter() - began, aws.measure_cpu() - cpu
        return Measured(name, SEQUENTIAL_CONNECTIONS, 1, seconds, cpu, aws.calls)


_ALTERNATIVES: dict[str, Callable[[str, Any, int], None]] = {
    "boto3 and httpx, a plain loop": refresh_by_hand,
    "boto3 and Authlib, a plain loop": refresh_with_authlib,
}
