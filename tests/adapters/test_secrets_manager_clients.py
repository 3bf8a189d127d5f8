"""Protects the clients' entries: what an operator wrote is understood or refused by the field's name, and no value of
it, least of all a secret, gets into an error."""

from __future__ import annotations

import json
import traceback
from dataclasses import replace
from typing import Any

import pytest

from evergrant.adapters.aws import secrets_manager as vault_module
from evergrant.adapters.aws.client_entry import parse_client
from evergrant.adapters.aws.sdk import client
from evergrant.adapters.aws.secrets_manager import SecretsVault
from evergrant.errors import InvalidClient, UnknownClient
from evergrant.oauth.client import Client
from evergrant.oauth.redirect_uris import OWN_PATH, SHARED_PATH
from evergrant.ports import PortUnavailable
from evergrant.secret import Secret
from tests.adapters.hooks import failing
from tests.adapters.leaks import everything_in
from tests.adapters.strict_secrets_manager import StrictSecretsManager

CANARY = "canary-7f1b"
ENTRY = {"client_id": "app-1", "client_secrets": [CANARY, "older"], "hosts": ["Accounts.example.com", "127.0.0.1:8443"]}
EXPECTED = Client("keap", "app-1", (Secret(CANARY), Secret("older")), ("accounts.example.com", "127.0.0.1:8443"))


def test_an_entry_is_read_newest_secret_first_and_hosts_in_lower_case() -> None:
    """A client entry is read with the newest secret first and its hosts in lower case."""
    assert parse_client("keap", json.dumps(ENTRY)) == EXPECTED


def test_a_public_client_has_no_secrets() -> None:
    assert parse_client("app", '{"client_id": "a", "hosts": ["h"]}').secrets == ()


def test_a_log_in_needs_no_client_id() -> None:
    held = parse_client("suite", json.dumps({"credentials": {"username": "ann", "password": CANARY}, "hosts": ["h"]}))
    assert (held.client_id, held.secrets) == (None, ())
    assert held.credentials == {"username": Secret("ann"), "password": Secret(CANARY)}
    assert CANARY not in repr(held)
    assert Secret(CANARY).fingerprint not in repr(held), "a short password is found by its hash"


def test_a_client_may_hold_a_private_key_instead_of_a_secret() -> None:
    entry = {"client_id": "a", "private_key": CANARY, "key_id": "k1", "hosts": ["h"]}
    held = parse_client("app", json.dumps(entry))
    assert (held.private_key, held.key_id, held.secrets) == (Secret(CANARY), "k1", ())
    assert CANARY not in repr(held)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"credentials": CANARY}, "credentials"),
        ({"credentials": {"password": 5}}, "credentials"),
        ({"credentials": {"password": ""}}, "credentials"),
        ({"private_key": [CANARY]}, "private_key"),
        ({"key_id": ""}, "key_id"),
        ({"client_id": None}, "client_id"),
        ({"client_id": ""}, "client_id"),
        ({"client_id": [CANARY]}, "client_id"),
        ({"client_secrets": CANARY}, "client_secrets"),
        ({"client_secrets": [CANARY, 5]}, "client_secrets"),
        ({"client_secrets": [""]}, "client_secrets"),
        ({"client_secrets": {"a": CANARY}}, "client_secrets"),
        ({"client_secrets": None}, "client_secrets"),
        ({"client_secrets": [f"{CANARY}\n"]}, "client_secrets[0] of client keap holds a line break"),
        ({"client_id": f"{CANARY}\r"}, "client_id of client keap holds a line break"),
        ({"credentials": {"password": f"{CANARY}\n"}}, "credentials.password"),
        ({"hosts": None}, "hosts"),
        ({"hosts": []}, "hosts"),
        ({"hosts": CANARY}, "hosts"),
        ({"hosts": [CANARY, 1]}, "hosts"),
        ({"client_secret": CANARY}, "client_secret"),
    ],
)
def test_an_error_names_the_client_and_the_field_and_no_value(change: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidClient) as caught:
        parse_client("keap", json.dumps({**ENTRY, **change}))
    assert "keap" in caught.value.message
    assert named in caught.value.message
    assert CANARY not in everything_in(caught.value)


@pytest.mark.parametrize(
    "text", [f'{{"client_secrets": ["{CANARY}"', CANARY, "", "[" * 2000, f'"{CANARY}"', "[]", "5", "null"]
)
def test_what_is_no_json_object_is_refused_without_being_repeated(text: str) -> None:
    # The cause of a JSON error would carry the whole text along, as its ``doc``.
    with pytest.raises(InvalidClient) as caught:
        parse_client("keap", text)
    assert CANARY not in everything_in(caught.value)
    assert CANARY not in "".join(traceback.format_exception(caught.value))


# --- reading and storing ------------------------------------------------------------------------------------------


@pytest.fixture
def vault() -> SecretsVault:
    return SecretsVault("evergrant")


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> StrictSecretsManager:
    manager = StrictSecretsManager()
    monkeypatch.setattr(vault_module, "client", lambda _: manager)
    return manager


@pytest.fixture(params=["moto", "strict"])
def secrets(request: pytest.FixtureRequest) -> Any:
    if request.param == "moto":
        request.getfixturevalue("aws")
        return client("secretsmanager")
    return request.getfixturevalue("strict")


