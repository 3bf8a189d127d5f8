"""Protects how often the simulated providers' refresh tokens work: once, however many ask at the same time, or as
often as wanted where a provider's settings say so.
"""

import threading
from collections.abc import Iterator

import httpx
import pytest

from local.providers import KEAP, Provider, ProviderServer
from tests.unit.simulated import APPLICATION, Clock, Simulated, refusal, tokens_of


@pytest.fixture(scope="module")
def running() -> Iterator[Simulated]:
    clock = Clock()
    provider = Provider(KEAP, clients=(APPLICATION,), clock=clock)
    with ProviderServer(provider) as server, httpx.Client(base_url=server.url) as http:
        yield Simulated(provider, server, clock, http)


@pytest.fixture
def keap(running: Simulated) -> Simulated:
    running.provider.reset()
    return running


def test_of_many_refreshes_at_once_exactly_one_wins(keap: Simulated) -> None:
    tokens = keap.connect()
    together = threading.Barrier(8)
    statuses: list[int] = []

    def refresh() -> None:
        together.wait()
        statuses.append(keap.refresh(tokens.refresh_token).status_code)

    threads = [threading.Thread(target=refresh) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200, *[400] * 7]
    assert keap.ask("stats")["refresh_reuse"] == 7


def test_a_reusable_refresh_token_keeps_its_value_and_its_lifetime(keap: Simulated) -> None:
    """A reusable refresh token stays the same, and lives as long as it was issued for."""
    keap.tell("settings", {"single_use_refresh_tokens": False, "refresh_token_lifetime": 100})
    first = keap.connect()
    for _ in range(2):
        keap.clock.advance(40)
        again = tokens_of(keap.refresh(first.refresh_token))
        assert again.refresh_token == first.refresh_token
        assert again.access_token != first.access_token
    keap.clock.advance(20)
    assert refusal(keap.refresh(first.refresh_token)) == (400, "invalid_grant")
    stats = keap.ask("stats")
    assert (stats["rotations"], stats["refresh_reuse"]) == (2, 0)
    assert keap.tell("replay-all")["replayed"] == 0


def test_a_used_refresh_token_stays_dead_when_later_ones_are_reusable(keap: Simulated) -> None:
    first = keap.connect()
    second = tokens_of(keap.refresh(first.refresh_token))
    keap.tell("settings", {"single_use_refresh_tokens": False})
    assert tokens_of(keap.refresh(second.refresh_token)).refresh_token == second.refresh_token
    assert refusal(keap.refresh(first.refresh_token)) == (400, "invalid_grant")


def test_within_grace_a_used_token_brings_new_ones_and_ends_unseen_ones(
    keap: Simulated,
) -> None:
    """Within its grace a used refresh token brings new tokens, and the ones that were never seen are used up."""
    keap.tell("settings", {"refresh_token_grace": 30})
    first = keap.connect()
    unseen = tokens_of(keap.refresh(first.refresh_token))
    keap.clock.advance(20)
    seen = tokens_of(keap.refresh(first.refresh_token))
    keap.clock.advance(31)
    assert tokens_of(keap.refresh(seen.refresh_token)).refresh_token not in {unseen.refresh_token, seen.refresh_token}
    assert refusal(keap.refresh(unseen.refresh_token)) == (400, "invalid_grant")


def test_after_its_grace_a_used_refresh_token_costs_the_grant(keap: Simulated) -> None:
    keap.tell("settings", {"refresh_token_grace": 30})
    first = keap.connect()
    second = tokens_of(keap.refresh(first.refresh_token))
    keap.clock.advance(31)
    assert refusal(keap.refresh(first.refresh_token)) == (400, "invalid_grant")
    assert refusal(keap.refresh(second.refresh_token)) == (400, "invalid_grant")
    assert keap.ask("stats")["refresh_reuse"] == 1
