"""Protects the wiring: each function gets the ports that its environment names, and callback none that could unseal or
publish by mistake."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from evergrant.wiring import deployment

ENVIRONMENT = {
    "EVERGRANT_PREFIX": "team-a",
    "EVERGRANT_RECORDS_TABLE": "the-records",
    "EVERGRANT_AUTHORIZATIONS_TABLE": "the-authorizations",
    "EVERGRANT_QUEUE_URL": "https://sqs.example/q",
    "EVERGRANT_SEAL_KEY_ARN": "arn:seal",
    "EVERGRANT_VAULT_KEY_ARN": "arn:vault",
    "EVERGRANT_EVENT_BUS": "the-bus",
    "EVERGRANT_LEASE_SECONDS": "55",
    "EVERGRANT_DIRECT_READ_MIN_LIFETIME": "2400",
    "EVERGRANT_CONSUMER_CACHE_SECONDS": "120",
    "EVERGRANT_ROTATOR_CONCURRENCY": "20",
}
#: What the template gives callback: no bus, no vault key.
CALLBACKS = ENVIRONMENT.keys() - {"EVERGRANT_EVENT_BUS", "EVERGRANT_VAULT_KEY_ARN"}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    made = (deployment.load_settings, deployment.build_rotation_ports, deployment.build_connect_ports)
    monkeypatch.delenv("EVERGRANT_ALLOW_LOOPBACK", raising=False)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    for cached in made:
        cached.cache_clear()
    yield monkeypatch
    for cached in made:
        cached.cache_clear()


def test_rotator_gets_what_its_environment_names() -> None:
    ports = deployment.build_rotation_ports()
    assert ports.records.table == "the-records"  # type: ignore[attr-defined]
    assert ports.profiles.table == "the-records"  # type: ignore[attr-defined]
    assert ports.seal.key_arn == "arn:seal"  # type: ignore[attr-defined]
    assert (ports.vault.prefix, ports.vault.key_arn) == ("team-a", "arn:vault")  # type: ignore[attr-defined]
    assert ports.queue.url == "https://sqs.example/q"  # type: ignore[attr-defined]
    assert ports.bus.name == "the-bus"  # type: ignore[attr-defined]


def test_callback_needs_only_what_its_own_environment_has(environment: pytest.MonkeyPatch) -> None:
    for name in ENVIRONMENT.keys() - CALLBACKS:
        environment.delenv(name)
    ports = deployment.build_connect_ports()
    assert ports.authorizations.table == "the-authorizations"  # type: ignore[attr-defined]
    assert ports.records.table == "the-records"  # type: ignore[attr-defined]
    assert ports.seal.key_arn == "arn:seal"  # type: ignore[attr-defined]
    assert ports.vault.prefix == "team-a"  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", sorted(ENVIRONMENT.keys() - {"EVERGRANT_PREFIX"}))
def test_a_missing_name_stops_the_function_at_its_start(environment: pytest.MonkeyPatch, name: str) -> None:
    environment.delenv(name)
    if name == "EVERGRANT_AUTHORIZATIONS_TABLE":
        with pytest.raises(KeyError, match=name):
            deployment.build_connect_ports()
    elif name.endswith(("SECONDS", "LIFETIME", "CONCURRENCY")):
        deployment.build_rotation_ports()  # has a default
    else:
        with pytest.raises(KeyError, match=name):
            deployment.build_rotation_ports()


def test_settings_are_the_environments() -> None:
    settings = deployment.load_settings()
    assert (settings.prefix, settings.budgets.lease) == ("team-a", 55)
    assert (settings.direct_read_min_lifetime, settings.consumer_cache) == (2400, 120)


@pytest.mark.parametrize(("value", "allowed"), [("true", True), ("false", False), ("1", False), ("", False)])
def test_loopback_is_spoken_to_only_if_the_local_run_says_so(
    environment: pytest.MonkeyPatch, value: str, allowed: bool
) -> None:
    environment.setenv("EVERGRANT_ALLOW_LOOPBACK", value)
    assert deployment.load_settings().allow_loopback is allowed
    assert deployment.build_rotation_ports().provider._allow_loopback is allowed  # type: ignore[attr-defined]
    assert deployment.build_connect_ports().provider._allow_loopback is allowed  # type: ignore[attr-defined]


def test_loopback_is_refused_where_nothing_is_said() -> None:
    assert deployment.load_settings().allow_loopback is False


def test_ports_are_made_once_a_process() -> None:
    assert deployment.build_rotation_ports() is deployment.build_rotation_ports()
    assert deployment.build_connect_ports() is deployment.build_connect_ports()
