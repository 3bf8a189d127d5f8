"""The situations in which every fault is tried."""

from __future__ import annotations

from collections.abc import Callable

from evergrant import catalogue
from evergrant.connection import Status
from evergrant.secret import Secret
from tests.proof.exploring import Scenario
from tests.proof.simulation import NAME, Simulation
from tests.unit.test_rotation import with_grace

KEAP, WEALTHYHOOD, INVESTSUITE = (catalogue.built_in()[name] for name in ("keap", "wealthyhood", "investsuite"))


def plain() -> Simulation:
    return Simulation(KEAP)


SCENARIOS = [
    Scenario("no grace", plain),
    Scenario("a grace of 60 s", lambda: Simulation(with_grace(KEAP, 60))),
]
