"""What all steps of one invocation share."""

from __future__ import annotations

import uuid
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from ..ports import RotationPorts
from ..profiles.model import Profile
from ..record.change import RecordFields
from ..record.connection import Connection
from ..settings import Settings


@dataclass(slots=True)
class Invocation:
    """One invocation of rotator.

    ``deadline`` is the epoch second at which it ends. ``turn`` is held from the attempt's marker to the provider's
    response: it limits how many requests are at providers at once. ``give_up_at`` is when a waiting caller has waited
    long enough. ``dependency_errors`` collects the calls that services of AWS refused, with their own codes: the next
    pass has yet to make them.
    """

    ports: RotationPorts
    settings: Settings
    deadline: float
    turn: AbstractContextManager[Any] = field(default_factory=nullcontext)
    worker: str = field(default_factory=lambda: str(uuid.uuid4()))
    give_up_at: float = float("inf")
    dependency_errors: list[str] = field(default_factory=list)

    @property
    def now(self) -> int:
        return int(self.ports.clock.now())

    @property
    def lease(self) -> RecordFields:
        """The fields of a lease that begins now."""
        return {"lease_owner": self.worker, "lease_until": self.now + self.settings.budgets.lease}

    def profile_of(self, connection: Connection) -> Profile:
        return self.ports.profiles.load_pinned(connection.profile_hash)
