"""The spend: asking the provider for the next token set, and telling done from not done from in doubt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from . import transitions
from .connection import Connection
from .dialect import Client, Phase, Refusal, read_answer, token_request
from .errors import LostAnswer, NotSent, UnreadAnswer
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
    """One spend, prepared: ``connection`` carries its marker, ``end`` is the epoch second by which it is over.

    ``in_doubt`` says that it is the replay of one whose answer never became a saved set.
    """

    connection: Connection
    profile: Profile
    client: Client
    phase: Phase
    values: Mapping[str, str | None] = field(repr=False)
    previous: TokenSet | None
    end: float
    in_doubt: bool = False

    def ask(self, provider: Provider, clock: Clock, settings: Settings) -> TokenSet | Refusal:
        """Ask with the newest client secret, then with the older ones while the client is refused.

        Raises
        ------
        NotSent
            The provider cannot have acted on it.
        LostAnswer
            It may have, and no answer that settles it came although it was replayed as often as is safe.
        Unreadable
            It has, and its answer makes no sense.
        """
        answer = self._ask_with(self.client.secrets[0] if self.client.secrets else None, provider, clock, settings)
        for older in self.client.secrets[1:]:
            if not (isinstance(answer, Refusal) and answer.kind == "client_rejected"):
                break
            answer = self._ask_with(older, provider, clock, settings)
        if (
            isinstance(answer, Refusal)
            and answer.kind in ("grant_rejected", "rejected_unknown")
            and (self.connection.grant, self.phase) == ("login", "refresh")
            and self.profile.rotation.fall_back_to_login
        ):
            # The refresh token is dead; the log-in's own credentials are not.
            return replace(self, phase="login").ask(provider, clock, settings)
        return answer

    def _ask_with(
        self, secret: Secret | None, provider: Provider, clock: Clock, settings: Settings
    ) -> TokenSet | Refusal:
        request = token_request(
            self.profile,
            self.phase,
            self.connection.variables,
            self.client,
            secret,
            self.values,
            now=int(clock.now()),
            loopback=settings.allow_loopback,
        )
        lost: LostAnswer | None = None
        for _ in range(ATTEMPTS):
            sent_at = int(clock.now())
            timeout = min(settings.budgets.attempt, self.end - sent_at)
            try:
                response = provider.send(request, hosts=self.client.hosts, timeout=timeout)
                answer = read_answer(self.profile, response, sent_at, self.previous)
            except UnreadAnswer as error:
                raise Unreadable(response.body) from error
            except LostAnswer as error:
                lost = error
            except NotSent as error:
                # Not this time; but the attempt before may have been, and that is what counts.
                raise (lost or error) from error
            else:
                if not (isinstance(answer, Refusal) and answer.in_doubt):
                    if (
                        lost
                        and isinstance(answer, Refusal)
                        and answer.kind not in ("grant_rejected", "rejected_unknown")
                    ):
                        raise lost
                    return answer
                lost = LostAnswer("The provider failed with the outcome unknown.")
            if not self._may_replay(clock.now(), settings):
                break
        raise lost or LostAnswer("The provider was not asked.")

    def _may_replay(self, now: float, settings: Settings) -> bool:
        in_time = self.end - now > settings.budgets.attempt / 2
        return in_time and transitions.may_replay(self.connection, self.profile, int(now))
