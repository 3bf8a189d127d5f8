"""Protects direct reads: a cache no longer than the stack's parameter never hands out an expired token.

Simulated time, and the caches that consumers really use: Powertools and AWS's own, with its clock replaced by ours;
the Lambda extension, which is a program of its own, by its documented rule.
"""

from __future__ import annotations

import datetime as real
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import aws_secretsmanager_caching as aws_caching
import aws_secretsmanager_caching.cache.items as aws_items
import msgspec
import pytest
from aws_lambda_powertools.utilities.parameters import SecretsProvider
from aws_lambda_powertools.utilities.parameters import base as powertools
from hypothesis import given
from hypothesis import strategies as st

from evergrant.oauth.token_set import TokenLifetime
from evergrant.record import refresh_schedule, token_save
from evergrant.record.status import Status
from evergrant.settings import Settings
from evergrant.times import format_rfc3339
from tests.unit.samples import KEAP, connection, tokens

#: How late a refresh may be published without an effect, in seconds: two ticks, a provider that needs all its
#: attempts, and a save that has to be tried again.
LATE = 180
NAME = "evergrant/tokens/keap/main"


@given(
    lifetime=st.integers(60, 200_000),
    cache=st.integers(0, 3600),
    lead=st.integers(0, 100_000),
    minimum_age=st.integers(0, 100_000),
    generation=st.integers(1, 1000),
)
def test_a_token_with_a_secret_is_replaced_before_any_cache_expires_it(
    lifetime: int, cache: int, lead: int, minimum_age: int, generation: int
) -> None:
    """A token with a secret is replaced so early that no cache outlives it."""
    settings = Settings(consumer_cache=cache)
    rotation = msgspec.structs.replace(KEAP.rotation, lead=lead, minimum_age=minimum_age)
    profile = msgspec.structs.replace(KEAP, rotation=rotation)
    issued = tokens(lifetime)
    if not token_save.is_directly_readable(connection(), issued, profile, settings):
        return
    life = TokenLifetime(issued.issued_at, issued.expires_at)
    refreshed_at = refresh_schedule.compute_refresh_at(life, rotation, cache, "keap/main", generation)
    # A consumer read the old token in the second before the new one was published.
    assert issued.expires_at - (refreshed_at + cache) >= 300


@pytest.mark.parametrize(
    ("lifetime", "cache", "readable"), [(1800, 300, True), (1800, 450, True), (1800, 451, False), (3600, 900, True)]
)
def test_a_token_shorter_than_four_caches_has_no_secret(lifetime: int, cache: int, readable: bool) -> None:
    """A token that lives less than four times the largest consumer cache has no secret."""
    settings = Settings(consumer_cache=cache)
    assert token_save.is_directly_readable(connection(), tokens(lifetime), KEAP, settings) is readable


def test_a_token_that_may_not_be_refreshed_early_enough_has_no_secret() -> None:
    def readable(minimum_age: int) -> bool:
        rotation = msgspec.structs.replace(KEAP.rotation, minimum_age=minimum_age)
        profile = msgspec.structs.replace(KEAP, rotation=rotation)
        return token_save.is_directly_readable(connection(), tokens(3600), profile, Settings())

    assert readable(1800)
    assert not readable(1801), "half its life ahead is when it is to be refreshed"


def test_a_pasted_key_has_a_secret_since_nothing_replaces_it() -> None:
    pasted = replace(connection(status=Status.ACTIVE), grant="static")
    assert token_save.is_directly_readable(pasted, tokens(3600), KEAP, Settings(consumer_cache=3600))


class Time:
    """What the caches take for ``datetime.datetime``."""

    def __init__(self, at: float) -> None:
        self.at = at

    def now(self, tz: real.tzinfo | None = None) -> real.datetime:
        return real.datetime.fromtimestamp(self.at, tz)


