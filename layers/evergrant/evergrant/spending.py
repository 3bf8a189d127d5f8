"""The spend: asking the provider for the next token set, and telling done from not done from in doubt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from . import transitions
from .connection import Connection
from .dialect import Client, Phase, Refusal, read_answer, token_request
from .errors import LostAnswer, UnreadAnswer
from .ports import Clock, Provider
from .profile import Profile
from .secret import Secret
from .settings import Settings
from .tokens import TokenSet

#: How often a lost answer is asked for within one spend, where that is safe.
ATTEMPTS = 3


class Unreadable(Exception):
    """The provider granted something that we cannot read. ``body`` is kept, sealed."""

    def __init__(self, body: bytes) -> None:
        super().__init__("a success that is no token set")
        self.body = body


@dataclass(frozen=True, slots=True)
class Spend:
    """One spend, prepared: ``connection`` carries its marker, ``end`` is the epoch second by which it is over."""

    connection: Connection
    profile: Profile
    client: Client
    phase: Phase
    values: Mapping[str, str | None]
    previous: TokenSet | None
    end: float

    def ask(self, provider: Provider, clock: Clock, settings: Settings) -> TokenSet | Refusal:
        """Ask with the newest client secret, then with the older ones while the client is refused.

        Raises
        ------
        NotSent
            The provider cannot have acted on it.
        LostAnswer
            It may have, and no answer came although it was replayed as often as is safe.
        Unreadable
            It has, and its answer makes no sense.
        """
        answer = self._ask_with(self.client.secrets[0] if self.client.secrets else None, provider, clock, settings)
        for older in self.client.secrets[1:]:
            if not (isinstance(answer, Refusal) and answer.kind == "client_rejected"):
                break
            answer = self._ask_with(older, provider, clock, settings)
        return answer

    def _ask_with(
        self, secret: Secret | None, provider: Provider, clock: Clock, settings: Settings
    ) -> TokenSet | Refusal:
        request = token_request(
            self.profile,
            self.phase,
            self.connection.variables,
            self.client.client_id,
            secret,
            self.values,
            loopback=settings.allow_loopback,
        )
        for attempt in range(1, ATTEMPTS + 1):
            sent_at = int(clock.now())
            timeout = min(settings.budgets.attempt, self.end - sent_at)
            try:
                response = provider.send(request, hosts=self.client.hosts, timeout=timeout)
                answer = read_answer(self.profile, response, sent_at, self.previous)
                if not (isinstance(answer, Refusal) and answer.in_doubt):
                    return answer
            except UnreadAnswer as error:
                raise Unreadable(response.body) from error
            except LostAnswer:
                if not self._may_replay(attempt, clock.now(), settings):
                    raise
            else:
                if not self._may_replay(attempt, clock.now(), settings):
                    break
        raise LostAnswer("The provider failed with the outcome unknown.")

    def _may_replay(self, attempt: int, now: float, settings: Settings) -> bool:
        in_time = self.end - now > settings.budgets.attempt / 2
        return attempt < ATTEMPTS and in_time and transitions.may_replay(self.connection, self.profile, int(now))
