"""The end of a disconnected connection's grant.

1. The operator's command marks the record as disconnected, in one write that waits for the lease. From here on nothing
   is served or refreshed; the token set is put aside, still sealed, and the record stays due.
2. **Lease**, so that one worker asks, and nobody connects the account again meanwhile.
3. **Ask** the provider to revoke the grant (:mod:`~evergrant.rotation.revocation`), once. Where it does not answer, a
message that
   carries the sealed set asks again, a few times.
4. **Forget** the token set and free the lease.

A crash after 1 or 2 leaves a record that is due: the next pass asks. A crash after 3 asks twice, which harms nothing
(RFC 7009 section 2.2: an unknown token is answered as one that was revoked).
"""

from __future__ import annotations

from typing import Literal

from ..errors import Conflict, InvalidRequest
from ..ports import Clock, Records
from ..record import token_save
from ..record.connection import Connection, Status
from ..settings import Settings
from . import revocation

Outcome = revocation.Outcome | Literal["busy"]


def revoke_and_forget(
    records: Records, asking: revocation.Revocation, clock: Clock, settings: Settings, worker: str, current: Connection
) -> Outcome:
    """Steps 2 to 4 for a record as it was seen.

    *Busy*: another worker is at it, or somebody connects the account again. *Left*: there is nothing that could be
    revoked, any more or ever.

    Raises
    ------
    InvalidRequest
        The connection is not disconnected.
    PortUnavailable
        A service of AWS failed before the token set could be forgotten: another pass follows.
    """
    name = current.name
    if current.status is not Status.DISCONNECTED:
        raise InvalidRequest(f"{name} is not disconnected, and its grant is in use.")
    now = int(clock.now())
    lease = {"lease_owner": worker, "lease_until": now + settings.budgets.lease}
    seen = {"generation": current.generation, "status": current.status}
    message = revocation.build_disconnected_message(current)
    if message is None:
        return "left"
    try:
        records.change(name, lease, only_if=seen, lease_free_at=now)
    except Conflict:
        return "busy"
    outcome = asking.run(message)
    try:
        records.change(name, {"to_revoke": None, **token_save.RELEASED_LEASE}, only_if={**seen, "lease_owner": worker})
    except Conflict:
        return outcome  # too slow: somebody else has the lease, and forgets it
    return outcome
