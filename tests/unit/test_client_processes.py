"""Protects the client in processes with many threads, and in those that fork or are restored from a snapshot: one fetch
at a time, its outcome shared, and nothing taken over from the process before."""

from __future__ import annotations

import multiprocessing
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import snapshot_restore_py

from evergrant_client import (
    AuthorizationRequired,
    Evergrant,
)
from tests.unit.client_fakes import GETTER, START, Clock, FakeAws, build_answer, refusal

KEAP = "keap/main"
SECRET = "evergrant/tokens/keap/main"


@pytest.fixture
def aws() -> FakeAws:
    return FakeAws()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def evergrant(aws: FakeAws, clock: Clock) -> Evergrant:
    return Evergrant(prefix="evergrant", getter=GETTER, session=aws, clock=clock)


def test_threads_that_need_the_same_token_make_one_fetch(evergrant: Evergrant, aws: FakeAws) -> None:
    aws.publish(KEAP, "t", expires_at=START + 3600)
    ready = threading.Barrier(8)
    aws.before_read = _let_others_run

    def ask() -> str:
        ready.wait()
        return evergrant.token(KEAP)

    with ThreadPoolExecutor(8) as pool:
        assert {future.result() for future in [pool.submit(ask) for _ in range(8)]} == {"t"}
    assert aws.reads == [SECRET]


def _let_others_run() -> None:
    """Give up the processor, so that other threads run into the lock; wait for nothing."""
    for _turn in range(200):
        os.sched_yield()


def test_threads_that_waited_for_a_failing_fetch_share_the_failure(evergrant: Evergrant, aws: FakeAws) -> None:
    entered, waiting = threading.Event(), threading.Event()
    aws.getter = lambda _: refusal("authorization_required")

    def hold() -> None:
        entered.set()
        assert waiting.wait(10)

    aws.before_read = hold
    slot = evergrant._fetcher.slot(KEAP)
    seen: list[BaseException | None] = []

    def ask() -> None:
        with pytest.raises(AuthorizationRequired) as caught:
            evergrant.token(KEAP)
        seen.append(caught.value)

    first = threading.Thread(target=ask)
    first.start()
    assert entered.wait(10)
    slot.lock = _Announcing(slot.lock, waiting)  # type: ignore[assignment]
    second = threading.Thread(target=ask)
    second.start()
    first.join()
    second.join()
    assert len(aws.reads) == len(aws.caller_waits) == 1
    assert seen[0] is not seen[1]


class _Announcing:
    """The same lock, which signals that a thread is about to wait for it."""

    def __init__(self, lock: Any, about_to_wait: threading.Event) -> None:
        self._lock = lock
        self._about_to_wait = about_to_wait

    def __enter__(self) -> None:
        self._about_to_wait.set()
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def test_threads_refused_with_the_same_token_force_one_refresh(evergrant: Evergrant, aws: FakeAws) -> None:
    aws.publish(KEAP, "first", expires_at=START + 3600)
    evergrant.token(KEAP)
    aws.getter = lambda _: build_answer(KEAP, "second", expires_at=START + 3600, generation=2)
    ready = threading.Barrier(8)

    def ask(_: int) -> str:
        ready.wait()
        return evergrant.token(KEAP, rejected="first")

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, range(8))) == {"second"}
    assert len(aws.caller_waits) == 1


def test_threads_of_different_connections_do_not_wait_for_each_other(aws: FakeAws) -> None:
    both = threading.Barrier(2)

    def getter(request: dict[str, Any]) -> dict[str, Any]:
        both.wait(10)  # passes only when both are being asked for at once
        return build_answer(request["connection"], "t", expires_at=START + 3600)

    aws.getter = getter
    evergrant = Evergrant(getter=GETTER, read_secrets=False, session=aws, clock=Clock())
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(evergrant.token, [KEAP, "acme/main"])) == ["t", "t"]


def test_snapstart_snapshot_holds_no_token_and_its_copies_trust_none(evergrant: Evergrant, aws: FakeAws) -> None:
    """A SnapStart snapshot holds no token, and its copies trust none."""
    aws.publish(KEAP, "before", expires_at=START + 86_400)
    evergrant.token(KEAP)
    aws.publish(KEAP, "after", expires_at=START + 86_400, generation=2)
    run(snapshot_restore_py.get_before_snapshot())
    assert evergrant._entries == {}
    assert aws.closed == 1
    evergrant.token(KEAP)  # another hook's doing, within the snapshot after all
    aws.publish(KEAP, "restored", expires_at=START + 86_400, generation=3)
    run(snapshot_restore_py.get_after_restore())
    assert evergrant.token(KEAP) == "restored"
    assert aws.made == 1, "the client of AWS, which takes long to make, is part of the snapshot"


def test_an_instance_without_settings_keeps_no_other_from_forgetting(
    evergrant: Evergrant, aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVERGRANT_ALLOW_LOOPBACK", "true")
    others = [Evergrant(getter="http://localhost:1/x", session=FakeAws()) for _ in range(8)]
    monkeypatch.delenv("EVERGRANT_ALLOW_LOOPBACK")
    aws.publish(KEAP, "before", expires_at=START + 86_400)
    evergrant.token(KEAP)
    run(snapshot_restore_py.get_before_snapshot())
    assert evergrant._entries == {}
    assert len(others) == 8


def run(hooks: list[Any]) -> None:
    """Call hooks as Lambda's runtime does."""
    for function, arguments, named in hooks:
        function(*arguments, **named)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")
def test_forked_child_trusts_no_cache_lock_or_connection_of_its_parent(evergrant: Evergrant, aws: FakeAws) -> None:
    """The child of a fork trusts neither cache nor locks nor connections of its parent."""
    aws.publish(KEAP, "parent's", expires_at=START + 3600)
    evergrant.token(KEAP)
    aws.publish(KEAP, "child's", expires_at=START + 3600, generation=2)
    fork = multiprocessing.get_context("fork")
    answers = fork.SimpleQueue()
    with evergrant._fetcher.slot(KEAP).lock:  # as if another thread of the parent were fetching
        child = fork.Process(target=lambda: answers.put((evergrant.token(KEAP), aws.made)))
        child.start()
    child.join(30)
    assert child.exitcode == 0
    assert answers.get() == ("child's", 2)
    assert evergrant.token(KEAP) == "parent's"
