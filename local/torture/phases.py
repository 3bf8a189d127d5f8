"""The torture itself, phase after phase; between two of them everything recovers and is checked."""

from __future__ import annotations

import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from itertools import cycle
from urllib.parse import parse_qs

from botocore.exceptions import BotoCoreError

from evergrant.connection import Connection
from evergrant.secret import fingerprint
from local.browser import BrowsingError
from local.terminal import Say, Steps
from local.tools import LocalRunError
from local.torture.account import Account, Row
from local.torture.arena import LEASE, Arena, Party
from local.torture.calls import service_of
from local.torture.faults import MODES, SERVICES, Lie, aws_fault, lies
from local.torture.kills import Killing
from local.torture.observer import Observer
from local.torture.plan import Plan
from local.torture.processes import Workers
from local.torture.proxy import Fault, Judge, Request
from local.torture.recovery import PATIENCE, Recovered, recover

#: Lives are short here, so the clock ticks faster than every minute.
TICK = 20.0
_KILLERS = 4
_READERS = 1
_LOOK = 0.5


class Torture:
    """One run over an arena.

    Parameters
    ----------
    seed
        Decides what is killed when and what goes wrong how. The machine's own timing stays what it is.
    """

    def __init__(self, place: Arena, plan: Plan, steps: Steps, seed: int) -> None:
        self._place, self._plan, self._steps, self._seed = place, plan, steps, seed
        self._observer = Observer(place)
        self._observer.warm()
        self._stop = threading.Event()
        self._open: list[Row] = []
        self.account = Account(place, self._observer)

    def run(self) -> None:
        """All phases. What came of them is in ``account``."""
        with self._at_work():
            kills, rest = self._plan.lifetimes
            self._shorten(kills)
            self._kills()
            self._shorten(rest)
            for service in SERVICES:
                for mode in MODES if self._plan.modes_apart else (None,):
                    self._outage(service, mode)
            if self._open:
                self._recover()
            self._lies()
            self._together()
            self.account.finish()

    def _shorten(self, lifetime: int) -> None:
        """From here on tokens live for ``lifetime`` seconds, those that are out there too."""

        def long() -> list[Connection]:
            return [record for record in self._observer.records().values() if _lifetime(record) > lifetime]

        for party in self._place.parties.values():
            party.provider.change_settings({"access_token_lifetime": lifetime})
        if not (left := long()):
            return
        with self._steps.step(f"Refreshing all of them: from now on tokens live for {lifetime} s") as say:
            for record in left:
                self._observer.hurry(record, int(time.time()))
            ends = time.monotonic() + PATIENCE
            while (left := long()) and time.monotonic() < ends:
                say(f"{len(left)} to go")
                time.sleep(_LOOK)
            for record in self._observer.records().values():
                self._observer.refresh_token(record)  # from here on it is known whose token is whose

    # --- phases -------------------------------------------------------------------------------------------------

    def _kills(self) -> None:
        names, wanted = self._place.names, self._plan.kills
        workers = Workers(self._place.proxy.url)
        killing = Killing(self._observer, workers, names, wanted, f"{self._seed}:kills", self._place.aws.log)
        killing.kills = self.account.kills
        row = Row("SIGKILL of rotator", 0, frozenset(names), time.time())

        async def judge(request: Request) -> Fault | None:
            await killing.watch(request)
            return None

        with self._steps.step(f"Killing rotator's processes, {wanted} times") as say, self._judged(judge):
            begun = time.monotonic()
            with ThreadPoolExecutor(_KILLERS) as pool:
                drivers = [pool.submit(killing.drive, self._stop) for _ in range(_KILLERS)]
                try:
                    while not all(driver.done() for driver in drivers):
                        left = (time.monotonic() - begun) / max(killing.hits, 1) * max(wanted - killing.hits, 0)
                        say(f"{killing.hits} of {wanted} kills, about {left:.0f} s left, {self._counted()}")
                        time.sleep(_LOOK)
                finally:
                    if not all(driver.done() for driver in drivers):
                        self._stop.set()
            for driver in drivers:
                driver.result()
            row.injected = killing.hits
        self._over(row)

    def _outage(self, service: str, mode: str | None) -> None:
        title, _ = SERVICES[service]
        row = Row(f"{title} {mode or 'fails, throttles, hangs'}", 0, frozenset(self._place.names), time.time())
        chance = random.Random(f"{self._seed}:{service}:{mode}")

        async def judge(request: Request) -> Fault | None:
            if service_of(request) != service:
                return None
            row.injected += 1
            return aws_fault(service, mode or chance.choice(MODES), chance)

        with self._steps.step(f"{row.fault}, for {self._plan.outage} s") as say, self._judged(judge):
            ends = time.monotonic() + self._plan.outage
            while (left := ends - time.monotonic()) > 0:
                say(f"{left:.0f} s left, {row.injected} calls went wrong, {self._counted()}")
                time.sleep(min(left, _LOOK))
        self._over(row)

    def _lies(self) -> None:
        """Every fault of a provider at once, each at connections of its own."""
        begun, chosen = time.time(), self._chosen()
        waiting: dict[str, list[Fault]] = {}
        for lie, names in chosen:
            waiting |= {name: [lie.fault] * lie.times for name in names}
        total = sum(map(len, waiting.values()))
        injected: dict[str, int] = defaultdict(int)

        def judge_of(party: Party) -> Judge:
            async def judge(request: Request) -> Fault | None:
                if not any(waiting.values()):
                    return None
                tokens = parse_qs(request.body.decode()).get("refresh_token", [])
                name = self._owner(party, fingerprint(tokens[0])) if tokens else None
                if name is None or not waiting.get(name):
                    return None
                injected[name] += 1
                return waiting[name].pop(0)

            return judge

        for party in self._place.parties.values():
            party.proxy.judge = judge_of(party)
        with self._steps.step("Providers whose answers go wrong in nine ways") as say:
            ends = time.monotonic() + PATIENCE
            while (left := sum(map(len, waiting.values()))) and time.monotonic() < ends:
                say(f"{total - left} of {total} answers went wrong, {self._counted()}")
                time.sleep(_LOOK)
            recovered = self._recovered(self._place.names, say)
        ended = time.time()
        for lie, names in chosen:
            row = Row(f"provider: {lie.title}", sum(injected[name] for name in names), frozenset(names), begun, ended)
            part = Recovered(seconds=recovered.seconds)
            part.lost = [name for name in recovered.lost if name in names]
            part.unread = [name for name in recovered.unread if name in names]
            part.failures = [failure for failure in recovered.failures if any(f"{name} " in failure for name in names)]
            self.account.close([row], part)
            if len(part.unread) != (len(names) if lie.unread else 0):
                self.account.failures.append(f"{row.fault}: {len(part.unread)} answers wait to be read.")
        self._reconnect(recovered)

    def _together(self) -> None:
        """Many ask for a refresh of one connection at once, since its token was refused."""
        count, name = self._plan.together, self._place.names[0]
        party = self._place.party(name)
        party.provider.change_settings({"access_token_lifetime": 3600})
        row = Row(f"{count} ask for one refresh at once", count, frozenset({name}), time.time())
        with self._steps.step(f"{count} ask for the same refresh at once") as say:
            self._place.connect(name)  # with a token that the schedule leaves alone
            before = self._observer.invoke("Rotator", {"connection": name}).answer
            refused = {"connection": name, "rejected": fingerprint(before["access_token"])}
            say("waiting until the token is old enough to be refused")
            self._stop.wait(11)
            begun, barrier = time.time(), threading.Barrier(count)

            def ask() -> str:
                barrier.wait()
                return str(self._observer.invoke("Rotator", refused).answer.get("access_token"))

            with ThreadPoolExecutor(count) as pool:
                answers = {future.result() for future in [pool.submit(ask) for _ in range(count)]}
            over = time.time()
            recovered = self._recovered((name,), say)
            seen = [at for at in self._requests(party, name) if begun <= at <= over]
        if len(seen) != 1:
            self.account.failures.append(f"{count} asked at once, and the provider saw {len(seen)} requests.")
        if len(answers) != 1 or answers == {before["access_token"]}:
            self.account.failures.append(f"{count} asked at once, and got {len(answers)} different answers.")
        self.account.close([replace(row, begun=begun, ended=time.time())], recovered)

    # --- what phases have in common -----------------------------------------------------------------------------

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        """The clock ticks, and consumers read, as long as the block lasts."""
        threads = [threading.Thread(target=self._tick, daemon=True)]
        threads += [threading.Thread(target=self._read, args=(number,), daemon=True) for number in range(_READERS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for party in self._place.parties.values():
                party.proxy.release()
            self._place.proxy.release()

    def _tick(self) -> None:
        with self._until_stopped():
            while not self._stop.wait(TICK):
                self._observer.invoke("Scheduler", {"source": "evergrant.torture"})

    def _read(self, number: int) -> None:
        chance = random.Random(f"{self._seed}:reader:{number}")
        with self._until_stopped():
            while not self._stop.wait(chance.uniform(0, 1)):
                self._observer.invoke("Getter", {"connection": chance.choice(self._place.names)})

    @contextmanager
    def _until_stopped(self) -> Iterator[None]:
        """The local AWS goes away in the middle of a call."""
        try:
            yield
        except BotoCoreError:
            if not self._stop.is_set():
                raise

    @contextmanager
    def _judged(self, judge: Judge) -> Iterator[None]:
        """Calls of AWS are judged, and those that hang are let go in the end."""
        before, self._place.proxy.judge = self._place.proxy.judge, judge
        try:
            yield
        finally:
            self._place.proxy.judge = before
            self._place.proxy.release()

    def _over(self, row: Row) -> None:
        """A fault is over: wait until all is well, or go on to the next one at once, as the plan says."""
        if self._open:
            self._open[-1].ended = row.begun
        self._open.append(row)
        if self._plan.checked_between:
            self._recover()

    def _recover(self) -> None:
        with self._steps.step("  recovering, and checking every connection") as say:
            recovered = self._recovered(self._place.names, say)
            self._open[-1].ended = time.time()
            self.account.close(self._open, recovered)
            if recovered.unread:
                self.account.failures.append(
                    f"{self._open[-1].fault}: {len(recovered.unread)} answers wait to be read."
                )
            self._open = []
            self._reconnect(recovered, say)

    def _recovered(self, names: tuple[str, ...], say: Say) -> Recovered:
        return recover(self._place, self._observer, names, say)

    def _reconnect(self, recovered: Recovered, say: Callable[[str], None] = lambda text: None) -> None:
        """Whoever owns an account whose grant is gone authorizes again, as Evergrant has asked them to."""
        gone = tuple(recovered.lost + recovered.unread)
        try:
            for name in self._place.connect_all(gone):
                say(f"{name} is authorized again")
        except (LocalRunError, BrowsingError) as error:
            self.account.failures.append(f"A connection could not be authorized again: {error}")

    def _counted(self) -> str:
        return f"{self.account.rotations()} rotations so far"

    def _owner(self, party: Party, token: str) -> str | None:
        return self._observer.stored.get(token) or self.account.ledgers()[party.name].connection_of(token)

    def _requests(self, party: Party, name: str) -> list[float]:
        """When the provider was asked for a connection's refresh."""
        ledger = self.account.ledgers()[party.name]
        return [entry.at for entry in ledger.log if entry.presented and ledger.connection_of(entry.presented) == name]

    def _chosen(self) -> list[tuple[Lie, tuple[str, ...]]]:
        """Which connections meet which of a provider's faults."""
        chance = random.Random(f"{self._seed}:lies")
        free = {
            party: chance.sample(of, len(of))
            for party in self._place.parties
            if (of := [name for name in self._place.names if name.startswith(f"{party}/")])
        }
        if self._plan.copies is None:
            turns = cycle(free.values())
            return [(lie, (next(turns).pop(),)) for lie in lies(LEASE)]
        copies = dict(zip(("keap", "lenient"), self._plan.copies, strict=True))
        return [(lie, tuple(free[party].pop() for party in free for _ in range(copies[party]))) for lie in lies(LEASE)]


def _lifetime(record: Connection) -> int:
    return record.life.lifetime if record.life else 0
