"""An outage of one AWS service: first for a few connections with an unsaved response, then for all."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from evergrant.settings import Budgets
from local.torture.aws_calls import parse_call, parse_service
from local.torture.faults import MODES, SERVICES, create_aws_fault
from local.torture.plan import Plan
from local.torture.proxy import Fault, Reply, ReplyListener, Request
from local.torture.results import Row
from local.torture.testbed import Testbed
from local.torture.token_chains import TokenChains

#: The least duration of an outage of the table: a save goes to the queue after half of its time limit.
_MIN_TABLE_OUTAGE_SECONDS = Budgets().save


class Outage:
    """Decides which calls of a service fail.

    A call for the first few connections never takes effect.

    Parameters
    ----------
    mode
        How the service fails; None: in every mode, call by call.
    names
        The connections that meet no other fault meanwhile; the row counts only these.
    """

    def __init__(
        self,
        testbed: Testbed,
        plan: Plan,
        chains: TokenChains,
        service: str,
        mode: str | None,
        names: Sequence[str],
        seed: int,
    ) -> None:
        title, _ = SERVICES[service]
        self.row = Row(f"{title} {mode or 'fails, throttles, hangs'}", 0, frozenset(names), time.time())
        self.seconds = max(plan.outage, _MIN_TABLE_OUTAGE_SECONDS if service == "dynamodb" else 0)
        self._testbed, self._chains, self._service, self._mode = testbed, chains, service, mode
        self._max_caught = plan.caught
        self._chance = random.Random(f"{seed}:{service}:{mode}")
        self._caught: dict[str, set[str]] = {party: set() for party in testbed.parties}
        self._meets_all = threading.Event()

    @contextmanager
    def catch_responses(self) -> Iterator[None]:
        """In the block, let calls fail for the first connections whose provider responds."""
        for party in self._testbed.parties.values():
            party.proxy.on_reply = self._catch_replies_of(party.name)
        try:
            yield
        finally:
            for party in self._testbed.parties.values():
                party.proxy.on_reply = self._chains.add_reply

    def list_uncaught(self) -> list[str]:
        """List the providers of which too few responses have been caught."""
        return [party for party, names in self._caught.items() if len(names) < self._max_caught]

    def meet_all(self) -> None:
        """From now on, let calls fail for all connections."""
        self._meets_all.set()

    async def choose_fault(self, request: Request) -> Fault | None:
        """Return the fault of a call, if any: the proxy before AWS calls this."""
        if parse_service(request) != self._service:
            return None
        is_caught = any(parse_call(request).connection in names for names in self._caught.values())
        if not (self._meets_all.is_set() or is_caught):
            return None
        self.row.injected += 1
        # A call that hangs would outlast a short outage, and then get its response after all.
        modes = MODES[:2] if is_caught else MODES
        return create_aws_fault(
            self._service, self._mode or self._chance.choice(modes), self._chance, in_vain=is_caught
        )

    def _catch_replies_of(self, party: str) -> ReplyListener:
        caught = self._caught[party]

        def on_reply(request: Request, reply: Reply) -> None:
            name = self._chains.find_owner(request)
            if name in self.row.names and reply.status == 200 and len(caught) < self._max_caught:
                caught.add(str(name))
            self._chains.add_reply(request, reply)

        return on_reply