def test_an_entry_comes_back_as_it_was_stored(secrets: Any, vault: SecretsVault) -> None:
    vault.store_client("keap", ENTRY)
    assert vault.client("keap") == replace(EXPECTED, redirect_path=OWN_PATH)


def test_storing_again_replaces_the_entry(secrets: Any, vault: SecretsVault) -> None:
    vault.store_client("keap", ENTRY)
    vault.store_client("keap", {**ENTRY, "client_secrets": ["newer", CANARY]})
    assert vault.client("keap").secrets[0] == Secret("newer")


def test_an_entry_that_could_not_be_read_is_not_stored(secrets: Any, vault: SecretsVault) -> None:
    with pytest.raises(InvalidClient):
        vault.store_client("keap", {**ENTRY, "hosts": []})
    with pytest.raises(UnknownClient):
        vault.client("keap")


def test_prefixes_keep_deployments_apart(secrets: Any, vault: SecretsVault) -> None:
    vault.store_client("keap", ENTRY)
    with pytest.raises(UnknownClient):
        SecretsVault("staging").client("keap")


def test_an_entry_that_is_not_there_is_an_unknown_client(secrets: Any, vault: SecretsVault) -> None:
    with pytest.raises(UnknownClient) as caught:
        vault.client("keap")
    assert "evergrant client set keap" in caught.value.hint


def test_a_deleted_entry_is_an_unknown_client_and_can_be_set_again(
    strict: StrictSecretsManager, vault: SecretsVault
) -> None:
    # The hint for an unknown client is to set it: that must work.
    vault.store_client("keap", ENTRY)
    strict.delete_secret(SecretId="evergrant/clients/keap")
    with pytest.raises(UnknownClient):
        vault.client("keap")
    vault.store_client("keap", ENTRY)
    assert vault.client("keap") == replace(EXPECTED, redirect_path=OWN_PATH)


@pytest.mark.parametrize("text", ["not json", "[]"])
def test_a_secret_that_is_no_entry_is_replaced_by_a_new_one(
    strict: StrictSecretsManager, vault: SecretsVault, text: str
) -> None:
    strict.create_secret(Name="evergrant/clients/keap", SecretString=text)
    assert vault.store_client("keap", ENTRY).redirect_path == OWN_PATH


def test_a_deleted_client_is_stored_as_a_new_one(strict: StrictSecretsManager, vault: SecretsVault) -> None:
    vault.store_client("keap", ENTRY, SHARED_PATH)
    assert vault.store_client("keap", ENTRY).redirect_path == SHARED_PATH
    strict.delete_secret(SecretId="evergrant/clients/keap")
    assert vault.store_client("keap", ENTRY).redirect_path == OWN_PATH


KEY, OTHER_KEY = (f"arn:aws:kms:eu-west-1:123456789012:key/{letter * 8}" for letter in "ab")


@pytest.mark.parametrize("named", [OTHER_KEY, OTHER_KEY.rpartition("/")[2]])
def test_an_entry_under_the_key_of_another_stack_is_not_replaced(aws: None, named: str) -> None:
    """A Put keeps the secret's key. Rotator could not read what the command says is stored."""
    secrets, vault = client("secretsmanager"), SecretsVault("evergrant", KEY)
    secrets.create_secret(Name="evergrant/clients/keap", SecretString="{}", KmsKeyId=named)
    with pytest.raises(InvalidClient, match=named) as caught:
        vault.store_client("keap", ENTRY)
    assert f"update-secret --secret-id evergrant/clients/keap --kms-key-id {KEY}" in caught.value.hint
    assert secrets.get_secret_value(SecretId="evergrant/clients/keap")["SecretString"] == "{}"

    secrets.update_secret(SecretId="evergrant/clients/keap", KmsKeyId=KEY)
    vault.store_client("keap", ENTRY)
    assert vault.client("keap").client_id == "app-1"


@pytest.mark.parametrize("named", [None, "alias/evergrant-vault", KEY.rpartition("/")[2]])
def test_an_entry_under_a_key_that_may_be_used_is_replaced(aws: None, named: str | None) -> None:
    """The account's default key is open to each role. An alias may be that of the stack's key."""
    key = {"KmsKeyId": named} if named else {}
    client("secretsmanager").create_secret(Name="evergrant/clients/keap", SecretString="{}", **key)
    vault = SecretsVault("evergrant", KEY)
    vault.store_client("keap", ENTRY)
    assert vault.client("keap").client_id == "app-1"


def test_an_operator_who_may_not_look_at_the_key_stores_all_the_same(aws: None) -> None:
    vault = SecretsVault("evergrant", KEY)
    with failing("secretsmanager", "DescribeSecret"):
        vault.store_client("keap", ENTRY)
    assert vault.client("keap").client_id == "app-1"


def test_an_entry_stored_as_binary_is_refused_by_name(aws: None, vault: SecretsVault) -> None:
    client("secretsmanager").create_secret(Name="evergrant/clients/keap", SecretBinary=b"{}")
    with pytest.raises(InvalidClient, match="keap"):
        vault.client("keap")


@pytest.mark.parametrize("code", ["AccessDeniedException", "DecryptionFailure", "ThrottlingException"])
def test_an_unreadable_vault_is_unavailable_and_no_unknown_client(aws: None, vault: SecretsVault, code: str) -> None:
    """A vault that may not or cannot be read is reported as unavailable, not as an unknown client."""
    with failing("secretsmanager", "GetSecretValue", code), pytest.raises(PortUnavailable, match=code):
        vault.client("keap")
