"""The pace of refreshes: the rate that a profile declares for its token endpoint, for one client."""

from __future__ import annotations

from math import ceil
from typing import Protocol

from ..errors import UnknownProfile
from ..ports import Profiles
from ..profiles.model import Profile
from ..times import TICK_SECONDS


class Paced(Protocol):
    """What a connection's pace depends on. A record has no endpoint before its first token set."""

    @property
    def name(self) -> str: ...
    @property
    def client(self) -> str: ...
    @property
    def endpoint(self) -> str | None: ...
    @property
    def profile_hash(self) -> str: ...


class Pace:
    """Gives each connection its moment: when it is due, or when its client's declared rate has room.

    A tick fills the time until the next one and no more, so that ticks share no state.
    """

    def __init__(self, profiles: Profiles, now: int) -> None:
        self._profiles, self._now = profiles, now
        #: In milliseconds, as whole numbers: many small steps of a float do not add up to what was declared.
        self._free_at: dict[tuple[str, str], int] = {}
        self._filled_until, self._reserved = dict[str, int](), dict[str, int]()

    def reserve(self, name: str, until: int) -> None:
        """Leave out the time that a dispatch has filled for this client or endpoint."""
        self._reserved[name] = until

    def find_filled_until(self, name: str) -> int | None:
        """Return until when the declared rate of a client or endpoint is filled; None without one."""
        return self._filled_until.get(name)

    def find_slot(self, due: Paced, at: int) -> int | None:
        """Return the epoch second for the message, not before ``at``. None: not within this tick."""
        profile = self.find_profile(due)
        if profile is None or profile.rotation.rate is None:
            return at
        rate, provider = profile.rotation.rate, due.name.partition("/")[0]
        group = provider, due.client
        reserved = max(self._reserved.get(name, 0) for name in (due.endpoint or "", due.client))
        moment = max(self._free_at.get(group, 0), reserved * 1000, at * 1000)
        if moment >= (self._now + TICK_SECONDS) * 1000:
            return None
        self._free_at[group] = moment + ceil(rate.seconds * 1000 / rate.requests)
        for name in (due.endpoint, due.client):
            self._filled_until[name or ""] = ceil(self._free_at[group] / 1000)
        return moment // 1000

    def find_profile(self, due: Paced) -> Profile | None:
        """Return the connection's profile; None where it is gone: rotator says what is wrong with it."""
        try:
            return self._profiles.load_pinned(due.profile_hash)
        except UnknownProfile:
            return None
