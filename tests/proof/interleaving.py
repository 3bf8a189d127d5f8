"""Workers, getters, operators and people at once, one call of one of them at a time, in the order of a schedule.

A schedule is a list of steps: an actor comes and makes so many calls; an actor that is there goes on, or meets a fault;
time passes. Most of what can go wrong takes an actor that stalls in the middle while another one acts, so that is a
step of its own, and a frequent one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from evergrant.connect import operator_actions
from evergrant.record.status import Status
from evergrant.secret import Secret
from tests.proof.baton import Baton, Worker
from tests.proof.doubts import ERROR, acts
from tests.proof.faults import STALL
from tests.proof.judging import judge
from tests.proof.recovering import Recovery
from tests.proof.simulation import NAME, Simulation, determined
from tests.proof.troubles import KINDLY
from tests.unit.rotation_world import KEAP, LIFETIME

FAULTS = ("fails before", "fails after", "killed before", "killed after")
#: More calls than anybody makes.
_ALL = 99
MOST_AT_ONCE, MOST_FAULTS = 5, 4

WORLDS = ("no grace", "a grace", "expired", "the table goes down", "an unclear answer")
WHO = ("worker", "worker", "getter", "refused getter", "person", "operator", "pause", "resume", "disconnect")
_calls = st.one_of(st.integers(4, 10), st.integers(0, 14), st.just(_ALL))
_comes = st.tuples(st.just("comes"), st.sampled_from(WHO), _calls)
_goes_on = st.tuples(st.just("goes on"), st.integers(0, MOST_AT_ONCE), _calls)
_goes_wrong = st.tuples(st.just("goes wrong"), st.integers(0, MOST_AT_ONCE), st.sampled_from(FAULTS))
_passes = st.tuples(st.just("time passes"), st.sampled_from([41, 41, 20, 70, 300]))
_held_up = st.tuples(st.just("is held up"), st.integers(0, 1), _calls, st.sampled_from(WHO))
SCHEDULES = st.tuples(
    st.sampled_from(WORLDS),
    st.lists(st.one_of(_comes, _goes_on, _goes_wrong, _passes, _held_up, _held_up), min_size=4, max_size=20),
)
Schedule = tuple[str, list[tuple[Any, ...]]]


def world_of(name: str) -> Simulation:
    world = Simulation(KINDLY if name == "a grace" else KEAP, faults_of=Baton)
    if name == "expired":
        world.clock.advance(LIFETIME)
    if name == "an unclear answer":
        world.provider.oddities = (acts(ERROR),)
    if name == "the table goes down":

        def goes_down() -> None:
            world.provider.after_answer = lambda: None
            world.records.down_until = world.clock.now() + STALL + 5

        world.provider.after_answer = goes_down
    return world


class Stage:
    """One simulation and who is at it."""

    def __init__(self, world: Simulation) -> None:
        self.world = world
        self.workers: list[Worker] = []
        self.faults = 0

    def act(self, step: tuple[Any, ...]) -> None:
        self.workers = [worker for worker in self.workers if not worker.done]
        match step:
            case "comes", who, calls:
                if len(self.workers) < MOST_AT_ONCE:
                    self.go_on(self.start(who), calls)
            case "time passes", seconds:
                # No message waits as long as a refresh attempt in doubt: see lost_response.MIN_REPLAY_DELAY_SECONDS.
                self.deliver()
                self.world.clock.advance(seconds)
            case "is held up", number, calls, who:
                # An actor makes some calls; then its lease runs out, and another one does all it can.
                if self.workers:
                    self.go_on(self.workers[number % len(self.workers)], calls)
                self.deliver()
                self.world.clock.advance(STALL)
                self.go_on(self.start(who), _ALL)
            case "goes on", number, calls if self.workers:
                self.go_on(self.workers[number % len(self.workers)], calls)
            case "goes wrong", number, fault if self.workers and self.faults < MOST_FAULTS:
                self.faults += 1
                self.workers[number % len(self.workers)].go_on(fault)

    def go_on(self, worker: Worker, calls: int) -> None:
        for _ in range(calls):
            if not worker.done:
                worker.go_on()

    def start(self, who: str) -> Worker:
        world = self.world
        shown = world.vault.published[NAME]["access_token"]
        acts: dict[str, Callable[[], object]] = {
            "worker": world.worker,
            "getter": lambda: world.ask(min_ttl=LIFETIME // 2),
            "refused getter": lambda: world.ask(rejected=Secret(shown).fingerprint),
            "person": world.reconnect,
            "operator": world.rotate,
            "pause": lambda: world.operate(operator_actions.pause),
            "resume": lambda: world.operate(operator_actions.resume),
            "disconnect": lambda: world.operate(operator_actions.disconnect),
        }
        worker = Worker(acts[who])
        worker.start()
        self.workers.append(worker)
        worker.go_on()
        return worker

    def deliver(self) -> None:
        messages, self.world.queue.messages = self.world.queue.messages, []
        for message, at in messages:
            if at > self.world.clock.now():
                self.world.queue.messages.append((message, at))
            else:
                self.world.worker(message)

    def finish(self) -> None:
        for worker in self.workers:
            self.go_on(worker, 10_000)


def play(schedule: Schedule) -> Simulation:
    """Play a schedule to its end, let all recover, and judge what came of it."""
    name, steps = schedule
    with determined():
        world = world_of(name)
        stage = Stage(world)
        try:
            stage.start("worker")
            for step in steps:
                stage.act(step)
            stage.finish()
        finally:
            for worker in stage.workers:  # of a schedule that failed: none stays behind
                worker.killed_at = 0.0
                while not worker.done and not worker.failure:
                    worker.go_on()
        Recovery(world).settle()
        judge(world, tuple(Status))
        return world
