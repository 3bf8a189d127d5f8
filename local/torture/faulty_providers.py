"""Providers that give wrong answers: which connection gets which, and when each was given."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import cycle

from local.torture.faults import Lie, lies
from local.torture.plan import Plan
from local.torture.proxy import Fault, Request
from local.torture.results import Row
from local.torture.token_chains import Chains


@dataclass
class Lying:
    """Providers that give wrong answers.

    Parameters
    ----------
    rows
        One for each kind.
    waiting
        By connection, those that are still to be given.
    """

    rows: list[Row]
    waiting: dict[str, list[Fault]]
    chains: Chains
    hasty: set[str] = field(default_factory=set)
    """Connections that were refreshed again before the time that their provider had asked for was over."""

    _not_before: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.total = self.left

    @property
    def left(self) -> int:
        return sum(map(len, self.waiting.values()))

    async def judge(self, request: Request) -> Fault | None:
        """For the proxies before the providers. Whose token it is is known once one was looked at."""
        name = self.chains.owner(request) if self.left else None
        if name is None or not self.waiting.get(name):
            return None
        if request.at < self._not_before.get(name, 0):
            self.hasty.add(name)
        self.row_of(name).injected += 1
        fault = self.waiting[name].pop(0)
        # Evergrant counts in whole seconds.
        self._not_before[name] = request.at + _retry_after(fault) - 1
        return fault

    def row_of(self, name: str) -> Row:
        """The row of a connection's fault."""
        return next(row for row in self.rows if name in row.names)

    def is_to_wait(self, name: str) -> bool:
        """Whether a provider says, or is about to say, how long a connection is to wait."""
        return any(map(_retry_after, self.waiting.get(name, ())))


def _retry_after(fault: Fault) -> int:
    return int(fault.reply.headers.get("retry-after", 0)) if fault.reply else 0


def chosen(plan: Plan, connections: Sequence[str], seed: str) -> list[tuple[Lie, tuple[str, ...]]]:
    """Which connections meet which of a provider's faults."""
    free: dict[str, list[str]] = defaultdict(list)
    for name in connections:
        free[name.partition("/")[0]].append(name)
    chance = random.Random(seed)
    for names in free.values():
        chance.shuffle(names)
    if plan.copies is None:
        turns = cycle(free.values())
        return [(lie, (next(turns).pop(),)) for lie in lies(plan.lease)]
    copies = dict(zip(("keap", "lenient"), plan.copies, strict=True))
    return [
        (lie, tuple(names.pop() for party, names in free.items() for _ in range(copies[party])))
        for lie in lies(plan.lease)
    ]
