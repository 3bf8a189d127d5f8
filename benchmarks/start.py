"""Cold starts and warm answers of getter, a consumer and their alternatives, under AWS's Runtime Interface Emulator.

Each start is a process of its own. The contenders take turns, so that other work on the machine affects all of them.
The emulator starts the runtime at the first request. So the time of the first answer is Python's start, the imports,
the clients and the answer. AWS is :mod:`benchmarks.slow_aws`, real HTTP without TLS.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.progress import Progress

from benchmarks import slow_aws, slow_provider
from benchmarks.contenders import (
    BARE,
    CLIENT,
    CONTENDERS,
    EVENT,
    GETTER,
    Built,
    Contender,
    build_contender,
    find_runtime_version,
    measure_imports,
)
from benchmarks.tables import console, describe_machine, print_goal, print_table
from tests.contract.emulated_lambda import EmulatedLambda, emulated_lambda

AWS_SECONDS = 0.005
PROVIDER_SECONDS = 0.2
STARTS = 15
WARM_ANSWERS = 30
#: Of each function's import table.
SHOWN = 8


@dataclass
class Starts:
    """Measurements of one contender: seconds, the runtime's CPU seconds by its first answer, and kilobytes."""

    first: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    warm: list[float] = field(default_factory=list)
    peak: list[int] = field(default_factory=list)

    def row(self, name: str, beside: Starts) -> list[str]:
        return [
            name,
            f"{median(self.first) * 1000:.0f}",
            f"{min(self.first) * 1000:.0f}–{max(self.first) * 1000:.0f}",
            f"{self.times(beside):.2f}",
            f"{median(self.cpu) * 1000:.0f}",
            f"{median(self.warm) * 1000:.1f}",
            f"{median(self.peak) / 1024:.0f}",
        ]

    def times(self, beside: Starts) -> float:
        """The first answer's time by that of another, turn by turn: the median of the quotients."""
        return median(ours / theirs for ours, theirs in zip(self.first, beside.first, strict=True))


def run() -> None:
    """Measure and print."""
    if sys.platform != "linux":
        console.print("\nStarting is left out: the Runtime Interface Emulator is a Linux program.")
        return
    version = find_runtime_version()
    with (
        tempfile.TemporaryDirectory() as home,
        slow_aws.run_server(AWS_SECONDS) as aws,
        slow_provider.run_server(PROVIDER_SECONDS) as provider,
        Progress(console=Console(stderr=True), transient=True) as progress,
    ):
        building = progress.add_task("building", total=len(CONTENDERS))
        built = {}
        for number, contender in enumerate(CONTENDERS):
            built[contender] = build_contender(contender, Path(home) / str(number), version)
            progress.advance(building)
        environment = _build_environment(aws, provider)
        starts = _measure(built, environment, Path(home), progress)
        tables = {it: measure_imports(built[it], {**environment, **it.environment}) for it in CONTENDERS}
    console.print(
        f"\n{describe_machine()}; each call of AWS {AWS_SECONDS * 1000:.0f} ms, "
        f"the provider {PROVIDER_SECONDS * 1000:.0f} ms; "
        f"{STARTS} starts each, in turns, {WARM_ANSWERS} warm answers after each start"
    )
    print_table(
        "Starting: Lambda's runtime, Python " + version,
        ("function", "first answer ms", "spread ms", "× boto3's", "CPU ms", "warm answer ms", "memory MB"),
        [starts[it].row(it.name, starts[BARE]) for it in CONTENDERS],
    )
    for it, seen in tables.items():
        _print_imports(it, seen)
    console.print()
    _print_goals(starts)


def _build_environment(aws: str, provider: str) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": f"http://{aws}",
        "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "benchmark",
        "POWERTOOLS_SERVICE_NAME": "benchmark",
        "TOKEN_ENDPOINT": f"http://{provider}/token",
    }


def _measure(
    built: Mapping[Contender, Built], environment: Mapping[str, str], home: Path, progress: Progress
) -> dict[Contender, Starts]:
    starts = {contender: Starts() for contender in CONTENDERS}
    task = progress.add_task("starting", total=(STARTS + 1) * len(CONTENDERS))
    for turn in range(STARTS + 1):
        for contender in random.sample(CONTENDERS, len(CONTENDERS)):
            progress.update(task, description=contender.name)
            into = starts[contender] if turn else Starts()  # the first turn reads the files into the page cache
            _start(built[contender], {**environment, **contender.environment}, home, into)
            progress.advance(task)
    return starts


def _start(built: Built, environment: Mapping[str, str], home: Path, into: Starts) -> None:
    """Start one function, time its first answer and some warm ones, and read its memory."""
    with emulated_lambda(built.function, built.layer, environment, 30, home) as function, _asking(function) as ask:
        into.first.append(ask())
        runtime = _find_child(function.pid)
        into.cpu.append(_read_cpu(runtime))
        into.warm.append(median(ask() for _ in range(WARM_ANSWERS)))
        into.peak.append(_read_peak_memory(runtime))


@contextmanager
def _asking(function: EmulatedLambda) -> Iterator[_Ask]:
    connection = http.client.HTTPConnection(function.url.removeprefix("http://"), timeout=30)
    try:
        yield _Ask(connection)
    finally:
        connection.close()


@dataclass(frozen=True)
class _Ask:
    connection: http.client.HTTPConnection

    def __call__(self) -> float:
        """Measure the seconds until the answer."""
        began = time.perf_counter()
        self.connection.request("POST", "/2015-03-31/functions/function/invocations", json.dumps(EVENT))
        answer = json.loads(self.connection.getresponse().read())
        seconds = time.perf_counter() - began
        assert answer.keys() & {"length", "access_token"}, answer
        return seconds


def _find_child(emulator: int) -> Path:
    """Return the directory under ``/proc`` of the runtime, the emulator's only child."""
    (child,) = (
        child
        for thread in Path(f"/proc/{emulator}/task").iterdir()
        for child in (thread / "children").read_text().split()
    )
    return Path("/proc", child)


def _read_cpu(process: Path) -> float:
    """Read the CPU seconds so far: fields 14 and 15 of the line (proc_pid_stat(5)), counted after the name."""
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _read_peak_memory(process: Path) -> int:
    """Read the peak memory in kilobytes (proc_pid_status(5), VmHWM)."""
    lines = (process / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def _print_imports(contender: Contender, seen: list[tuple[str, int, int]]) -> None:
    total = sum(own for _, own, _ in seen)
    longest = sorted(seen, key=lambda row: row[2], reverse=True)[:SHOWN]
    print_table(
        f"Imports of {contender.name}: {total / 1000:.0f} ms for {len(seen)} modules, the longest first",
        ("module", "by itself ms", "with what it imports ms"),
        [[name, f"{own / 1000:.1f}", f"{all_ / 1000:.1f}"] for name, own, all_ in longest],
    )


def _print_goals(starts: Mapping[Contender, Starts]) -> None:
    bare = starts[BARE]
    times = starts[GETTER].times(bare)
    print_goal(f"getter's first answer within 1.25 × that of boto3 alone: {times:.2f}", met=times <= 1.25)
    for it in (GETTER, CLIENT):
        more = (median(starts[it].peak) - median(bare.peak)) / 1024
        print_goal(f"{it.name}: at most 15 MB more memory than boto3 alone: {more:+.1f} MB", met=more <= 15)
