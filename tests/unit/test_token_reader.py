"""Protects getter's order: memory, the secret, then rotator; no token that is refused or about to expire is served."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergrant.getter.token_reader import MEMORY_SECONDS, MIN_TTL_SECONDS, OVERDUE_SECONDS, TokenReader
from evergrant.secret import fingerprint
from evergrant.times import format_rfc3339
from tests.unit.samples import NOW

KEAP = "keap/main"
UNAVAILABLE = {"error": {"code": "temporarily_unavailable", "message": "Not now.", "retry_after": 5}}


def doc(token: str, lifetime: float = 3600, **fields: Any) -> dict[str, Any]:
    return {"connection": KEAP, "access_token": token, "expires_at": format_rfc3339(int(NOW + lifetime)), **fields}


class World:
    """A clock, a secret and a rotator that remember what was asked of them."""

    def __init__(self) -> None:
        self.time: float = NOW
        self.secrets: dict[str, dict[str, Any]] = {}
        self.rotator: dict[str, Any] = dict(UNAVAILABLE)
        self.reads: list[str] = []
        self.caller_waits: list[Mapping[str, Any]] = []
        self.reader = TokenReader(self._read_secret, self._ask_rotator, lambda: self.time)

    def _read_secret(self, connection: str) -> dict[str, Any] | None:
        self.reads.append(connection)
        return self.secrets.get(connection)

    def _ask_rotator(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self.caller_waits.append(request)
        return dict(self.rotator)

    def token(self, *args: Any, **kwargs: Any) -> Any:
        return self.reader.read(KEAP, *args, **kwargs).get("access_token")


@pytest.fixture
def world() -> World:
    return World()


def test_the_secret_is_read_once_and_then_remembered(world: World) -> None:
    world.secrets[KEAP] = doc("a")
    for _ in range(3):
        assert world.reader.read(KEAP) == {**doc("a"), "expires_in": 3600}
    assert (world.reads, world.caller_waits) == ([KEAP], [])


def test_seconds_left_are_those_of_the_moment_of_the_answer(world: World) -> None:
    world.secrets[KEAP] = doc("a", expires_in=1)
    assert world.reader.read(KEAP)["expires_in"] == 3600
    world.time += 100.5
    assert world.reader.read(KEAP)["expires_in"] == 3499


def test_memory_is_trusted_for_a_minute_then_a_new_token_is_noticed(world: World) -> None:
    """Memory is believed for a minute, and then a replaced token is noticed."""
    world.secrets[KEAP] = doc("a", 86_400)
    world.token()
    world.secrets[KEAP] = doc("b", 2 * 86_400)
    world.time = NOW + MEMORY_SECONDS - 1
    assert world.token() == "a"
    world.time = NOW + MEMORY_SECONDS
    assert world.token() == "b"


def test_a_withdrawn_token_is_noticed_although_it_is_still_valid(world: World) -> None:
    world.secrets[KEAP] = doc("a", 86_400)
    world.token()
    del world.secrets[KEAP]
    world.rotator = {"error": {"code": "disconnected"}}
    world.time = NOW + MEMORY_SECONDS
    assert world.reader.read(KEAP) == {"error": {"code": "disconnected"}}


def test_a_longer_life_is_sought_in_the_secret_then_from_rotator(world: World) -> None:
    """A longer life is looked for in the secret, and then asked of rotator."""
    world.secrets[KEAP] = doc("a", 3600)
    world.token()
    world.rotator = doc("c", 9000)
    assert world.token(min_ttl=3600) == "c"
    assert len(world.reads) == 2
    assert world.caller_waits == [{"connection": KEAP, "min_ttl": 3600}]
    assert world.token(min_ttl=3600) == "c", "rotator's answer is remembered"
    assert len(world.caller_waits) == 1


def test_rotators_answer_is_the_freshest_even_if_it_lives_too_short(world: World) -> None:
    """Rotator's answer is the freshest that there is, even if it lives for too short a time."""
    world.rotator = doc("a", 60, expires_in=60)
    assert world.reader.read(KEAP, 3600) == {**doc("a", 60), "expires_in": 60}