class Secret:
    """Secrets Manager with one secret: a token that is replaced as the schedule says, and ``late`` seconds after."""

    def __init__(self, time: Time, lifetime: int, settings: Settings, late: int) -> None:
        self.time, self.settings, self.late = time, settings, late
        self.generation, self.lifetime = 0, lifetime
        self.replaced_at = time.at

    def _current(self) -> None:
        while self.time.at >= self.replaced_at:
            self.generation += 1
            issued_at = int(self.replaced_at)
            self.document = json.dumps(
                {"generation": self.generation, "expires_at": format_rfc3339(issued_at + self.lifetime)}
            )
            life = TokenLifetime(issued_at, issued_at + self.lifetime)
            cache = self.settings.consumer_cache
            due = refresh_schedule.compute_refresh_at(life, KEAP.rotation, cache, "keap/main", self.generation)
            self.replaced_at = due + self.late

    def get_secret_value(self, SecretId: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        self._current()
        return {"SecretString": self.document, "VersionId": str(self.generation), "VersionStages": ["AWSCURRENT"]}

    def describe_secret(self, SecretId: str) -> dict[str, Any]:  # noqa: N803
        self._current()
        return {"VersionIdsToStages": {str(self.generation): ["AWSCURRENT"]}}


Read = Callable[[], str]


def with_powertools(secret: Secret, seconds: int) -> Read:
    provider = SecretsProvider(boto3_client=secret)  # type: ignore[arg-type]
    return lambda: str(provider.get(NAME, max_age=seconds))


def with_aws_caching(secret: Secret, seconds: int) -> Read:
    config = aws_caching.SecretCacheConfig(secret_refresh_interval=seconds)
    cache = aws_caching.SecretCache(config=config, client=secret)
    return lambda: str(cache.get_secret_string(NAME))


def with_the_extension(secret: Secret, seconds: int) -> Read:
    """Cached for SECRETS_MANAGER_TTL seconds from when it was fetched, for all callers (Secrets Manager user guide)."""
    kept: tuple[float, str] = (-1.0, "")

    def read() -> str:
        nonlocal kept
        if secret.time.at >= kept[0]:
            kept = secret.time.at + seconds, secret.get_secret_value(NAME)["SecretString"]
        return kept[1]

    return read


READERS = {"Powertools": with_powertools, "AWS's cache": with_aws_caching, "the Lambda extension": with_the_extension}


def least_left(
    monkeypatch: pytest.MonkeyPatch, reader: str, seconds: int, lifetime: int, settings: Settings, late: int = LATE
) -> float:
    """The least life, in seconds, of any token that was handed out over six lives, read every 11 seconds."""
    time = Time(1_800_000_000.0)
    monkeypatch.setattr(powertools, "datetime", time)
    monkeypatch.setattr(aws_items, "datetime", time)
    secret = Secret(time, lifetime, settings, late)
    read, least, until = READERS[reader](secret, seconds), float("inf"), time.at + 6 * lifetime
    while time.at < until:
        expires_at = real.datetime.fromisoformat(json.loads(read())["expires_at"]).timestamp()
        least = min(least, expires_at - time.at)
        time.at += 11
    assert secret.generation > 5
    return least


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(("lifetime", "cache"), [(1800, 300), (3600, 900), (15_000, 3600), (86_400, 300)])
def test_a_cache_within_the_stacks_setting_never_serves_expired_tokens(
    monkeypatch: pytest.MonkeyPatch, reader: str, lifetime: int, cache: int
) -> None:
    """A cache as long as the stack's setting says never hands out an expired token."""
    assert least_left(monkeypatch, reader, cache, lifetime, Settings(consumer_cache=cache)) > 0


@pytest.mark.parametrize("reader", READERS)
def test_a_cache_longer_than_the_stacks_setting_does(monkeypatch: pytest.MonkeyPatch, reader: str) -> None:
    assert least_left(monkeypatch, reader, 3600, 3600, Settings(consumer_cache=300)) < 0


def test_the_documented_defaults_are_those_of_the_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    time = Time(1_800_000_000.0)
    monkeypatch.setattr(powertools, "datetime", time)
    secret = Secret(time, 3600, Settings(), late=0)
    provider = SecretsProvider(boto3_client=secret)  # type: ignore[arg-type]
    first = provider.get(NAME)
    secret.replaced_at = time.at
    time.at += 300
    assert provider.get(NAME) == first
    time.at += 1
    assert provider.get(NAME) != first
    assert aws_caching.SecretCacheConfig().secret_refresh_interval == 3600
