"""Protects publication: what consumers read is what was published last, a repetition adds no version, and no state of
the secret or quota of Secrets Manager is a dead end.

The same tests run on moto and on a fake that is as strict as AWS's documentation.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from evergrant.adapters.aws import secrets_manager as vault_module
from evergrant.adapters.aws.sdk import client
from evergrant.adapters.aws.secrets_manager import SecretsVault
from evergrant.adapters.rate_limiter import RateLimiter
from evergrant.ports import PortUnavailable
from tests.adapters.strict_secrets_manager import DAY, StrictSecretsManager

KEAP = "keap/main"
SECRET = "evergrant/tokens/keap/main"
KEY = "arn:aws:kms:eu-west-1:123456789012:key/vault"


def document(generation: int, **more: Any) -> dict[str, Any]:
    return {"connection": KEAP, "generation": generation, "access_token": f"token-{generation}", **more}


def request_token(generation: int) -> str:
    return f"{generation:016x}{generation:048x}"


class Now:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.time = 1_800_000_000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture
def strict(now: Now, monkeypatch: pytest.MonkeyPatch) -> StrictSecretsManager:
    manager = StrictSecretsManager(now)
    monkeypatch.setattr(vault_module, "client", lambda _: manager)
    return manager


@pytest.fixture(params=["moto", "strict"])
def secrets(request: pytest.FixtureRequest) -> Any:
    if request.param == "moto":
        request.getfixturevalue("aws")
        return client("secretsmanager")
    return request.getfixturevalue("strict")


@pytest.fixture
def vault() -> SecretsVault:
    return SecretsVault("evergrant", KEY)


def read(secrets: Any, secret: str = SECRET) -> Any:
    return json.loads(secrets.get_secret_value(SecretId=secret)["SecretString"])


# --- on both ------------------------------------------------------------------------------------------------------


def test_the_first_publication_creates_the_secret(secrets: Any, vault: SecretsVault) -> None:
    vault.publish(KEAP, document(1), request_token(1))
    assert read(secrets) == document(1)


def test_a_later_publication_replaces_the_value(secrets: Any, vault: SecretsVault) -> None:
    for generation in (1, 2, 3):
        vault.publish(KEAP, document(generation), request_token(generation))
    assert read(secrets) == document(3)


def test_a_repeated_publication_adds_no_version(secrets: Any, vault: SecretsVault) -> None:
    vault.publish(KEAP, document(1), request_token(1))
    version = secrets.get_secret_value(SecretId=SECRET)["VersionId"]
    vault.publish(KEAP, document(1), request_token(1))
    assert secrets.get_secret_value(SecretId=SECRET)["VersionId"] == version == request_token(1)


def test_an_older_version_that_comes_in_late_is_noticed_and_put_right(
    strict: StrictSecretsManager, vault: SecretsVault
) -> None:
    vault.publish(KEAP, document(1), request_token(1))
    vault.publish(KEAP, document(3), request_token(3))
    assert vault.find_current(KEAP) == request_token(3)
    # The Put of a worker that stalled for long: AWS makes every new version current.
    strict.put_secret_value(SecretId=SECRET, SecretString=json.dumps(document(2)), ClientRequestToken=request_token(2))
    assert read(strict) == document(2)
    assert vault.find_current(KEAP) == request_token(2)
    vault.publish(KEAP, document(3), request_token(3), anew=True)
    assert read(strict) == document(3)


def test_a_value_stored_by_hand_is_replaced(strict: StrictSecretsManager, vault: SecretsVault) -> None:
    vault.publish(KEAP, document(3), request_token(3))
    strict.put_secret_value(
        SecretId=SECRET, SecretString="{}", ClientRequestToken="f47ac10b-58cc-4372-a567-0e02b2c3d479"
    )
    vault.publish(KEAP, document(3), request_token(3), anew=True)
    assert read(strict) == document(3)


def test_a_repetition_that_aws_says_is_not_current_is_put_right_unasked(
    strict: StrictSecretsManager, vault: SecretsVault
) -> None:
    for generation in (3, 2):
        vault.publish(KEAP, document(generation), request_token(generation))
    vault.publish(KEAP, document(3), request_token(3))
    assert read(strict) == document(3)


def test_a_repeated_older_publication_takes_nothing_from_a_newer_one(secrets: Any, vault: SecretsVault) -> None:
    for generation in (1, 2, 1):
        vault.publish(KEAP, document(generation), request_token(generation))
    assert read(secrets) == document(2)


def test_what_was_never_published_or_is_withdrawn_is_nothing(secrets: Any, vault: SecretsVault) -> None:
    assert vault.find_current(KEAP) is None
    vault.publish(KEAP, document(1), request_token(1))
    vault.withdraw(KEAP)
    assert vault.find_current(KEAP) is None


def test_the_order_of_a_documents_keys_makes_no_difference(secrets: Any, vault: SecretsVault) -> None:
    vault.publish(KEAP, document(1, scope="full"), request_token(1))
    vault.publish(KEAP, dict(reversed(document(1, scope="full").items())), request_token(1))
    assert read(secrets)["scope"] == "full"


def test_another_value_under_the_same_request_token_is_refused(secrets: Any, vault: SecretsVault) -> None:
    """Another value under the same request token is refused and changes nothing."""
    vault.publish(KEAP, document(1), request_token(1))
    with pytest.raises(PortUnavailable, match="ResourceExistsException"):
        vault.publish(KEAP, document(2), request_token(1))
    assert read(secrets) == document(1)


def test_accounts_with_every_allowed_character_can_be_published(secrets: Any, vault: SecretsVault) -> None:
    name = "keap/Ops.team_1@example-a"
    vault.publish(name, document(1), request_token(1))
    assert read(secrets, f"evergrant/tokens/{name}") == document(1)


def test_connections_do_not_touch_each_other(secrets: Any, vault: SecretsVault) -> None:
    vault.publish(KEAP, document(1), request_token(1))
    vault.publish("keap/other", document(9), request_token(9))
    assert read(secrets) == document(1)


def test_a_withdrawn_secret_can_no_longer_be_read(secrets: Any, vault: SecretsVault) -> None:
    vault.publish(KEAP, document(1), request_token(1))
    vault.withdraw(KEAP)
    with pytest.raises(Exception, match="InvalidRequestException"):
        read(secrets)


def test_withdrawing_twice_or_what_was_never_published_harms_nothing(secrets: Any, vault: SecretsVault) -> None:
    assert vault.withdraw("keap/absent") is False
    vault.publish(KEAP, document(1), request_token(1))
    assert vault.withdraw(KEAP) is True
    assert vault.withdraw(KEAP) is True


# --- where only the strict one behaves as AWS ---------------------------------------------------------------------


def test_a_secret_scheduled_for_deletion_is_restored(strict: StrictSecretsManager, vault: SecretsVault) -> None:
    vault.publish(KEAP, document(1), request_token(1))
    vault.withdraw(KEAP)
    vault.publish(KEAP, document(2), request_token(2))
    assert read(strict) == document(2)


def test_a_secret_is_not_restored_for_a_publication_that_came_too_late(
    strict: StrictSecretsManager, vault: SecretsVault
) -> None:
    vault.publish(KEAP, document(1), request_token(1), may_restore=lambda: False)
    vault.withdraw(KEAP)
    with pytest.raises(PortUnavailable, match="marked for deletion"):
        vault.publish(KEAP, document(2), request_token(2), may_restore=lambda: False)
    assert strict.secrets[SECRET].deleted


def test_a_secret_is_created_with_the_vault_key_and_says_whose_it_is(
    strict: StrictSecretsManager, vault: SecretsVault
) -> None:
    vault.publish(KEAP, document(1), request_token(1))
    assert strict.secrets[SECRET].key == KEY
    assert strict.secrets[SECRET].tags == {"evergrant:connection": KEAP}


def test_an_ordinary_publication_is_a_single_call(strict: StrictSecretsManager, vault: SecretsVault) -> None:
    vault.publish(KEAP, document(1), request_token(1))
    strict.calls.clear()
    vault.publish(KEAP, document(2), request_token(2))
    assert strict.calls == ["PutSecretValue"]


def test_the_previous_value_stays_reachable(strict: StrictSecretsManager, vault: SecretsVault) -> None:
    for generation in (1, 2, 3):
        vault.publish(KEAP, document(generation), request_token(generation))
    assert strict.secrets[SECRET].version("AWSPREVIOUS") == request_token(2)
    vault.publish(KEAP, document(3), request_token(3))
    assert strict.secrets[SECRET].version("AWSPREVIOUS") == request_token(2)


def test_two_workers_that_create_the_secret_at_once_do_not_break_it(
    strict: StrictSecretsManager, vault: SecretsVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = strict.put_secret_value

    def slow(**parameters: Any) -> Any:
        try:
            return put(**parameters)
        finally:
            # The other worker creates it between our Put, which found nothing, and our Create.
            monkeypatch.setattr(strict, "put_secret_value", put)
            if SECRET not in strict.secrets:
                vault.publish(KEAP, document(1), request_token(1))

    monkeypatch.setattr(strict, "put_secret_value", slow)
    vault.publish(KEAP, document(1), request_token(1))
    assert read(strict) == document(1)
    assert list(strict.secrets[SECRET].versions) == [request_token(1)]


@pytest.mark.parametrize("length", [0, 31, 65])
def test_a_request_token_of_a_length_that_aws_refuses_is_no_success(
    strict: StrictSecretsManager, vault: SecretsVault, length: int
) -> None:
    vault.publish(KEAP, document(1), request_token(1))
    if length:
        with pytest.raises(PortUnavailable):
            vault.publish(KEAP, document(2), "f" * length)
        assert read(strict) == document(1)


def test_a_value_that_is_too_large_is_no_success(strict: StrictSecretsManager, vault: SecretsVault) -> None:
    vault.publish(KEAP, document(1), request_token(1))
    with pytest.raises(PortUnavailable):
        vault.publish(KEAP, document(2, captured={"x": "y" * 65_536}), request_token(2))
    assert read(strict) == document(1)


def test_one_write_in_ten_minutes_can_go_on_for_ever(
    strict: StrictSecretsManager, vault: SecretsVault, now: Now
) -> None:
    for generation in range(1, 500):
        vault.publish(KEAP, document(generation), request_token(generation))
        now.time += 601
    assert read(strict) == document(499)


def test_past_the_version_quota_publication_fails_and_recovers_next_day(
    strict: StrictSecretsManager, vault: SecretsVault, now: Now
) -> None:
    """Past the quota of versions a publication fails loudly, and a day later it works again."""
    for generation in range(1, 145):
        vault.publish(KEAP, document(generation), request_token(generation))
        now.time += 120
    with pytest.raises(PortUnavailable, match="LimitExceededException"):
        vault.publish(KEAP, document(145), request_token(145))
    # What is there already is repeated without harm: nothing is written.
    vault.publish(KEAP, document(144), request_token(144))
    assert read(strict) == document(144)
    now.time += DAY
    vault.publish(KEAP, document(145), request_token(145))
    assert read(strict) == document(145)


def test_a_repeated_publication_uses_up_no_quota(strict: StrictSecretsManager, vault: SecretsVault, now: Now) -> None:
    for _ in range(500):
        vault.publish(KEAP, document(1), request_token(1))
        now.time += 1
    assert len(strict.secrets[SECRET].versions) == 1


def test_throttled_publication_is_unavailable_and_works_a_second_later(
    strict: StrictSecretsManager, vault: SecretsVault, now: Now
) -> None:
    vault.publish(KEAP, document(0), request_token(0))
    now.time += 2
    for generation in range(1, 51):
        vault.publish(KEAP, document(generation), request_token(generation))
    with pytest.raises(PortUnavailable, match="ThrottlingException"):
        vault.publish(KEAP, document(51), request_token(51))
    assert read(strict) == document(50)
    now.time += 2
    vault.publish(KEAP, document(51), request_token(51))
    assert read(strict) == document(51)


def test_a_restore_throttled_half_way_is_finished_by_the_next_try(
    strict: StrictSecretsManager, vault: SecretsVault, now: Now
) -> None:
    """A restoration of a secret that is throttled half-way is finished by the next try."""
    vault.publish(KEAP, document(1), request_token(1))
    vault.withdraw(KEAP)
    now.time += 2
    for _ in range(48):
        vault.withdraw("keap/absent")
    with pytest.raises(PortUnavailable, match="ThrottlingException"):
        vault.publish(KEAP, document(2), request_token(2))
    now.time += 2
    vault.publish(KEAP, document(2), request_token(2))
    assert read(strict) == document(2)


def test_a_publication_whose_turn_would_come_too_late_is_tried_again_later(
    strict: StrictSecretsManager, now: Now
) -> None:
    class Clock:
        def now(self) -> float:
            return now.time

        def sleep(self, seconds: float) -> None:
            now.time += seconds

    paced = SecretsVault("evergrant", KEY, RateLimiter(0.04, Clock(), max_wait=10))
    paced.publish(KEAP, document(1), request_token(1))
    with pytest.raises(PortUnavailable):
        paced.publish(KEAP, document(2), request_token(2))
    assert read(strict) == document(1)
