"""Every way in which one call to a port can go wrong, and the plan of which call of a pass does."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from evergrant.errors import Conflict, LostResponse, NotSent
from tests.unit import memory
from tests.unit.memory import Crash, FakeClock

#: How long a worker stalls: longer than the lease of 40 seconds, shorter than its invocation.
STALL = 45.0
#: A call that is on its way takes effect within so many seconds, or never.
LATEST = 300.0

_SERVICE = ("fails before", "killed before", "stalls before")
_EFFECTS = ("fails after", "killed after", "twice", "stalls after", "late", "killed, late")
_READS = (
    *("records.get", "seal.prepare", "seal.unseal", "vault.client", "vault.find_current", "profiles.load_pinned"),
    *("circuits.get_many", "records.due"),
)


def kinds(call: str) -> tuple[str, ...]:
    """The faults of one call.

    A *stall* lets the lease run out and another worker do all it can, before or after the call's effect. *Late* is a
    call that looks failed and has its effect any time later; *killed, late* the same with the worker gone. *Twice* is
    the SDK's repetition. What only reads has no effect to be lost or to be late; a provider's request is never
    repeated below us, may not have reached it ("fails before": NotSent), and its answer may be lost ("fails after",
    "lost before" where the provider has not even acted).
    """
    if call in _READS:
        return _SERVICE
    if call == "provider.send":
        provider = tuple(kind for kind in _EFFECTS if kind != "twice")
        return (*_SERVICE, "lost before", *provider)
    return (*_SERVICE, *_EFFECTS)


class Pending:
    """A call on its way, that takes effect later or never."""

    def __init__(self, name: str, effect: Callable[[], Any], since: float) -> None:
        self.name = name
        self.effect = effect
        self.since = since

    def __repr__(self) -> str:
        assert isinstance(self.effect, partial)
        return f"{self.name} {self.since} {[memory.describe(item) for item in self.effect.args]}"


class Faults(memory.Faults):
    """Counts the calls of one pass and lets the planned ones go wrong."""

    def __init__(self, clock: FakeClock, meanwhile: Callable[[], object]) -> None:
        super().__init__()
        self.clock = clock
        self.meanwhile = meanwhile
        self.plan: dict[int, str] = {}
        self.pending: list[Pending] = []
        #: For each call of the pass, whether something was on its way when it was made.
        self.could_land: list[bool] = []
        #: When the invocation that runs is ended by Lambda, and the answers that it got.
        self.killed_at = float("inf")
        self.in_hand: set[str] = set()

    def begin(self, plan: dict[int, str]) -> None:
        self.plan, self.calls, self.could_land = plan, [], []
        self.killed_at = float("inf")

    def around(self, name: str, effect: Callable[[], Any], failure: Callable[[], Exception]) -> Any:
        if self.clock.now() > self.killed_at:
            raise Crash("the invocation's time is over")
        self.calls.append(name)
        self.could_land.append(bool(self.pending))
        kind = self.plan.get(len(self.calls))
        lost = (lambda: LostResponse("made to fail")) if name == "provider.send" else failure
        if kind is None or kind == "lands":
            if kind:
                self.land()
            return effect()
        if kind == "fails before":
            raise failure()
        if kind == "killed before":
            raise Crash(name)
        if kind == "lost before":
            raise lost()
        if kind in ("late", "killed, late"):
            self.pending.append(Pending(name, effect, self.clock.now()))
            raise Crash(name) if kind == "killed, late" else lost()
        if kind == "stalls before":
            self._stall()
            if name == "provider.send":
                raise lost()  # its own limit of time ran out meanwhile
            return effect()
        return self._after(kind, name, effect, lost)

    def _after(self, kind: str, name: str, effect: Callable[[], Any], lost: Callable[[], Exception]) -> Any:
        try:
            result = effect()
        except Conflict:
            if kind in ("twice", "stalls after"):
                raise
            result = None
        if kind == "twice":
            return effect()
        if kind == "stalls after":
            self._stall()
            return result
        raise Crash(name) if kind == "killed after" else lost()

    def land(self) -> None:
        """What is on its way arrives; its condition may fail by now, and no worker learns of either."""
        pending, self.pending = self.pending, []
        for late in pending:
            if self.clock.now() > late.since + LATEST:
                continue
            with suppress(Conflict, NotSent, LostResponse):
                late.effect()

    def _stall(self) -> None:
        self.clock.advance(STALL)
        killed_at = self.killed_at
        with suppress(Crash):  # of the other worker, not of ours
            self.meanwhile()
        self.killed_at = killed_at
