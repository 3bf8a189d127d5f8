"""Protects consumers that may do only one of the two, read a secret or ask getter: they get their token by it, and the
other is not called for nothing."""

from __future__ import annotations

import pytest

from evergrant_client import AccessDenied, Evergrant, NotConfigured, TemporarilyUnavailable
from tests.unit.client_fakes import GETTER, START, Clock, FakeAws, build_answer, client_error, refusal

KEAP = "keap/main"
SECRET = "evergrant/tokens/keap/main"


@pytest.fixture
def aws() -> FakeAws:
    return FakeAws()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def serve_300_second_tokens(aws: FakeAws, clock: Clock) -> None:
    aws.getter = lambda _: build_answer(KEAP, f"token {len(aws.caller_waits)}", expires_at=clock.now + 300)


def test_consumer_of_one_secret_never_calls_getter(aws: FakeAws, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EVERGRANT_GETTER", raising=False)
    evergrant = Evergrant(session=aws, clock=clock)
    aws.publish(KEAP, "first", expires_at=START + 3600)
    assert evergrant.token(KEAP) == "first"
    clock.pass_seconds(3000)
    aws.publish(KEAP, "second", expires_at=START + 7200, generation=2)
    assert evergrant.token(KEAP, rejected="first") == "second"
    assert set(aws.configs) == {"secretsmanager"}


def test_consumer_of_getter_never_reads_a_secret(aws: FakeAws, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERGRANT_READ_SECRETS", "false")
    serve_300_second_tokens(aws, clock)
    evergrant = Evergrant(getter=GETTER, session=aws, clock=clock)
    assert evergrant.token(KEAP) == "token 1"
    assert evergrant.token(KEAP, rejected="token 1") == "token 2"
    clock.pass_seconds(280)
    assert evergrant.token(KEAP) == "token 3"
    assert set(aws.configs) == {"lambda"}


def test_argument_is_weightier_than_the_environment(
    aws: FakeAws, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVERGRANT_READ_SECRETS", "false")
    aws.publish(KEAP, "t", expires_at=START + 3600)
    assert Evergrant(getter=GETTER, read_secrets=True, session=aws, clock=clock).token(KEAP) == "t"


@pytest.mark.parametrize("said", ["no", "FALSE", "0"])
def test_setting_that_is_neither_true_nor_false_is_refused(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setenv("EVERGRANT_READ_SECRETS", said)
    with pytest.raises(NotConfigured, match="EVERGRANT_READ_SECRETS"):
        Evergrant(getter=GETTER)


def test_client_that_may_do_neither_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EVERGRANT_GETTER", raising=False)
    with pytest.raises(NotConfigured, match="neither"):
        Evergrant(read_secrets=False)


@pytest.mark.parametrize("why_not", ["ResourceNotFoundException", "AccessDeniedException"])
def test_missing_secret_is_looked_for_hourly_while_getter_answers(aws: FakeAws, clock: Clock, why_not: str) -> None:
    """A secret that cannot be read is looked for once an hour, while getter answers."""
    aws.secrets[SECRET] = client_error(why_not)
    serve_300_second_tokens(aws, clock)
    evergrant = Evergrant(getter=GETTER, session=aws, clock=clock)
    for _ in range(12):
        evergrant.token(KEAP)
        clock.pass_seconds(299)
    assert (len(aws.reads), len(aws.caller_waits)) == (1, 12)
    clock.pass_seconds(20)
    evergrant.token(KEAP)
    assert len(aws.reads) == 2


def test_secret_is_looked_for_again_at_once_when_getter_fails(aws: FakeAws, clock: Clock) -> None:
    serve_300_second_tokens(aws, clock)
    evergrant = Evergrant(getter=GETTER, session=aws, clock=clock)
    evergrant.token(KEAP)
    clock.pass_seconds(299)
    aws.publish(KEAP, "from the secret", expires_at=clock.now + 3600)
    aws.getter = lambda _: refusal("temporarily_unavailable")
    with pytest.raises(TemporarilyUnavailable):
        evergrant.token(KEAP)
    assert evergrant.token(KEAP) == "from the secret"


def test_denied_getter_is_asked_each_half_minute_while_the_token_lives(aws: FakeAws, clock: Clock) -> None:
    """A getter that denies access is asked once in half a minute, and the living token is served."""
    aws.publish(KEAP, "in its last minute", expires_at=START + 60)
    aws.getter = lambda _: client_error("AccessDeniedException", 403)
    evergrant = Evergrant(getter=GETTER, session=aws, clock=clock)
    for _ in range(54):
        assert evergrant.token(KEAP) == "in its last minute"
        clock.pass_seconds(1)
    assert len(aws.caller_waits) == 2
    clock.pass_seconds(2)
    with pytest.raises(AccessDenied, match="ConsumerPolicyArn"):
        evergrant.token(KEAP)
