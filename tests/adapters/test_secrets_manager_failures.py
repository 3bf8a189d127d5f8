"""Protects publication while Secrets Manager fails: a failure is reported without the value, and a lost response leaves
nothing twice."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from evergrant.adapters.aws import secrets_manager as vault_module
from evergrant.adapters.aws.sdk import client
from evergrant.adapters.aws.secrets_manager import SecretsVault
from evergrant.ports import PortUnavailable
from tests.adapters.hooks import failing, lost_answers
from tests.adapters.leaks import everything_in

KEAP = "keap/main"
SECRET = "evergrant/tokens/keap/main"
DOCUMENT = {"connection": KEAP, "generation": 1, "access_token": "token-1"}
NEXT = {**DOCUMENT, "generation": 2}
ONE, TWO = "1" * 64, "2" * 64


@pytest.fixture
def vault() -> SecretsVault:
    return SecretsVault("evergrant")


class Broken:
    """A client whose every call fails."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __getattr__(self, name: str) -> Any:
        def fail(**_: Any) -> None:
            raise self.error

        return fail


@pytest.fixture
def unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Broken(EndpointConnectionError(endpoint_url="https://secretsmanager.eu-west-1.amazonaws.com"))
    monkeypatch.setattr(vault_module, "client", lambda _: broken)


def test_a_service_that_cannot_be_reached_is_unavailable(unreachable: None, vault: SecretsVault) -> None:
    with pytest.raises(PortUnavailable) as caught:
        vault.publish(KEAP, DOCUMENT, ONE)
    assert "token-1" not in everything_in(caught.value)
    with pytest.raises(PortUnavailable):
        vault.withdraw(KEAP)
    with pytest.raises(PortUnavailable):
        vault.client("keap")


@pytest.mark.parametrize(
    "code", ["AccessDeniedException", "ThrottlingException", "EncryptionFailure", "InternalServiceError"]
)
def test_a_refusal_is_unavailable_by_its_code_and_without_the_value(aws: None, vault: SecretsVault, code: str) -> None:
    with failing("secretsmanager", "PutSecretValue", code), pytest.raises(PortUnavailable, match=code) as caught:
        vault.publish(KEAP, DOCUMENT, ONE)
    assert "token-1" not in everything_in(caught.value)
    with failing("secretsmanager", "CreateSecret", code), pytest.raises(PortUnavailable, match=code):
        vault.publish(KEAP, DOCUMENT, ONE)
    with failing("secretsmanager", "DeleteSecret", code), pytest.raises(PortUnavailable, match=code):
        vault.withdraw(KEAP)


def test_a_put_whose_answer_was_lost_adds_no_second_version(aws: None, vault: SecretsVault) -> None:
    vault.publish(KEAP, DOCUMENT, ONE)
    with lost_answers("secretsmanager", "PutSecretValue") as lost:
        vault.publish(KEAP, NEXT, TWO)
    assert lost
    assert client("secretsmanager").get_secret_value(SecretId=SECRET)["VersionId"] == TWO


def test_a_creation_whose_answer_was_lost_succeeds(aws: None, vault: SecretsVault) -> None:
    with lost_answers("secretsmanager", "CreateSecret") as lost:
        vault.publish(KEAP, DOCUMENT, ONE)
    assert lost
    assert json.loads(client("secretsmanager").get_secret_value(SecretId=SECRET)["SecretString"]) == DOCUMENT
