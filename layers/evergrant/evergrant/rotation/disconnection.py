"""The end of a disconnected connection's grant: revoke and forget.

1. The operator's command marks the record as disconnected, in one write that waits for the lease. From here on nothing
   is served or refreshed; the token set is put aside, still sealed, and the record stays due.
2. **Lease**, so that one worker asks, and the account is not connected again meanwhile.
3. **Ask** the provider to revoke the grant (:mod:`~evergrant.rotation.revocation`), once. Where it does not respond, a
   message that carries the sealed set asks again, a few times.
4. **Forget** the token set and free the lease.

A crash after 1 or 2 leaves a record that is due: the next pass asks. A crash after 3 asks twice, which is idempotent
(RFC 7009 section 2.2: an unknown token gets the same response as a revoked one).
"""

from __future__ import annotations

from contextlib import suppress
from typing import Literal

from ..errors import Conflict, InvalidRequest, RecordTampered
from ..ports import RotationPorts
from ..record import failures
from ..record.connection import Connection
from ..record.refresh_schedule import deliver_soon
from ..record.status import Status
from ..record.token_save import RELEASED_LEASE
from ..settings import Settings
from . import revocation

Outcome = revocation.Outcome | Literal["busy"]


def revoke_and_forget(ports: RotationPorts, settings: Settings, worker: str, current: Connection) -> Outcome:
    """Do steps 2 to 4 for a record as it was read.

    *Busy*: another worker is at it, or the account is being connected again. *Left*: there is nothing that could be
    revoked, any more or ever.

    Raises
    ------
    InvalidRequest
        The connection is not disconnected.
    RecordTampered
        The record does not say what the grant was issued for: it is kept, and the operator is alerted.
    PortUnavailable
        A service of AWS failed before the token set could be forgotten: another pass follows.
    """
    name = current.name
    if current.status is not Status.DISCONNECTED:
        raise InvalidRequest(f"{name} is not disconnected, and its grant is in use.")
    message = revocation.build_disconnected_message(current, ports.seal)
    if message is None:
        return "not_needed"
    now = int(ports.clock.now())
    try:
        leased = ports.records.change(
            name,
            {"lease_owner": worker, "lease_until": now + settings.budgets.lease},
            only_if=current.snapshot("generation", "status"),
            lease_free_at=now,
        )
    except Conflict:
        return "busy"
    try:
        outcome = revocation.Revocation(ports, settings).run(message)
    except RecordTampered as error:
        change = deliver_soon(current, failures.apply_tampered_record(current, error.field, now), now).set(
            RELEASED_LEASE
        )
        seen = leased.snapshot("generation", "status", "lease_owner")
        with suppress(Conflict):
            ports.records.change(name, change.fields, events=change.events, only_if=seen)
        raise
    try:
        ports.records.change(
            name,
            {"to_revoke": None, **RELEASED_LEASE},
            only_if=leased.snapshot("generation", "status", "lease_owner"),
        )
    except Conflict:
        return outcome  # too slow: another worker has the lease, and forgets the token set
    return outcome
