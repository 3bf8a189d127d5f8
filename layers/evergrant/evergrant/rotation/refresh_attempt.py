"""The refresh attempt: requests to the provider for the next token set, and what became of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..errors import LostResponse, NotSent, UnreadableResponse
from ..http_messages import HttpRequest
from ..oauth.error_response import Refusal
from ..oauth.token_request import try_each_secret
from ..oauth.token_response import parse_token_response
from ..oauth.token_set import TokenSet
from ..oauth.unreadable_response import KeptResponse
from ..ports import Clock, Provider
from ..profiles.model import Profile
from ..record import lost_response
from ..record.connection import Connection
from ..settings import Budgets

#: How often a lost response is replayed within one attempt, where that is safe.
MAX_REQUESTS = 3
#: The refusals that say that the grant is dead.
_GRANT_KINDS = ("grant_rejected", "client_unauthorized")


@dataclass(frozen=True, slots=True)
class TokenRequests:
    """The requests of one phase, one for each of the client's secrets, the newest first.

    ``made`` are for the first try. ``rebuild`` makes those of each further one, since a provider may refuse an
    assertion whose ``jti`` it has seen (RFC 7523 section 3).
    """

    made: tuple[HttpRequest, ...]
    rebuild: Callable[[], tuple[HttpRequest, ...]]


class KeptUnreadable(Exception):
    """The provider granted something that cannot be read. It is kept, sealed."""

    def __init__(self, kept: KeptResponse) -> None:
        super().__init__("a success that is no token set")
        self.kept = kept


#: How an attempt ended.
AttemptOutcome = TokenSet | Refusal | KeptUnreadable | NotSent | LostResponse


@dataclass(frozen=True, slots=True)
class RefreshAttempt:
    """One attempt, prepared: ``connection`` carries its marker, ``end`` is the epoch second by which it is over.

    ``fallback`` logs in again where the provider refuses a refresh and its profile says so. ``in_doubt`` says that this
    replays an attempt whose response never became a saved token set.
    """

    connection: Connection
    profile: Profile
    requests: TokenRequests
    hosts: tuple[str, ...]
    previous: TokenSet | None = field(repr=False)
    end: float
    in_doubt: bool = False
    fallback: TokenRequests | None = None

    def run(self, provider: Provider, clock: Clock, budgets: Budgets) -> AttemptOutcome:
        """Run the attempt: what :meth:`request_token_set` raises is one of the outcomes."""
        try:
            return self.request_token_set(provider, clock, budgets)
        except (KeptUnreadable, NotSent, LostResponse) as error:
            return error

    def request_token_set(self, provider: Provider, clock: Clock, budgets: Budgets) -> TokenSet | Refusal:
        """Send the requests with the newest client secret, then with the older ones while the client is refused.

        Raises
        ------
        NotSent
            The provider cannot have acted.
        LostResponse
            It may have, and no response that settles it came, although the request was replayed as often as is safe.
        KeptUnreadable
            It has, and its response makes no sense.
        """
        answer = self._try_secrets(self.requests, provider, clock, budgets)
        if self.fallback and isinstance(answer, Refusal) and answer.kind in (*_GRANT_KINDS, "rejected_unknown"):
            answer = self._try_secrets(self.fallback, provider, clock, budgets)
        return answer

    def _try_secrets(
        self, requests: TokenRequests, provider: Provider, clock: Clock, budgets: Budgets
    ) -> TokenSet | Refusal:
        return try_each_secret(
            range(len(requests.made)),
            lambda number: self._send_until_settled(requests, number, provider, clock, budgets),
            lambda answer: isinstance(answer, Refusal) and answer.kind == "client_rejected",
        )

    def _send_until_settled(
        self, requests: TokenRequests, number: int, provider: Provider, clock: Clock, budgets: Budgets
    ) -> TokenSet | Refusal:
        lost: LostResponse | None = None
        for sent in range(MAX_REQUESTS):
            request, sent_at = (requests.rebuild() if sent else requests.made)[number], int(clock.now())
            left = self.end - clock.now()
            # Checked right before sending: the steps between may have taken longer than they should.
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
                # Not this time; but the request before may have been, and that is what counts.
                raise (lost or error) from error
            else:
                if lost and isinstance(answer, Refusal) and answer.kind not in _GRANT_KINDS:
                    raise lost
                return answer
        raise lost or NotSent("There was no time left to send the request.", reason="timeout")

    def _may_send(self, now: int, *, again: bool) -> bool:
        """Whether a request may leave now: the first of an attempt, the counted replay, or one that does no harm."""
        replay = self.in_doubt and self.connection.attempt_replays == 0
        return not (again or replay) or lost_response.may_replay(self.connection, self.profile, now)
