"""Protects the provider for Powertools' Parameters: it behaves as one of theirs, save that no argument and no setting
makes it hand out a token that has ended."""

from __future__ import annotations

import pytest
from aws_lambda_powertools.utilities.parameters.base import BaseProvider
from aws_lambda_powertools.utilities.parameters.exceptions import GetParameterError, TransformParameterError

from evergrant_client import AuthorizationRequired, Evergrant, InvalidRequest
from evergrant_client.powertools import TokenProvider
from tests.unit.client_fakes import GETTER, START, Clock, FakeAws, build_answer, refusal

KEAP = "keap/main"


@pytest.fixture
def aws() -> FakeAws:
    aws = FakeAws()
    aws.publish(KEAP, "first", expires_at=START + 3600)
    return aws


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def evergrant(aws: FakeAws, clock: Clock) -> Evergrant:
    return Evergrant(prefix="evergrant", getter=GETTER, session=aws, clock=clock)


@pytest.fixture
def tokens(evergrant: Evergrant) -> TokenProvider:
    return TokenProvider(evergrant=evergrant)


def publish_second(aws: FakeAws) -> None:
    aws.publish(KEAP, "second", expires_at=START + 7200, generation=2)


def test_value_of_a_connection_is_its_token(tokens: BaseProvider) -> None:
    assert isinstance(tokens, TokenProvider)
    assert tokens.get(KEAP) == "first"


def test_token_is_kept_for_its_life_despite_powertools_max_age(
    tokens: TokenProvider, aws: FakeAws, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token is kept as long as it lives, at any setting of Powertools' own cache."""
    monkeypatch.setenv("POWERTOOLS_PARAMETERS_MAX_AGE", "1")
    tokens.get(KEAP)
    clock.pass_seconds(3000)
    assert tokens.get(KEAP) == "first"
    assert len(aws.reads) == 1


def test_max_age_has_it_read_again(tokens: TokenProvider, aws: FakeAws, clock: Clock) -> None:
    tokens.get(KEAP)
    publish_second(aws)
    clock.pass_seconds(30)
    assert tokens.get(KEAP, max_age=60) == "first"
    assert tokens.get(KEAP, max_age=10) == "second"
    assert tokens.get(KEAP, 10) == "second"
    assert len(aws.reads) == 2


@pytest.mark.parametrize("max_age", [0, -5])
def test_max_age_of_nothing_reads_every_time_as_powertools_does(
    tokens: TokenProvider, aws: FakeAws, max_age: int
) -> None:
    assert [tokens.get(KEAP, max_age=max_age) for _ in range(3)] == ["first"] * 3
    assert len(aws.reads) == 3


def test_tokens_own_expiry_is_weightier_than_any_max_age(tokens: TokenProvider, aws: FakeAws, clock: Clock) -> None:
    tokens.get(KEAP, max_age=86_400)
    publish_second(aws)
    clock.pass_seconds(3600 - 61)
    assert tokens.get(KEAP, max_age=86_400) == "second"


def test_force_fetch_reads_again_and_serves_what_lives_if_it_cannot(
    tokens: TokenProvider, aws: FakeAws, clock: Clock
) -> None:
    tokens.get(KEAP)
    publish_second(aws)
    clock.pass_seconds(1)
    assert tokens.get(KEAP, force_fetch=True) == "second"
    aws.secrets.clear()
    aws.getter = lambda _: refusal("temporarily_unavailable")
    clock.pass_seconds(1)
    assert tokens.get(KEAP, force_fetch=True) == "second"


def test_force_fetch_asks_getter_where_there_is_no_secret(tokens: TokenProvider, aws: FakeAws, clock: Clock) -> None:
    aws.secrets.clear()
    aws.getter = lambda _: build_answer(KEAP, f"token {len(aws.caller_waits)}", expires_at=START + 300)
    tokens.get(KEAP)
    clock.pass_seconds(1)
    assert tokens.get(KEAP, force_fetch=True) == "token 2"


def test_cache_is_the_clients_own(tokens: TokenProvider, evergrant: Evergrant, aws: FakeAws) -> None:
    tokens.get(KEAP)
    assert evergrant.token(KEAP) == "first"
    assert len(aws.reads) == 1
    tokens.clear_cache()
    tokens.get(KEAP)
    assert len(aws.reads) == 2


def test_failure_is_powertools_with_the_typed_one_as_its_cause(tokens: TokenProvider, aws: FakeAws) -> None:
    aws.secrets.clear()
    aws.getter = lambda _: refusal("authorization_required")
    with pytest.raises(GetParameterError, match="Do something") as caught:
        tokens.get(KEAP)
    assert isinstance(caught.value.__cause__, AuthorizationRequired)
    with pytest.raises(GetParameterError) as malformed:
        tokens.get("not a name", max_age=5)
    assert isinstance(malformed.value.__cause__, InvalidRequest)


@pytest.mark.parametrize("transform", ["json", "binary", "auto"])
def test_transform_is_refused_and_shows_no_token(tokens: TokenProvider, transform: str) -> None:
    with pytest.raises(TransformParameterError) as caught:
        tokens.get(KEAP, transform=transform)
    assert caught.value.__cause__ is caught.value.__context__ is None


def test_options_of_an_sdk_are_refused(tokens: TokenProvider, aws: FakeAws) -> None:
    with pytest.raises(GetParameterError, match="VersionId"):
        tokens.get(KEAP, VersionId="x")
    assert aws.reads == []


def test_connections_are_not_listed(tokens: TokenProvider) -> None:
    with pytest.raises(GetParameterError, match="by its name"):
        tokens.get_multiple("keap", max_age=5)


def test_min_ttl_is_the_providers(evergrant: Evergrant, aws: FakeAws, clock: Clock) -> None:
    tokens = TokenProvider(min_ttl=600, evergrant=evergrant)
    tokens.get(KEAP)
    publish_second(aws)
    clock.pass_seconds(3000)
    assert tokens.get(KEAP) == "second"
