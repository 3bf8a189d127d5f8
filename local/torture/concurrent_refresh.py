"""Many callers that request a refresh of one connection at once: the provider must see exactly one."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from evergrant.secret import fingerprint
from local.terminal import Say
from local.torture.observer import Observer
from local.torture.recovery import Recovered, WaitShortener, recover
from local.torture.results import Results, Row
from local.torture.testbed import REFUSED, Party, Testbed


def refresh_concurrently(
    testbed: Testbed, observer: Observer, results: Results, shortener: WaitShortener, count: int, say: Say
) -> tuple[list[Row], Recovered]:
    """Request a refresh of :data:`REFUSED` from ``count`` threads, each with the token that the API rejected."""
    party = testbed.find_party(REFUSED)
    row = Row(f"{count} ask for one refresh at once", count, frozenset({REFUSED}), time.time())
    before = observer.invoke("Rotator", {"connection": REFUSED}).response
    demand = {"connection": REFUSED, "rejected": fingerprint(before["access_token"])}
    begun, barrier = time.time(), threading.Barrier(count)

    def ask() -> str:
        barrier.wait()
        return str(observer.invoke("Rotator", demand).response.get("access_token"))

    with ThreadPoolExecutor(count) as pool:
        tokens = {future.result() for future in [pool.submit(ask) for _ in range(count)]}
    over = time.time()
    recovered = recover(testbed, observer, (REFUSED,), shortener, say)
    seen = [at for at in _find_refreshes(results, party, REFUSED) if begun <= at <= over]
    if len(seen) != 1:
        results.failures.append(f"{count} asked at once, and the provider saw {len(seen)} requests.")
    if len(tokens) != 1 or tokens == {before["access_token"]}:
        results.failures.append(f"{count} asked at once, and got {len(tokens)} different tokens.")
    return [replace(row, begun=begun, ended=time.time())], recovered


def _find_refreshes(results: Results, party: Party, name: str) -> list[float]:
    """List the times at which the provider got a refresh request for a connection."""
    ledger = results.read_ledgers()[party.name]
    return [entry.at for entry in ledger.log if entry.presented and ledger.find_connection(entry.presented) == name]
