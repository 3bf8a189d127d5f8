"""Calls the invariants where each could be broken, and remembers what did not hold."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evergrant.record.connection import Connection
from tests.simulation.invariants import EVERY, MINUTE, READ, REPORTED, SENT, WRITTEN
from tests.simulation.ledger import Sending

if TYPE_CHECKING:
    from tests.simulation.world import World


@dataclass(frozen=True)
class Violation:
    """An invariant that did not hold."""

    invariant: str
    connection: str
    at: float
    text: str


class Violated(AssertionError):
    """The run is over: an invariant did not hold."""


class Checks:
    """Calls the invariants, but those that a run does ``without``, and remembers what did not hold."""

    def __init__(self, without: Collection[str] = ()) -> None:
        assert set(without) <= EVERY, "an invariant that there is not"
        self.violations: list[Violation] = []
        #: Whether a run ends at the first violation.
        self.is_strict = True
        self._sent = [check for check in SENT if check.__name__ not in without]
        self._written = [check for check in WRITTEN if check.__name__ not in without]
        self._read = [check for check in READ if check.__name__ not in without]
        self._reported = [check for check in REPORTED if check.__name__ not in without]
        self._minute = [check for check in MINUTE if check.__name__ not in without]

    def sent(self, world: World, sending: Sending) -> None:
        for check in self._sent:
            self._judge(world, check.__name__, sending.connection, check(world, sending))

    def written(self, world: World, before: Connection, after: Connection) -> None:
        for check in self._written:
            self._judge(world, check.__name__, after.name, check(world, before, after))

    def read(self, world: World, name: str, answer: Mapping[str, Any]) -> None:
        for check in self._read:
            self._judge(world, check.__name__, name, check(world, name, answer))

    def reported(self, world: World, event: Mapping[str, Any]) -> None:
        for check in self._reported:
            self._judge(world, check.__name__, event["detail"]["connection"], check(world, event))

    def minute(self, world: World) -> None:
        checks = self._minute
        for record in list(world.records.items.values()):
            for check in checks:
                wrong = check(world, record)
                if wrong:
                    self.violate(world, check.__name__, record.name, wrong)

    def violate(self, world: World, invariant: str, connection: str, text: str) -> None:
        self.violations.append(Violation(invariant, connection, world.now, text))

    def _judge(self, world: World, invariant: str, connection: str, wrong: str | None) -> None:
        if wrong:
            self.violate(world, invariant, connection, wrong)

    def require(self) -> None:
        """Raise Violated if something did not hold."""
        if self.violations and self.is_strict:
            first = self.violations[0]
            raise Violated(f"{first.invariant}: {first.connection} at {first.at:.0f}: {first.text}")