def test_min_ttl_beyond_the_lifetime_refreshes_once_per_half_life(world: World) -> None:
    """A caller that wants more than tokens live has them refreshed at each half-life, and not at each call."""
    world.rotator = doc("a", 60)
    for _ in range(30):
        assert world.token(min_ttl=3600) == "a"
        world.time += 1
    assert len(world.caller_waits) == 1
    world.rotator = doc("b", 90)
    assert world.token(min_ttl=3600) == "b", "half of what there was is gone"


def test_a_published_token_that_should_have_been_replaced_is_asked_about(world: World) -> None:
    warning = {"code": "degraded", "message": "No.", "retry_after": 30}
    world.secrets[KEAP] = doc("a", OVERDUE_SECONDS)
    world.rotator = {**doc("a", OVERDUE_SECONDS), "warning": warning}
    for _ in range(3):
        assert world.reader.read(KEAP) == {
            **doc("a", OVERDUE_SECONDS),
            "expires_in": OVERDUE_SECONDS,
            "warning": warning,
        }
    assert len(world.caller_waits) == 1, "the warning is remembered"
    world.time += 30
    world.rotator = doc("b")
    assert "warning" not in world.reader.read(KEAP), "and looked at again when it said"


def test_while_rotator_fails_a_living_token_is_served_with_the_reason(
    world: World,
) -> None:
    """While rotator cannot be asked, a living token is served with the reason, and rotator is not hammered."""
    world.secrets[KEAP] = doc("a", 100)
    for _ in range(5):
        answer = world.reader.read(KEAP, min_ttl=200)
        assert answer == {**doc("a", 100), "expires_in": int(NOW + 100 - world.time), "warning": UNAVAILABLE["error"]}
        world.time += 1
    assert len(world.caller_waits) == 1
    world.reader.read(KEAP, min_ttl=200)
    assert len(world.caller_waits) == 2, "after as long as it said, five seconds"


def test_a_refused_token_that_is_kept_is_not_asked_about_at_each_call(world: World) -> None:
    warning = {"code": "still_refused", "message": "Kept."}
    world.secrets[KEAP] = doc("a")
    world.rotator = {**doc("a"), "warning": warning}
    for _ in range(100):
        assert world.reader.read(KEAP, rejected=fingerprint("a"))["warning"] == warning
    assert len(world.caller_waits) == 1
    assert "warning" not in world.reader.read(KEAP), "a caller that was not refused gets no warning of it"
    world.rotator = doc("b")
    world.time += MIN_TTL_SECONDS
    assert world.token(rejected=fingerprint("a")) == "b", "as long as rotator's shortest cooldown"


