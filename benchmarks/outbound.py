"""CPU of a request to a provider, and of importing what makes it: Evergrant's HTTP beside httpx alone.

The provider is on loopback, speaks plain HTTP and responds at once. Contenders take turns, in chunks.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from statistics import median

import httpx

from benchmarks import slow_provider
from benchmarks.tables import console, describe_machine, print_goal, print_table
from evergrant.adapters.http import GuardedHttp
from evergrant.http_messages import HttpRequest

CHUNK, CHUNKS = 50, 30
IMPORTS = 9

_OURS, _FRESH = "Evergrant", "httpx.Client(), a connection each"
_BODY = b"grant_type=refresh_token&refresh_token=" + b"r" * 300
_HEADERS = {"content-type": "application/x-www-form-urlencoded"}
# The command's packages, which httpx imports for its own command where they are, are not in the layer.
_WITHOUT_COMMAND = "import sys; sys.modules.update(click=None, rich=None, pygments=None); "


def run() -> None:
    """Measure and print."""
    with slow_provider.run_server(0) as host, httpx.Client() as kept, httpx.Client() as fresh:
        url, ours = f"http://{host}/token", GuardedHttp(allow_loopback=True)
        requests: dict[str, Callable[[], object]] = {
            _OURS: partial(ours.send, HttpRequest("POST", url, _HEADERS, _BODY), hosts=(host,), timeout=10),
            _FRESH: partial(fresh.post, url, content=_BODY, headers={**_HEADERS, "connection": "close"}),
            "httpx.Client(), a kept connection": partial(kept.post, url, content=_BODY, headers=_HEADERS),
        }
        seconds = _measure_requests(requests)
    imports = {
        name: [_measure_import(f"{_WITHOUT_COMMAND}{statement}") for _ in range(IMPORTS)]
        for name, statement in {
            "evergrant.adapters.http": "import evergrant.adapters.http",
            "httpx and httpcore": "import httpx, httpcore",
            "h11, ssl and certifi": "import h11, ssl, certifi",
        }.items()
    }
    console.print(f"\n{describe_machine()}")
    for title, header, figures in (
        (f"A request: {CHUNKS} chunks of {CHUNK}", "requests with", seconds),
        (f"Imports: {IMPORTS} fresh interpreters each", "import of", imports),
    ):
        rows = [
            [name, f"{median(each) * 1000:.2f}", f"{min(each) * 1000:.2f}–{max(each) * 1000:.2f}"]
            for name, each in figures.items()
        ]
        print_table(title, (header, "CPU ms", "spread ms"), rows)
    console.print()
    times = median(ours / theirs for ours, theirs in zip(seconds[_OURS], seconds[_FRESH], strict=True))
    print_goal(f"at most 1.25 × what httpx takes with a connection for each request: {times:.2f}", met=times <= 1.25)


def _measure_requests(requests: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    """Measure the CPU seconds of one request, by contender and chunk."""
    measured: dict[str, list[float]] = {name: [] for name in requests}
    for chunk in range(CHUNKS + 1):
        for name, send in requests.items():
            began = time.process_time()
            for _ in range(CHUNK):
                send()
            if chunk:  # the first warms up
                measured[name].append((time.process_time() - began) / CHUNK)
    return measured


def _measure_import(statement: str) -> float:
    """Measure the CPU seconds of an import in an interpreter of its own."""
    script = f"import time; began = time.process_time(); {statement}; print(time.process_time() - began)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return float(done.stdout)
