"""Protects the settings: what the template sets is what applies, and the local run's switch is off unless it is on."""

from __future__ import annotations

import pytest

from evergrant.settings import Budgets, Settings


def test_without_an_environment_the_defaults_hold() -> None:
    assert Settings.from_environment({}) == Settings()
    assert Settings() == Settings(
        prefix="evergrant",
        direct_read_min_lifetime=1800,
        consumer_cache=300,
        allow_loopback=False,
        budgets=Budgets(lease=40, request=8.0, attempt=20.0, save=5.0),
        support_contact="",
    )


def test_every_variable_of_the_template_is_read() -> None:
    environ = {
        "EVERGRANT_PREFIX": "acme",
        "EVERGRANT_DIRECT_READ_MIN_LIFETIME": "60",
        "EVERGRANT_CONSUMER_CACHE_SECONDS": "10",
        "EVERGRANT_ALLOW_LOOPBACK": "true",
        "EVERGRANT_LEASE_SECONDS": "50",
        "EVERGRANT_ROTATOR_CONCURRENCY": "20",
        "EVERGRANT_SUPPORT_CONTACT": "Jo in IT",
    }
    assert Settings.from_environment(environ) == Settings("acme", 60, 10, 20, True, Budgets(lease=50), "Jo in IT")


@pytest.mark.parametrize("value", ["", "false", "False", "True", "1", "yes", "true "])
def test_loopback_is_spoken_to_only_if_the_switch_says_so_exactly(value: str) -> None:
    assert not Settings.from_environment({"EVERGRANT_ALLOW_LOOPBACK": value}).allow_loopback


def test_a_number_that_is_none_stops_the_function_at_its_start() -> None:
    with pytest.raises(ValueError, match="soon"):
        Settings.from_environment({"EVERGRANT_LEASE_SECONDS": "soon"})


def test_a_lease_outlives_its_attempt_and_save() -> None:
    budgets = Settings().budgets
    assert budgets.request < budgets.attempt
    assert budgets.attempt + budgets.save < budgets.lease
