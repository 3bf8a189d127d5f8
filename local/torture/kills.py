"""SIGKILL: the process of a function, at a random moment of an invocation."""

from __future__ import annotations

import asyncio
import random
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from evergrant.record.connection import Connection, Status
from local.torture.aws_calls import call_of
from local.torture.observer import Observer
from local.torture.processes import Workers, kill
from local.torture.proxy import Request

_LOOK = 0.05
#: The steps at which to kill; the spend follows on the mark. And how long one of them takes, in seconds, about.
_KILLED_AT = ("look", "prepare", "mark", "save", "publish")
_A_STEP = 0.03


@dataclass(frozen=True)
class Kill:
    """One kill. ``ports`` are the local ports of the connections that the process held."""

    at: float
    pid: int
    ports: frozenset[int]


@dataclass
class _Armed:
    """An invocation that is to be killed.

    ``seen`` when it shows itself with its first look at the record, ``reached`` when it is at ``step``.
    """

    step: str
    seen: threading.Event = field(default_factory=threading.Event)
    reached: threading.Event = field(default_factory=threading.Event)
    pid: int | None = None
    at: float = 0.0


class Killing:
    """Asks for refreshes, and kills the process that works on them.

    Parameters
    ----------
    wanted
        How many kills must hit a running invocation.
    log
        Of the local AWS.
    """

    def __init__(
        self, observer: Observer, workers: Workers, names: tuple[str, ...], wanted: int, seed: str, log: Path
    ) -> None:
        self._observer = observer
        self._workers = workers
        self._names = names
        self._wanted = wanted
        self._chance = random.Random(seed)
        self._armed: dict[str, _Armed] = {}
        self._lock = threading.Lock()
        self._busy: set[str] = set()
        self._moments: list[str | None] = []
        self._durations = [0.6]
        self._died = 0
        self._log, self._log_read, self._log_died = log, log.stat().st_size, 0
        self.kills: list[Kill] = []

    async def watch(self, request: Request) -> None:
        """For the proxy before AWS: find the process of an invocation while it waits for its first answer."""
        if not self._armed:
            return
        call = call_of(request)
        armed = self._armed.get(call.connection or "")
        if armed is None:
            return
        if call.step == "look" and not armed.seen.is_set():
            armed.pid = await asyncio.to_thread(self._workers.behind, request.peer)
            armed.at = time.time()
            armed.seen.set()
        if call.step == armed.step and armed.seen.is_set():
            armed.reached.set()

    @property
    def hits(self) -> int:
        """Kills that took an invocation with them: one that we had asked for, or one of the queue, which is logged."""
        with self._lock, self._log.open("rb") as log:
            log.seek(self._log_read)
            while (line := log.readline()).endswith(b"\n"):
                self._log_read += len(line)
                self._log_died += b"failed processing SQS batch" in line and b"Worker process died" in line
            return self._died + self._log_died

    @property
    def done(self) -> bool:
        """Whether enough kills have hit."""
        return self.hits >= self._wanted

    def drive(self, stop: threading.Event) -> None:
        """Kill again and again, until it is done. Several threads may drive."""
        with ThreadPoolExecutor(1) as pool:
            while not self.done and not stop.is_set():
                name = self._take()
                if name is None:
                    stop.wait(0.2)
                    continue
                try:
                    self._kill_once(name, pool)
                finally:
                    with self._lock:
                        self._busy.discard(name)
                        self._armed.pop(name, None)

    def _kill_once(self, name: str, pool: ThreadPoolExecutor) -> None:
        with self._lock:
            step = self._moment()
            armed = self._armed[name] = _Armed(step or "look")
            longest = _A_STEP if step else 1.1 * statistics.median(self._durations[-25:])
            delay = self._chance.uniform(0, longest)
        asked = {"connection": name, "force": True, "wait": 0}
        invocation = pool.submit(self._observer.invoke, "Rotator", asked)
        while not armed.reached.wait(_LOOK) and not invocation.done():
            pass  # its process starts, or is not there yet
        if armed.pid is not None:
            time.sleep(delay)
            if not invocation.done():
                ports = self._workers.ports(armed.pid)
                if not invocation.done() and kill(armed.pid):
                    self.kills.append(Kill(time.time(), armed.pid, ports))
        died = invocation.result().died
        with self._lock:
            if died:
                self._died += 1
            elif armed.at:
                self._durations.append(time.time() - armed.at)

    def _moment(self) -> str | None:
        """The step at which to kill next, each in turn, shuffled; in every second case any time of the whole: None."""
        if not self._moments:
            self._moments = [*_KILLED_AT, *(None for _ in _KILLED_AT)]
            self._chance.shuffle(self._moments)
        return self._moments.pop()

    def _take(self) -> str | None:
        """A connection that can be refreshed now, at random."""
        now = int(time.time())
        records = self._observer.records()
        with self._lock:
            free = [name for name in self._names if name not in self._busy and refreshable(records[name], now)]
            if not free:
                return None
            name = self._chance.choice(free)
            self._busy.add(name)
            return name


def refreshable(record: Connection, now: int) -> bool:
    """Whether a connection can be refreshed now.

    Only where nothing is in doubt: asked so, as by `evergrant rotate`, a doubt would be settled before its time.
    """
    return record.status is Status.ACTIVE and record.attempt_id is None and not record.is_leased(now)
