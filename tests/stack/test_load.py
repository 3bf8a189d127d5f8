"""Protects readers while tokens are replaced under them: none ever sends one that its provider takes no more.

A few seconds of what `make bench PARTS=load` does for a minute, until tokens have been replaced often enough.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping

import pytest

from benchmarks.reader_processes import read_under_load
from benchmarks.readers import Plan
from local.connections import INVESTREADY, INVESTSUITE
from local.world import World
from tests.stack.deployed import PATIENCE_SECONDS

ACCESS_TOKEN_SECONDS = 16
#: Of two connections, so that one of them has had three, each after four tenths of a life or more: its first token,
#: which the readers began with, has ended.
REFRESHES = 5
#: With a secret, and through getter only.
CONNECTIONS = [INVESTREADY.for_account("under-load"), INVESTSUITE.for_account("under-load")]
PLANS = [
    Plan(way="client", threads=16, pause=0.5, targets=[]),
    Plan(way="client", threads=4, pause=0.5, targets=[]),
    Plan(way="getter", threads=2, pause=1.0, targets=[]),
]


@pytest.fixture
def short_lived(world: World) -> Iterator[None]:
    """The two connections, with tokens that live for seconds; other connections' tokens stay as they are."""
    providers = [world.providers[connection.provider.name].provider for connection in CONNECTIONS]
    usual = [provider.settings()["access_token_lifetime"] for provider in providers]
    for provider in providers:
        provider.change_settings({"access_token_lifetime": ACCESS_TOKEN_SECONDS})
    for connection in CONNECTIONS:
        world.connect(connection)
    yield
    for connection in CONNECTIONS:
        world.evergrant("disconnect", connection.name, "--yes")
    for provider, lifetime in zip(providers, usual, strict=True):
        provider.change_settings({"access_token_lifetime": lifetime})


def test_no_reader_sends_an_expired_token_and_each_is_refreshed_once(
    world: World, short_lived: None, credentials_of: Callable[[str], Mapping[str, str]]
) -> None:
    until = time.monotonic() + 2 * PATIENCE_SECONDS
    credentials = {name.upper(): value for name, value in credentials_of("consumer").items()}

    load = read_under_load(
        world, CONNECTIONS, PLANS, lambda refreshes: refreshes < REFRESHES and time.monotonic() < until, credentials
    )

    assert load.refreshes >= REFRESHES
    assert load.calls > 0
    assert not load.refused
    assert (load.count_premature(ACCESS_TOKEN_SECONDS), load.reused, load.rejected) == (0, 0, 0)
