"""Proves the same for workers, getters, operators and people at once: their calls interleaved in any order.

``EVERGRANT_INTERLEAVINGS`` says how many schedules are tried. The order is hypothesis's, so a schedule that fails is
made as short as it can be; nothing sleeps, and the same schedule is the same run.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evergrant import operations
from evergrant.connection import Status
from evergrant.profile import Profile
from evergrant.secret import Secret
from tests.proof.baton import Baton, Worker
from tests.proof.judging import judge
from tests.proof.recovering import Recovery
from tests.proof.simulation import Simulation, determined
from tests.proof.troubles import KINDLY
from tests.unit.test_rotation import KEAP

SCHEDULES = int(os.environ.get("EVERGRANT_INTERLEAVINGS", "300"))
FAULTS = ("fails before", "fails after", "killed before", "killed after")

goes_on = st.tuples(st.just("goes on"), st.integers(0, 5), st.integers(1, 9))
goes_wrong = st.tuples(st.just("goes wrong"), st.integers(0, 5), st.sampled_from(FAULTS))
comes = st.tuples(
    st.just("comes"),
    st.sampled_from(
        ["worker", "person", "refused getter", "getter", "worker", "pause", "resume", "disconnect", "operator"]
    ),
)
passes = st.tuples(st.just("time passes"), st.sampled_from([41, 1, 9, 300]))
schedules = st.lists(st.one_of(goes_on, goes_on, comes, goes_wrong, passes), min_size=8, max_size=30)


class Stage:
    """One simulation and the workers that are at it."""

    def __init__(self, profile: Profile) -> None:
        self.world = Simulation(profile, faults_of=Baton)
        self.workers: list[Worker] = []
        self.faults = 0

    def act(self, step: tuple[Any, ...]) -> None:
        self.workers = [worker for worker in self.workers if not worker.done]
        if step[0] == "comes" and len(self.workers) < 5:
            self.start(step[1])
        elif step[0] == "time passes":
            # No message waits for as long as a spend in doubt does: see transitions.SETTLED.
            self.deliver()
            self.world.clock.advance(step[1])
        elif step[0] in ("goes on", "goes wrong") and self.workers:
            worker = self.workers[step[1] % len(self.workers)]
            if step[0] == "goes wrong":
                self.faults += 1
                worker.go_on(step[2] if self.faults <= 3 else None)
            for _ in range(step[2] if step[0] == "goes on" else 0):
                if not worker.done:
                    worker.go_on()

    def start(self, who: str) -> None:
        world = self.world
        shown = world.vault.published["keap/main"]["access_token"]
        acts: dict[str, Callable[[], object]] = {
            "worker": world.worker,
            "getter": lambda: world.ask(min_ttl=3600),
            "refused getter": lambda: world.ask(rejected=Secret(shown).fingerprint),
            "person": world.reconnect,
            "operator": world.rotate,
            "pause": lambda: world.operate(operations.pause),
            "resume": lambda: world.operate(operations.resume),
            "disconnect": lambda: world.operate(operations.disconnect),
        }
        worker = Worker(acts[who])
        worker.start()
        self.workers.append(worker)
        worker.go_on()

    def deliver(self) -> None:
        messages, self.world.queue.messages = self.world.queue.messages, []
        for message, at in messages:
            if at <= self.world.clock.now():
                self.world.worker(message)
            else:
                self.world.queue.messages.append((message, at))

    def finish(self) -> None:
        for worker in self.workers:
            while not worker.done:
                worker.go_on()


def play(profile: Profile, schedule: list[tuple[Any, ...]]) -> Simulation:
    with determined():
        stage = Stage(profile)
        try:
            stage.start("worker")
            for step in schedule:
                stage.act(step)
            stage.finish()
        finally:
            for worker in stage.workers:  # of a schedule that failed: none stays behind
                worker.killed_at = 0.0
                while not worker.done and not worker.failure:
                    worker.go_on()
        Recovery(stage.world).settle()
        judge(stage.world, tuple(Status))
        return stage.world


@settings(
    max_examples=SCHEDULES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
)
@given(kindly=st.booleans(), schedule=schedules)
def test_whatever_the_order_of_their_calls_nobody_loses_a_token(*, kindly: bool, schedule: list[Any]) -> None:
    play(KINDLY if kindly else KEAP, schedule)
