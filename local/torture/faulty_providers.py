"""Providers that give faulty responses: to which connection, of which kind, and when."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import cycle

from local.torture.faults import ResponseFault, list_response_faults
from local.torture.plan import Plan
from local.torture.proxy import Fault, Request
from local.torture.results import Row
from local.torture.token_chains import TokenChains


@dataclass
class FaultyProviders:
    """Decides which token requests get a faulty response.

    Parameters
    ----------
    rows
        One for each kind of fault.
    pending
        The faults still to inject, by connection.
    """

    rows: list[Row]
    pending: dict[str, list[Fault]]
    chains: TokenChains
    too_early: set[str] = field(default_factory=set)
    """Connections that were refreshed again before ``Retry-After`` had passed."""

    _not_before: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.total = self.left

    @property
    def left(self) -> int:
        return sum(map(len, self.pending.values()))

    async def choose_fault(self, request: Request) -> Fault | None:
        """Return the fault for a token request, if any: the provider's proxy calls this."""
        name = self.chains.find_owner(request) if self.left else None
        if name is None or not self.pending.get(name):
            return None
        if request.at < self._not_before.get(name, 0):
            self.too_early.add(name)
        self.find_row(name).injected += 1
        fault = self.pending[name].pop(0)
        # Less a second: Evergrant counts in whole seconds.
        self._not_before[name] = request.at + _get_retry_after(fault) - 1
        return fault

    def find_row(self, name: str) -> Row:
        """Return the row of a connection's fault."""
        return next(row for row in self.rows if name in row.names)

    def is_to_wait(self, name: str) -> bool:
        """Whether a response with ``Retry-After`` is pending for a connection."""
        return any(map(_get_retry_after, self.pending.get(name, ())))


def _get_retry_after(fault: Fault) -> int:
    return int(fault.reply.headers.get("retry-after", 0)) if fault.reply else 0


def assign_faults(plan: Plan, connections: Sequence[str], seed: str) -> list[tuple[ResponseFault, tuple[str, ...]]]:
    """Assign connections to each kind of faulty response, at random by the seed."""
    free: dict[str, list[str]] = defaultdict(list)
    for name in connections:
        free[name.partition("/")[0]].append(name)
    chance = random.Random(seed)
    for names in free.values():
        chance.shuffle(names)
    if plan.copies is None:
        turns = cycle(free.values())
        return [(lie, (next(turns).pop(),)) for lie in list_response_faults(plan.lease)]
    copies = dict(zip(("keap", "lenient"), plan.copies, strict=True))
    return [
        (lie, tuple(names.pop() for party, names in free.items() for _ in range(copies[party])))
        for lie in list_response_faults(plan.lease)
    ]
