"""Protects the simulation's own machinery: virtual time, turns, and that a seed decides everything."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from tests.simulation import random_mix
from tests.simulation.checks import Checks
from tests.simulation.timeline import Actor, Timeline, Turns
from tests.unit.memory import Crash


@pytest.fixture
def timeline() -> Timeline:
    return Timeline(0.0)


def sleeper(timeline: Timeline, seen: list[str], name: str, seconds: float) -> Callable[[], None]:
    def run() -> None:
        seen.append(f"{name} at {timeline.now():g}")
        timeline.sleep(seconds)
        seen.append(f"{name} at {timeline.now():g}")

    return run


def test_events_happen_while_an_actor_sleeps(timeline: Timeline) -> None:
    seen: list[str] = []
    timeline.at(1, sleeper(timeline, seen, "a", 10))
    timeline.at(2, sleeper(timeline, seen, "b", 3))
    timeline.at(12, lambda: seen.append("end"))
    timeline.run(20)
    assert seen == ["a at 1", "b at 2", "b at 5", "a at 11", "end"]
    assert timeline.now() == 20
    timeline.close()


def test_an_actor_that_sleeps_over_the_end_goes_on_with_the_next_run(timeline: Timeline) -> None:
    seen: list[str] = []
    timeline.at(1, sleeper(timeline, seen, "a", 10))
    timeline.run(5)
    assert seen == ["a at 1"]
    timeline.run(15)
    assert seen == ["a at 1", "a at 11"]
    timeline.close()


def test_an_actor_without_company_keeps_its_thread(timeline: Timeline) -> None:
    def work() -> None:
        for _ in range(100):
            timeline.sleep(1)

    timeline.at(1, work)
    timeline.run(200)
    assert len(timeline._actors) == 1
    timeline.close()


def test_turns_are_taken_in_order(timeline: Timeline) -> None:
    seen: list[str] = []
    turns = Turns(timeline, 2)

    def work(name: str) -> None:
        with turns:
            sleeper(timeline, seen, name, 5)()

    for name in "abcd":
        timeline.at(0, lambda name=name: work(name))  # type: ignore[misc]
    timeline.run(20)
    assert [entry for entry in seen if "at 5" in entry] == ["a at 5", "b at 5", "c at 5", "d at 5"]
    assert seen[-2:] == ["c at 10", "d at 10"]
    timeline.close()


def test_a_killed_actor_ends_where_it_sleeps(timeline: Timeline) -> None:
    seen: list[str] = []

    def work() -> None:
        actor = threading.current_thread()
        assert isinstance(actor, Actor)
        actor.killed_at = 3.0
        with pytest.raises(Crash):
            timeline.sleep(10)
        actor.killed_at = float("inf")
        seen.append(f"killed at {timeline.now():g}")

    timeline.at(1, work)
    timeline.run(20)
    assert seen == ["killed at 3"]
    timeline.close()


def test_what_an_event_raises_ends_the_run(timeline: Timeline) -> None:
    timeline.at(1, lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        timeline.run(2)
    timeline.close()


def story(seed: int) -> list[object]:
    with random_mix.build(seed, 3, Checks()) as world:
        world.run(hours=3)
        tracks = world.ledger.tracks.values()
        return [
            world.ledger.events,
            [(track.requests, track.gaps, list(track.log)) for track in tracks],
            sorted(world.records.items.items()),
        ]


def test_a_seed_decides_everything() -> None:
    assert story(4) == story(4)
    assert story(4) != story(3)
