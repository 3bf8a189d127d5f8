"""The torture itself: its phases, one after the other or some at once, and what is checked after them."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise

from botocore.exceptions import BotoCoreError

from evergrant.record.connection import Connection
from evergrant.secret import fingerprint
from evergrant.settings import Budgets
from local.browser import BrowsingError
from local.terminal import Say, Steps
from local.tools import LocalRunError
from local.torture.aws_calls import call_of, service_of
from local.torture.faults import MODES, SERVICES, aws_fault
from local.torture.faulty_providers import Lying, chosen
from local.torture.kills import Killing, refreshable
from local.torture.observer import Observer
from local.torture.plan import Plan
from local.torture.processes import Workers
from local.torture.proxy import Fault, Judge, Listener, Reply, Request
from local.torture.recovery import PATIENCE, Haste, Recovered, recover
from local.torture.results import Account, Row
from local.torture.testbed import REFUSED, Arena, Party
from local.torture.token_chains import Chains

_KILLERS = 4
_READERS = 1
_LOOK = 0.5
#: How long an outage waits for providers to answer before it begins for everybody.
_CATCHING = 10.0
#: An outage of the table lasts for so many seconds at least: an answer goes to the queue after half a save's time.
_TO_THE_QUEUE = Budgets().save
#: Tokens live for so long where nothing is to be due any more.
_LONG = 86_400


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
        self._chains = Chains(self._observer.stored)
        self._stop, self._checking = threading.Event(), threading.Event()
        self.account = Account(place, self._observer)
        self._haste = Haste(place, self._observer, self.account.held)
        for party in place.parties.values():
            party.proxy.heard = self._chains.heard

    def run(self) -> None:
        """All phases. What came of them is in ``account``."""
        with self._at_work():
            if self._plan.apart:
                self._one_after_the_other()
            else:
                self._at_once()
            self.account.finish()

    def _one_after_the_other(self) -> None:
        self._check([self._kills(self._place.names)])
        self._shorten(self._plan.lifetimes[1])
        for service in SERVICES:
            for mode in MODES if self._plan.modes_apart else (None,):
                self._check([self._outage(service, mode, self._place.names)])
        lying = self._lie()
        self._wait_for(lying)
        self._check(lying.rows)
        self._change_lifetime(_LONG)
        with self._steps.step(self._together_title) as say:
            self.account.close(*self._together(say))

    def _at_once(self) -> None:
        """Providers give wrong answers to some while others meet kills, and outages that stop no refresh."""
        lying = self._lie()
        hurrying = threading.Thread(target=self._hurry, args=(lying,), daemon=True)
        hurrying.start()
        others = tuple(name for name in self._place.names if name not in lying.waiting)
        # First what needs somebody whose lease is free; the leases of the killed run out during what follows.
        self._change_lifetime(self._plan.lifetimes[1])
        rows = [self._outage(service, None, others) for service in ("sqs", "events")]
        self._change_lifetime(self._plan.lifetimes[0])
        rows.append(self._kills(others))
        self._change_lifetime(self._plan.lifetimes[1])
        self._wait_for(lying)
        rows += [self._outage(service, None, self._place.names) for service in ("dynamodb", "kms", "secretsmanager")]
        for row, following in pairwise(rows):
            row.ended = following.begun
        for row in lying.rows:
            row.ended = rows[3].begun
        self._change_lifetime(_LONG)
        self._checking.set()
        with self._steps.step(f"Recovering, and {self._together_title}") as say, ThreadPoolExecutor(1) as pool:
            together = pool.submit(self._together, say)
            self._checked(lying.rows + rows, say)
            self.account.close(*together.result())

    def _shorten(self, lifetime: int) -> None:
        """From here on tokens live for ``lifetime`` seconds, those that are out there too."""

        def long() -> list[Connection]:
            records = self._observer.records()
            return [records[name] for name in self._place.names if _lifetime(records[name]) > lifetime]

        self._change_lifetime(lifetime)
        with self._steps.step(f"Refreshing all of them: from now on tokens live for {lifetime} s") as say:
            for record in long():
                self._observer.hurry(record, int(time.time()))
            ends = time.monotonic() + PATIENCE
            while (left := long()) and time.monotonic() < ends:
                say(f"{len(left)} to go")
                time.sleep(_LOOK)
            self._look()

    # --- phases -------------------------------------------------------------------------------------------------

    def _kills(self, names: tuple[str, ...]) -> Row:
        wanted = self._plan.kills
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
        return row

    def _outage(self, service: str, mode: str | None, names: Sequence[str]) -> Row:
        """A service goes wrong: first, and in vain, for some whose provider has just answered, then for everybody.

        ``names`` are those that are in nobody else's hands meanwhile, and counted here.
        """
        title, _ = SERVICES[service]
        row = Row(f"{title} {mode or 'fails, throttles, hangs'}", 0, frozenset(names), time.time())
        chance = random.Random(f"{self._seed}:{service}:{mode}")
        caught: dict[str, set[str]] = {party: set() for party in self._place.parties}
        out = threading.Event()
        lasts = max(self._plan.outage, _TO_THE_QUEUE if service == "dynamodb" else 0)

        def heard_by(party: str) -> Listener:
            def heard(request: Request, reply: Reply) -> None:
                name = self._chains.owner(request)
                if name in row.names and reply.status == 200 and len(caught[party]) < self._plan.caught:
                    caught[party].add(str(name))
                self._chains.heard(request, reply)

            return heard

        async def judge(request: Request) -> Fault | None:
            if service_of(request) != service:
                return None
            is_caught = any(call_of(request).connection in names for names in caught.values())
            if not (out.is_set() or is_caught):
                return None
            row.injected += 1
            # One that hangs would outlast a short outage, and then be answered after all.
            modes = MODES[:2] if is_caught else MODES
            return aws_fault(service, mode or chance.choice(modes), chance, in_vain=is_caught)

        for party in self._place.parties.values():
            party.proxy.heard = heard_by(party.name)
        with self._steps.step(f"{row.fault}, for {lasts} s") as say, self._judged(judge):
            say("waiting for providers' answers to begin with")
            ends = time.monotonic() + _CATCHING
            while time.monotonic() < ends and (few := [it for it in caught if len(caught[it]) < self._plan.caught]):
                self._refresh_some(few, names)
                time.sleep(_LOOK)
            out.set()
            ends = time.monotonic() + lasts
            while (left := ends - time.monotonic()) > 0:
                say(f"{left:.0f} s left, {row.injected} calls went wrong, {self._counted()}")
                time.sleep(min(left, _LOOK))
        for party in self._place.parties.values():
            party.proxy.heard = self._chains.heard
        return row

    def _lie(self) -> Lying:
        """Every fault of a provider at once, each at connections of its own, from now on."""
        begun, met_by = time.time(), chosen(self._plan, self._place.names, f"{self._seed}:lies")
        rows = [Row(f"provider: {lie.title}", 0, frozenset(names), begun, unread=lie.unread) for lie, names in met_by]
        lying = Lying(rows, {name: [lie.fault] * lie.times for lie, names in met_by for name in names}, self._chains)
        self._look()
        for party in self._place.parties.values():
            party.proxy.judge = lying.judge
        return lying

    def _wait_for(self, lying: Lying) -> None:
        with self._steps.step("Providers whose answers go wrong in nine ways") as say:
            ends = time.monotonic() + PATIENCE
            while (left := lying.left) and time.monotonic() < ends:
                say(f"{lying.total - left} of {lying.total} answers went wrong, {self._counted()}")
                self._look()
                time.sleep(_LOOK)
        self.account.failures += [
            f"{lying.row_of(name).fault}: {name} was refreshed before that time was over." for name in lying.hasty
        ]

    @property
    def _together_title(self) -> str:
        return f"{self._plan.together} ask for the same refresh at once"

    def _together(self, say: Say) -> tuple[list[Row], Recovered]:
        """Many ask for a refresh of one connection at once, since its token was refused."""
        count, party = self._plan.together, self._place.party(REFUSED)
        row = Row(f"{count} ask for one refresh at once", count, frozenset({REFUSED}), time.time())
        before = self._observer.invoke("Rotator", {"connection": REFUSED}).answer
        refused = {"connection": REFUSED, "rejected": fingerprint(before["access_token"])}
        begun, barrier = time.time(), threading.Barrier(count)

        def ask() -> str:
            barrier.wait()
            return str(self._observer.invoke("Rotator", refused).answer.get("access_token"))

        with ThreadPoolExecutor(count) as pool:
            answers = {future.result() for future in [pool.submit(ask) for _ in range(count)]}
        over = time.time()
        recovered = recover(self._place, self._observer, (REFUSED,), self._haste, say)
        seen = [at for at in self._requests(party, REFUSED) if begun <= at <= over]
        if len(seen) != 1:
            self.account.failures.append(f"{count} asked at once, and the provider saw {len(seen)} requests.")
        if len(answers) != 1 or answers == {before["access_token"]}:
            self.account.failures.append(f"{count} asked at once, and got {len(answers)} different answers.")
        return [replace(row, begun=begun, ended=time.time())], recovered

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
            while not self._stop.wait(self._plan.tick):
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

    def _hurry(self, lying: Lying) -> None:
        """While one fault follows upon the other: what waits out a backoff of one is due again in the next."""
        with self._until_stopped():
            while not self._stop.wait(_LOOK) and not self._checking.is_set():
                self._haste.make(record for record in self._look() if not lying.is_to_wait(record.name))

    def _refresh_some(self, parties: list[str], names: Sequence[str]) -> None:
        """Make a few connections of these providers due, so that somebody is in the middle of a refresh."""
        now, records = int(time.time()), self._look()
        for party in parties:
            of_party = [record for record in records if record.name in names and record.name.startswith(f"{party}/")]
            for record in [record for record in of_party if refreshable(record, now)][: self._plan.caught]:
                self._observer.hurry(record, now)

    def _look(self) -> list[Connection]:
        """What the records say now of those that are tortured; their refresh tokens are remembered."""
        records = self._observer.records()
        for record in records.values():
            self._observer.refresh_token(record)
        return [records[name] for name in self._place.names]

    def _check(self, rows: list[Row]) -> None:
        with self._steps.step("  recovering, and checking every connection") as say:
            self._checked(rows, say)

    def _checked(self, rows: list[Row], say: Say) -> None:
        """Let everything recover, and check it: the rows of the table are complete then."""
        recovered = recover(self._place, self._observer, self._place.names, self._haste, say)
        over = time.time()
        for row in rows:
            row.ended = min(row.ended, over)
        self.account.close(rows, recovered)
        self._reconnect(recovered, say)

    def _change_lifetime(self, seconds: int) -> None:
        for party in self._place.parties.values():
            party.provider.change_settings({"access_token_lifetime": seconds})

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

    def _requests(self, party: Party, name: str) -> list[float]:
        """When the provider was asked for a connection's refresh."""
        ledger = self.account.ledgers()[party.name]
        return [entry.at for entry in ledger.log if entry.presented and ledger.connection_of(entry.presented) == name]


def _lifetime(record: Connection) -> int:
    return record.token_lifetime.lifetime if record.token_lifetime else 0
