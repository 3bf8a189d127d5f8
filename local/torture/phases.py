"""The phases of the torture, in sequence or in part at once, and the checks after them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise

from evergrant.record.connection import Connection
from local.browser import BrowsingError
from local.terminal import Say, Steps
from local.tools import LocalRunError
from local.torture.background import ignore_errors_after, run_background_work
from local.torture.concurrent_refresh import refresh_concurrently
from local.torture.faults import MODES, SERVICES
from local.torture.faulty_providers import FaultyProviders, assign_faults
from local.torture.kills import Killer, is_refreshable
from local.torture.observer import Observer
from local.torture.outages import Outage
from local.torture.plan import Plan
from local.torture.processes import Workers
from local.torture.proxy import Fault, FaultChooser, Request
from local.torture.recovery import MAX_RECOVERY_SECONDS, Recovered, WaitShortener, recover
from local.torture.results import Results, Row
from local.torture.testbed import Testbed
from local.torture.token_chains import TokenChains

_KILLERS = 4
_POLL_SECONDS = 0.5
#: How long an outage waits for responses of providers before it begins for all connections.
_MAX_CATCH_SECONDS = 10.0
#: The lifetime of tokens where none is to become due any more.
_LONG_LIFETIME_SECONDS = 86_400


class Torture:
    """One run on a testbed.

    Parameters
    ----------
    seed
        Decides which faults are injected, and where. The timing of the machine is not under its control.
    """

    def __init__(self, testbed: Testbed, plan: Plan, steps: Steps, seed: int) -> None:
        self._testbed, self._plan, self._steps, self._seed = testbed, plan, steps, seed
        self._observer = Observer(testbed)
        self._observer.create_clients()
        self._chains = TokenChains(self._observer.stored)
        self._stop, self._checking = threading.Event(), threading.Event()
        self.results = Results(testbed, self._observer)
        self._shortener = WaitShortener(testbed, self._observer, self.results.may_be_held)
        for party in testbed.parties.values():
            party.proxy.on_reply = self._chains.add_reply

    def run(self) -> None:
        """Run all phases; ``results`` holds the outcome."""
        with run_background_work(self._testbed, self._observer, self._plan, self._seed, self._stop):
            if self._plan.sequential:
                self._run_in_sequence()
            else:
                self._run_at_once()
            self.results.finish(self._shortener.probes)

    def _run_in_sequence(self) -> None:
        """Inject each fault alone, and check every connection after it."""
        self._recover_and_check([self._kill_rotators(self._testbed.names)])
        self._shorten_lifetimes(self._plan.lifetimes[1])
        for service in SERVICES:
            for mode in MODES if self._plan.modes_apart else (None,):
                self._recover_and_check([self._fail_service(service, mode, self._testbed.names)])
        faulty = self._start_response_faults()
        self._wait_for(faulty)
        self._recover_and_check(faulty.rows)
        self._change_lifetime(_LONG_LIFETIME_SECONDS)
        with self._steps.step(self._concurrent_title) as say:
            self.results.close(*self._refresh_concurrently(say))

    def _run_at_once(self) -> None:
        """Inject faulty responses at some connections, and at the others kills and outages that stop no refresh."""
        faulty = self._start_response_faults()
        shortening = threading.Thread(target=self._shorten_waits, args=(faulty,), daemon=True)
        shortening.start()
        others = tuple(name for name in self._testbed.names if name not in faulty.pending)
        # These outages need connections without a lease. The leases of killed workers run out during the next ones.
        self._change_lifetime(self._plan.lifetimes[1])
        rows = [self._fail_service(service, None, others) for service in ("sqs", "events")]
        self._change_lifetime(self._plan.lifetimes[0])
        rows.append(self._kill_rotators(others))
        self._change_lifetime(self._plan.lifetimes[1])
        self._wait_for(faulty)
        rows += [
            self._fail_service(service, None, self._testbed.names) for service in ("dynamodb", "kms", "secretsmanager")
        ]
        for row, following in pairwise(rows):
            row.ended = following.begun
        for row in faulty.rows:
            row.ended = rows[3].begun
        self._change_lifetime(_LONG_LIFETIME_SECONDS)
        self._checking.set()
        with self._steps.step(f"Recovering, and {self._concurrent_title}") as say, ThreadPoolExecutor(1) as pool:
            concurrent = pool.submit(self._refresh_concurrently, say)
            self._check_rows(faulty.rows + rows, say)
            self.results.close(*concurrent.result())

    def _shorten_lifetimes(self, lifetime: int) -> None:
        """Set the lifetime of tokens (seconds), and refresh every token that was issued with a longer one."""

        def find_longer() -> list[Connection]:
            records = self._observer.read_records()
            return [records[name] for name in self._testbed.names if _get_lifetime(records[name]) > lifetime]

        self._change_lifetime(lifetime)
        with self._steps.step(f"Refreshing all of them: from now on tokens live for {lifetime} s") as say:
            for record in find_longer():
                self._observer.make_due(record, int(time.time()))
            ends = time.monotonic() + MAX_RECOVERY_SECONDS
            while (left := find_longer()) and time.monotonic() < ends:
                say(f"{len(left)} to go")
                time.sleep(_POLL_SECONDS)
            self._read_connections()

    # --- phases -------------------------------------------------------------------------------------------------

    def _kill_rotators(self, names: tuple[str, ...]) -> Row:
        """Kill the processes of rotator until enough invocations have ended."""
        wanted = self._plan.kills
        workers = Workers(self._testbed.proxy.url)
        killer = Killer(self._observer, workers, names, wanted, f"{self._seed}:kills", self._testbed.aws.log)
        killer.kills = self.results.kills
        row = Row("SIGKILL of rotator", 0, frozenset(names), time.time())

        async def choose_fault(request: Request) -> Fault | None:
            await killer.observe_call(request)
            return None

        with self._steps.step(f"Killing rotator's processes, {wanted} times") as say, self._aws_faults(choose_fault):
            begun = time.monotonic()
            with ThreadPoolExecutor(_KILLERS) as pool:
                drivers = [pool.submit(killer.drive, self._stop) for _ in range(_KILLERS)]
                try:
                    while not all(driver.done() for driver in drivers):
                        left = (time.monotonic() - begun) / max(killer.hits, 1) * max(wanted - killer.hits, 0)
                        say(f"{killer.hits} of {wanted} kills, about {left:.0f} s left, {self._count_rotations()}")
                        time.sleep(_POLL_SECONDS)
                finally:
                    if not all(driver.done() for driver in drivers):
                        self._stop.set()
            for driver in drivers:
                driver.result()
            row.injected = killer.hits
        return row

    def _fail_service(self, service: str, mode: str | None, names: Sequence[str]) -> Row:
        """Let a service fail: first for a few connections whose provider has just responded, then for all."""
        outage = Outage(self._testbed, self._plan, self._chains, service, mode, names, self._seed)
        row = outage.row
        title = f"{row.fault}, for {outage.seconds} s"
        with (
            self._steps.step(title) as say,
            outage.catch_responses(),
            self._aws_faults(outage.choose_fault),
        ):
            say("waiting for the first responses of providers")
            ends = time.monotonic() + _MAX_CATCH_SECONDS
            while time.monotonic() < ends and (few := outage.list_uncaught()):
                self._refresh_some(few, names)
                time.sleep(_POLL_SECONDS)
            outage.meet_all()
            ends = time.monotonic() + outage.seconds
            while (left := ends - time.monotonic()) > 0:
                say(f"{left:.0f} s left, {row.injected} calls failed, {self._count_rotations()}")
                time.sleep(min(left, _POLL_SECONDS))
        return row

    def _start_response_faults(self) -> FaultyProviders:
        """Inject every kind of faulty response from now on, each at connections of its own."""
        begun = time.time()
        assigned = assign_faults(self._plan, self._testbed.names, f"{self._seed}:lies")
        rows = [
            Row(f"provider: {kind.title}", 0, frozenset(names), begun, unreadable=kind.unreadable)
            for kind, names in assigned
        ]
        faulty = FaultyProviders(
            rows, {name: [kind.fault] * kind.times for kind, names in assigned for name in names}, self._chains
        )
        self._read_connections()
        for party in self._testbed.parties.values():
            party.proxy.choose_fault = faulty.choose_fault
        return faulty

    def _wait_for(self, faulty: FaultyProviders) -> None:
        """Wait until every faulty response has been sent."""
        with self._steps.step("Providers whose responses are faulty in nine ways") as say:
            ends = time.monotonic() + MAX_RECOVERY_SECONDS
            while (left := faulty.left) and time.monotonic() < ends:
                say(f"{faulty.total - left} of {faulty.total} faulty responses, {self._count_rotations()}")
                self._read_connections()
                time.sleep(_POLL_SECONDS)
        self.results.failures += [
            f"{faulty.find_row(name).fault}: {name} was refreshed too early." for name in faulty.too_early
        ]

    @property
    def _concurrent_title(self) -> str:
        return f"{self._plan.concurrent} ask for the same refresh at once"

    def _refresh_concurrently(self, say: Say) -> tuple[list[Row], Recovered]:
        count = self._plan.concurrent
        return refresh_concurrently(self._testbed, self._observer, self.results, self._shortener, count, say)

    # --- what phases have in common -----------------------------------------------------------------------------

    @contextmanager
    def _aws_faults(self, choose_fault: FaultChooser) -> Iterator[None]:
        """Choose faults of AWS calls in the block; release the calls that hang at its end."""
        before, self._testbed.proxy.choose_fault = self._testbed.proxy.choose_fault, choose_fault
        try:
            yield
        finally:
            self._testbed.proxy.choose_fault = before
            self._testbed.proxy.release()

    def _shorten_waits(self, faulty: FaultyProviders) -> None:
        """Shorten waits while faults follow each other: a connection in backoff is due again in the next fault."""
        with ignore_errors_after(self._stop):
            while not self._stop.wait(_POLL_SECONDS) and not self._checking.is_set():
                self._shortener.shorten(
                    record for record in self._read_connections() if not faulty.is_to_wait(record.name)
                )

    def _refresh_some(self, parties: list[str], names: Sequence[str]) -> None:
        """Make a few connections of these providers due, so that a worker is in the middle of a refresh."""
        now, records = int(time.time()), self._read_connections()
        for party in parties:
            of_party = [record for record in records if record.name in names and record.name.startswith(f"{party}/")]
            for record in [record for record in of_party if is_refreshable(record, now)][: self._plan.caught]:
                self._observer.make_due(record, now)

    def _read_connections(self) -> list[Connection]:
        """Read the records of the connections, and note their refresh tokens."""
        records = self._observer.read_records()
        for record in records.values():
            self._observer.fingerprint_refresh_token(record)
        return [records[name] for name in self._testbed.names]

    def _recover_and_check(self, rows: list[Row]) -> None:
        with self._steps.step("  recovering, and checking every connection") as say:
            self._check_rows(rows, say)

    def _check_rows(self, rows: list[Row], say: Say) -> None:
        """Let every connection recover, check it, and complete the rows."""
        recovered = recover(self._testbed, self._observer, self._testbed.names, self._shortener, say)
        over = time.time()
        for row in rows:
            row.ended = min(row.ended, over)
        self.results.close(rows, recovered)
        self._reconnect(recovered, say)

    def _change_lifetime(self, seconds: int) -> None:
        for party in self._testbed.parties.values():
            party.provider.change_settings({"access_token_lifetime": seconds})

    def _reconnect(self, recovered: Recovered, say: Callable[[str], None] = lambda text: None) -> None:
        """Authorize again, as the account's owner, each connection that needs a person."""
        gone = tuple(recovered.lost + recovered.unreadable)
        try:
            for name in self._testbed.connect_all(gone):
                say(f"{name} is authorized again")
        except (LocalRunError, BrowsingError) as error:
            self.results.failures.append(f"A connection could not be authorized again: {error}")

    def _count_rotations(self) -> str:
        return f"{self.results.count_rotations()} rotations so far"


def _get_lifetime(record: Connection) -> int:
    return record.token_lifetime.lifetime if record.token_lifetime else 0
