"""SIGKILL to the process of a function, at a random moment of an invocation."""

from __future__ import annotations

import asyncio
import random
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from evergrant.record.connection import Connection
from evergrant.record.status import Status
from local.torture.aws_calls import parse_call
from local.torture.observer import Observer
from local.torture.processes import Workers, kill
from local.torture.proxy import Request

_POLL_SECONDS = 0.05
#: The steps at which to kill; the refresh attempt follows the mark. And the duration of a step, in seconds, roughly.
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

    ``seen`` is set at its first read of the record, ``reached`` when it gets to ``step``.
    """

    step: str
    seen: threading.Event = field(default_factory=threading.Event)
    reached: threading.Event = field(default_factory=threading.Event)
    pid: int | None = None
    at: float = 0.0


class Killer:
    """Requests refreshes, and kills the processes that work on them.

    Parameters
    ----------
    wanted
        How many kills must hit a running invocation.
    log
        The log of the local AWS.
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

    async def observe_call(self, request: Request) -> None:
        """Find the process of an armed invocation while its first call waits: the proxy before AWS calls this."""
        if not self._armed:
            return
        call = parse_call(request)
        armed = self._armed.get(call.connection or "")
        if armed is None:
            return
        if call.step == "look" and not armed.seen.is_set():
            armed.pid = await asyncio.to_thread(self._workers.find_process, request.peer)
            armed.at = time.time()
            armed.seen.set()
        if call.step == armed.step and armed.seen.is_set():
            armed.reached.set()

    @property
    def hits(self) -> int:
        """Kills that ended an invocation: one of our own, or one from the queue, which the log shows."""
        with self._lock, self._log.open("rb") as log:
            log.seek(self._log_read)
            while (line := log.readline()).endswith(b"\n"):
                self._log_read += len(line)
                self._log_died += b"failed processing SQS batch" in line and b"Worker process died" in line
            return self._died + self._log_died

    @property
    def done(self) -> bool:
        """Whether enough kills have ended an invocation."""
        return self.hits >= self._wanted

    def drive(self, stop: threading.Event) -> None:
        """Kill until enough invocations have ended. Several threads may call this."""
        with ThreadPoolExecutor(1) as pool:
            while not self.done and not stop.is_set():
                name = self._choose_connection()
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
            step = self._next_step()
            armed = self._armed[name] = _Armed(step or "look")
            longest = _A_STEP if step else 1.1 * statistics.median(self._durations[-25:])
            delay = self._chance.uniform(0, longest)
        asked = {"connection": name, "force": True, "wait": 0}
        invocation = pool.submit(self._observer.invoke, "Rotator", asked)
        while not armed.reached.wait(_POLL_SECONDS) and not invocation.done():
            pass  # the process has not called AWS yet
        if armed.pid is not None:
            time.sleep(delay)
            if not invocation.done():
                ports = self._workers.find_ports(armed.pid)
                if not invocation.done() and kill(armed.pid):
                    self.kills.append(Kill(time.time(), armed.pid, ports))
        died = invocation.result().died
        with self._lock:
            if died:
                self._died += 1
            elif armed.at:
                self._durations.append(time.time() - armed.at)

    def _next_step(self) -> str | None:
        """Return the step at which to kill next, in shuffled turns; None, in half of the cases, means at any time."""
        if not self._moments:
            self._moments = [*_KILLED_AT, *(None for _ in _KILLED_AT)]
            self._chance.shuffle(self._moments)
        return self._moments.pop()

    def _choose_connection(self) -> str | None:
        """Choose a connection that can be refreshed now, at random."""
        now = int(time.time())
        records = self._observer.read_records()
        with self._lock:
            free = [name for name in self._names if name not in self._busy and is_refreshable(records[name], now)]
            if not free:
                return None
            name = self._chance.choice(free)
            self._busy.add(name)
            return name


def is_refreshable(record: Connection, now: int) -> bool:
    """Whether a connection can be refreshed now.

    Not if a refresh attempt is in doubt: a forced refresh, as by `evergrant rotate`, would replay it before its time.
    """
    return record.status is Status.ACTIVE and record.attempt_id is None and not record.is_leased(now)
