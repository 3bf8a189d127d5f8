"""The spend: asking the provider for the next token set, and telling done from not done from in doubt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..errors import LostResponse, NotSent, UnreadableResponse
from ..http_messages import HttpRequest
from ..oauth.error_response import Refusal
from ..oauth.token_response import parse_token_response
from ..oauth.token_set import TokenSet
from ..oauth.unreadable_response import KeptResponse
from ..ports import Clock, Provider
from ..profiles.model import Profile
from ..record import failures, lost_response
from ..record.connection import Connection
from ..settings import Budgets

#: How often a lost answer is asked for within one spend, where that is safe.
MAX_REQUESTS = 3


@dataclass(frozen=True, slots=True)
class TokenRequests:
    """The requests of one phase, one for each of the client's secrets, the newest first.

    ``made`` are for the first attempt; each further one is made by ``anew``, since a provider may refuse an assertion
    whose ``jti`` it has seen (RFC 7523 section 3).
    """

    made: tuple[HttpRequest, ...]
    anew: Callable[[], tuple[HttpRequest, ...]]


class KeptUnreadable(Exception):
    """The provider granted something that we cannot read. It is kept, sealed."""

    def __init__(self, kept: KeptResponse) -> None:
        super().__init__("a success that is no token set")
        self.kept = kept


#: How a spend ended.
AttemptOutcome = TokenSet | Refusal | KeptUnreadable | NotSent | LostResponse


@dataclass(frozen=True, slots=True)
class RefreshAttempt:
    """One spend, prepared: ``connection`` carries its marker, ``end`` is the epoch second by which it is over.

    ``fallback`` logs in again where the provider refuses a refresh and its profile says so. ``in_doubt`` says that
    this is the replay of a spend whose answer never became a saved set.
    """

    connection: Connection
    profile: Profile
    requests: TokenRequests
    hosts: tuple[str, ...]
    previous: TokenSet | None = field(repr=False)
    end: float
    in_doubt: bool = False
    fallback: TokenRequests | None = None

    def outcome(self, provider: Provider, clock: Clock, budgets: Budgets) -> AttemptOutcome:
        """How asking ended, see :meth:`ask`: what that raises is one of the outcomes."""
        try:
            return self.ask(provider, clock, budgets)
        except (KeptUnreadable, NotSent, LostResponse) as error:
            return error

    def ask(self, provider: Provider, clock: Clock, budgets: Budgets) -> TokenSet | Refusal:
        """Ask with the newest client secret, then with the older ones while the client is refused.

        Raises
        ------
        NotSent
            The provider cannot have acted on it.
        LostResponse
            It may have, and no answer that settles it came although it was replayed as often as is safe.
        Unreadable
            It has, and its answer makes no sense.
        """
        answer = self._ask_in_turn(self.requests, provider, clock, budgets)
        if self.fallback and isinstance(answer, Refusal) and answer.kind in ("grant_rejected", "rejected_unknown"):
            answer = self._ask_in_turn(self.fallback, provider, clock, budgets)
        return answer

    def _ask_in_turn(
        self, requests: TokenRequests, provider: Provider, clock: Clock, budgets: Budgets
    ) -> TokenSet | Refusal:
        answer: TokenSet | Refusal = failures.NOT_SENT
        for number in range(len(requests.made)):
            answer = self._ask_with(requests, number, provider, clock, budgets)
            if not (isinstance(answer, Refusal) and answer.kind == "client_rejected"):
                break
        return answer

    def _ask_with(
        self, requests: TokenRequests, number: int, provider: Provider, clock: Clock, budgets: Budgets
    ) -> TokenSet | Refusal:
        lost: LostResponse | None = None
        for attempt in range(MAX_REQUESTS):
            request, sent_at = (requests.anew() if attempt else requests.made)[number], int(clock.now())
            left = self.end - clock.now()
            # Looked at right before sending: whatever came between may have taken longer than it should.
            if left < budgets.request / 2 or not self._may_send(sent_at, again=lost is not None):
                break
            try:
                response = provider.send(request, hosts=self.hosts, timeout=min(budgets.request, left))
                answer = parse_token_response(self.profile, response, sent_at, self.previous, self.connection.variables)
            except UnreadableResponse as error:
                raise KeptUnreadable(KeptResponse(sent_at, response)) from error
            except LostResponse as error:
                lost = error
            except NotSent as error:
                # Not this time; but the attempt before may have been, and that is what counts.
                raise (lost or error) from error
            else:
                if not (isinstance(answer, Refusal) and answer.in_doubt):
                    if lost and isinstance(answer, Refusal) and answer.kind != "grant_rejected":
                        raise lost
                    return answer
                lost = LostResponse("The provider failed with the outcome unknown.")
        raise lost or NotSent("There was no time left to ask the provider.")

    def _may_send(self, now: int, *, again: bool) -> bool:
        """Whether a request may leave now: the first of a spend, the counted last attempt, or one that does no harm."""
        replay = self.in_doubt and self.connection.attempt_replays == 0
        return not (again or replay) or lost_response.may_replay(self.connection, self.profile, now)