class Crowd:
    """Threads that all ask while the first one's question to rotator is under way."""

    def __init__(self, answer: dict[str, Any], size: int = 20) -> None:
        self.answer, self.size = answer, size
        self.caller_waits: list[Mapping[str, Any]] = []
        self.waiting = 0
        self.all_wait = threading.Event()
        self.reader = TokenReader(lambda _: None, self._ask_rotator, lambda: NOW, self._make_lock)

    def _ask_rotator(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self.caller_waits.append(request)
        assert self.all_wait.wait(30), "the others did not come"
        return dict(self.answer)

    def _make_lock(self) -> AbstractContextManager[Any]:
        lock, crowd = threading.Lock(), self

        class Counting:
            def __enter__(self) -> None:
                with counted:
                    crowd.waiting += 1
                    if crowd.waiting == crowd.size:
                        crowd.all_wait.set()
                lock.acquire()

            def __exit__(self, *_: object) -> None:
                lock.release()

        counted = threading.Lock()
        return Counting()

    def ask(self, **wanted: Any) -> list[dict[str, Any]]:
        with ThreadPoolExecutor(self.size) as pool:
            return list(pool.map(lambda _: self.reader.read(KEAP, **wanted), range(self.size)))


@pytest.mark.parametrize(
    ("rotator", "wanted"),
    [
        (doc("a"), {}),
        (doc("a", 60), {"min_ttl": 3600}),
        (doc("b"), {"rejected": fingerprint("a")}),
        ({**doc("a"), "warning": {"code": "still_refused"}}, {"rejected": fingerprint("a")}),
        (UNAVAILABLE, {}),
        ({"error": {"code": "disconnected"}}, {"rejected": fingerprint("a")}),
    ],
    ids=["a token", "a short one", "another one", "a kept one", "a passing error", "a lasting error"],
)
def test_one_process_asks_once_for_one_connection_however_many_wait(
    rotator: dict[str, Any], wanted: dict[str, Any]
) -> None:
    crowd = Crowd(rotator)
    answers = crowd.ask(**wanted)
    assert len(crowd.caller_waits) == 1
    assert all(answer == answers[0] for answer in answers)


def test_who_waited_is_not_given_the_token_that_it_was_refused() -> None:
    crowd = Crowd(doc("a"), size=1)
    assert crowd.reader.read(KEAP)["access_token"] == "a"
    crowd.reader.read(KEAP, rejected=fingerprint("a"))
    assert [request.get("rejected") for request in crowd.caller_waits] == [None, fingerprint("a")]


def test_a_token_in_its_last_seconds_is_not_served_from_memory_or_secret(world: World) -> None:
    world.secrets[KEAP] = doc("a", MIN_TTL_SECONDS)
    world.rotator = doc("b")
    assert world.token(min_ttl=0) == "b"


def test_a_refused_token_is_not_served_again(world: World) -> None:
    world.secrets[KEAP] = doc("a")
    world.token()
    world.rotator = doc("b")
    assert world.token(rejected=fingerprint("a")) == "b"
    assert world.caller_waits == [{"connection": KEAP, "min_ttl": 0, "rejected": fingerprint("a")}]
    assert world.token() == "b"


def test_a_token_refused_elsewhere_is_replaced_by_the_secrets_newer_one(world: World) -> None:
    world.secrets[KEAP] = doc("a")
    world.token()
    world.secrets[KEAP] = doc("b")
    assert world.token(rejected=fingerprint("a")) == "b"
    assert world.caller_waits == []


def test_a_refusal_of_another_token_changes_nothing(world: World) -> None:
    world.secrets[KEAP] = doc("a")
    assert world.token(rejected=fingerprint("older")) == "a"
    assert world.token(rejected="no fingerprint") == "a"
    assert (world.reads, world.caller_waits) == ([KEAP], [])


def test_where_there_is_no_secret_rotator_is_asked_and_its_answer_kept(world: World) -> None:
    world.rotator = doc("a", 300)
    assert world.token() == world.token() == "a"
    assert len(world.reads) == len(world.caller_waits) == 1


def test_an_error_is_handed_on_and_not_remembered(world: World) -> None:
    assert world.reader.read(KEAP) == UNAVAILABLE
    world.rotator = doc("a")
    assert world.token() == "a"


def test_after_an_error_nothing_remembered_is_served(world: World) -> None:
    world.secrets[KEAP] = doc("a")
    world.token()
    del world.secrets[KEAP]
    world.rotator = {"error": {"code": "disconnected", "message": "Gone."}}
    assert "error" in world.reader.read(KEAP, rejected=fingerprint("a"))
    assert "error" in world.reader.read(KEAP)


def test_connections_are_remembered_apart(world: World) -> None:
    world.secrets = {KEAP: doc("a"), "keap/other": doc("b")}
    assert world.token() == "a"
    assert world.reader.read("keap/other")["access_token"] == "b"
    assert world.token() == "a"


def test_an_answer_is_the_callers_own(world: World) -> None:
    world.secrets[KEAP] = doc("a")
    world.reader.read(KEAP)["access_token"] = "spoilt"
    assert world.token() == "a"


@given(
    held=st.integers(-3600, 7200),
    published=st.integers(-3600, 7200),
    min_ttl=st.integers(0, 10_000),
    rejected=st.sampled_from([None, fingerprint("secret"), fingerprint("rotator")]),
)
def test_without_rotator_only_what_is_valid_and_not_refused_is_served(
    held: int, published: int, min_ttl: int, rejected: str | None
) -> None:
    world = World()
    world.secrets[KEAP] = doc("secret", held)
    world.token()
    world.secrets[KEAP] = doc("secret", published)
    answer = world.reader.read(KEAP, min_ttl, rejected)
    if published > MIN_TTL_SECONDS and rejected != fingerprint("secret"):
        assert answer["access_token"] == "secret", "shorter than asked for is better than none"
    if "error" not in answer:
        assert answer["expires_in"] >= MIN_TTL_SECONDS
        assert fingerprint(answer["access_token"]) != rejected
