"""The work that goes on during all phases: the scheduler's ticks, and consumers that read tokens."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError

from local.torture.observer import Observer
from local.torture.plan import Plan
from local.torture.testbed import Testbed

_READERS = 1


@contextmanager
def ignore_errors_after(stop: threading.Event) -> Iterator[None]:
    """Ignore failed calls once the run has stopped: the local AWS ends in the middle of a call."""
    try:
        yield
    except BotoCoreError:
        if not stop.is_set():
            raise


@contextmanager
def run_background_work(
    testbed: Testbed, observer: Observer, plan: Plan, seed: int, stop: threading.Event
) -> Iterator[None]:
    """Start ticks and readers; at the end of the block, set ``stop`` and release the requests that hang."""

    def tick() -> None:
        with ignore_errors_after(stop):
            while not stop.wait(plan.tick):
                observer.invoke("Scheduler", {"source": "evergrant.torture"})

    def read(number: int) -> None:
        chance = random.Random(f"{seed}:reader:{number}")
        with ignore_errors_after(stop):
            while not stop.wait(chance.uniform(0, 1)):
                observer.invoke("Getter", {"connection": chance.choice(testbed.names)})

    threads = [threading.Thread(target=tick, daemon=True)]
    threads += [threading.Thread(target=read, args=(number,), daemon=True) for number in range(_READERS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for party in testbed.parties.values():
            party.proxy.release()
        testbed.proxy.release()
