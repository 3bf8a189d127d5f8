"""The strictest provider there is: a refresh token works once, and its reuse outside the grace revokes the grant."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal
from urllib.parse import parse_qsl

from evergrant.errors import NotSent
from evergrant.http_messages import HttpRequest, HttpResponse
from evergrant.record import lost_response
from tests.proof.faults import Faults
from tests.unit.memory import FakeClock, answer, basic_of

_COUNTED = "the counted last attempt"
REFUSED = answer(400, {"error": "invalid_grant"})
CLIENT_REFUSED = answer(401, {"error": "invalid_client"})
ASKED = HttpResponse(200, {}, b"")
#: Grants of this number and above are those of the other connections.
OTHERS = 1000

#: An answer out of the ordinary: whether the provider acts on the request all the same, and what it says.
Oddity = tuple[Literal["acts", "does not act"], HttpResponse]


@dataclass(frozen=True)
class Sent:
    """A refresh token on its way to the provider. ``known`` is what our side learnt of it."""

    at: float
    known: str = "nothing"


class StrictProvider:
    """Grants are numbered, and each holds one live refresh token: ``refresh-<grant>-<number>``.

    ``expired`` says whether nothing is left to lose of a token's grant. ``refuses`` are client secrets, each until when
    it is refused, by the answer ``refusal``; ``unspent`` is one that says that nothing was used. ``oddities`` are
    answers to the next requests, one each. ``shape`` is how it words its successes.
    """

    def __init__(self, faults: Faults, clock: FakeClock, lifetime: int, grace: int) -> None:
        self._faults = faults
        self._clock = clock
        self.lifetime = lifetime
        self.grace = grace
        self.live: dict[int, str | None] = {0: "refresh-0-0"}
        self.used: dict[str, tuple[float, HttpResponse]] = {}
        self.sent: dict[str, tuple[Sent, ...]] = {}
        self.begun: dict[int, float] = {}
        self.number = 0
        #: The access token that was issued last for each grant.
        self.newest: dict[int, str] = {}
        #: How often a token was sent again, by why that was allowed.
        self.resent: dict[str, int] = {}
        #: An operator takes part, who may have a token sent again and again, but not while its answer may be underway.
        self.forced = False
        self.refuses: Mapping[str, float] = {}
        self.refusal = CLIENT_REFUSED
        self.unspent: HttpResponse | None = None
        #: Whether revoking a token ends all that its account ever granted, and whether anybody asked for it.
        self.revokes_all = self.asked_to_revoke = False
        self.oddities: tuple[Oddity, ...] = ()
        self.shape: Callable[[Mapping[str, object]], Mapping[str, object]] = dict
        self.expired: Callable[[str], bool] = lambda _: False
        self.after_answer: Callable[[], None] = lambda: None
        self.received: Callable[[str], None] = lambda _: None

    def send(self, request: HttpRequest, *, hosts: tuple[str, ...], timeout: float) -> HttpResponse:
        assert timeout > 0, "nothing may be sent when the time for it is over"
        token = _form(request).get("refresh_token", "")
        before = self.sent.get(token, ())
        counted = self.resent.get(f"{_COUNTED} of {token}", 0)
        if token:
            self._classify(token, before)
            self.sent[token] = (*before, Sent(self._clock.now()))
        try:
            response: HttpResponse = self._faults.around(
                "provider.send", partial(self.act, request, self._clock.now()), lambda: NotSent("made to fail")
            )
        except NotSent:
            self._unsent(token, before, counted)
            raise
        if token and response.status == 200:
            self._known(token, "granted")
        elif token and response == REFUSED:
            self._known(token, "refused")
        elif token and (response.status < 500 or response == self.unspent):
            self._unsent(token, before, counted)  # we know that it was not acted upon
        if response.status == 200 and response.body:
            self.received(access_token_of(response))
        return response

    def _unsent(self, token: str, before: tuple[Sent, ...], counted: int) -> None:
        if token:
            self.sent[token] = before
            self.resent = {why: n for why, n in self.resent.items() if why != f"{_COUNTED} of {token}" or counted}

    def _known(self, token: str, known: str) -> None:
        self.sent[token] = (*self.sent[token][:-1], Sent(self.sent[token][-1].at, known))

    def _classify(self, token: str, before: tuple[Sent, ...]) -> None:
        """Why a token may be sent (again): the one rule that keeps a grant alive."""
        if not before:
            return
        doubtful = [sent for sent in before if sent.known != "refused"]
        if any(sent.known == "refused" for sent in before):
            why = "after its refusal"  # there is no grant to lose
        elif self._clock.now() <= doubtful[0].at + self.grace:
            why = "within the grace"
        elif self.expired(token):
            why = "as a probe, its access token expired"
        elif self.forced and self._clock.now() >= doubtful[-1].at + lost_response.MIN_REPLAY_DELAY_SECONDS:
            why = "by an operator"
        else:
            why = _COUNTED
            assert self.resent.get(f"{why} of {token}", 0) == 0, "a refresh token was sent twice outside the grace"
            self.resent[f"{why} of {token}"] = 1
        self.resent[why] = self.resent.get(why, 0) + 1

    def act(self, request: HttpRequest, sent_at: float) -> HttpResponse:
        """One arrival of a request. What left within the grace arrives within it."""
        acts, odd = "acts", None
        if self.oddities:
            (acts, odd), *others = self.oddities
            self.oddities = tuple(others)
        if acts == "does not act":
            assert odd
            return odd
        response = self._answer(request, sent_at)
        return odd or response

    def _answer(self, request: HttpRequest, sent_at: float) -> HttpResponse:
        form = _form(request)
        if self.refuses and self._clock.now() < self.refuses.get(_secret(request, form), 0):
            return self.refusal
        if "token" in form:
            return self._revoke(form["token"], sent_at)
        token = form.get("refresh_token")
        if token is None:
            grant = max(grant for grant in self.live if grant < OTHERS) + 1
            self.begun[grant] = self._clock.now()
            return self._issue(grant, renewable=form.get("grant_type") != "client_credentials")
        if token in self.used and sent_at <= self.used[token][0] + self.grace:
            return self.used[token][1]
        grant = grant_of(token)
        if token != self.live[grant]:
            self.live[grant] = None
            return REFUSED
        response = self._issue(grant, renewable=True)
        self.used[token] = (self._clock.now(), response)
        return response

    def _revoke(self, token: str, sent_at: float) -> HttpResponse:
        """RFC 7009 section 2.2: a token that is not valid is answered as one that was revoked.

        What was granted while the request was on its way is not ended by it.
        """
        grant = grant_of(token)
        self.asked_to_revoke = True
        if self.live[grant] == token:
            before = [other for other in self.live if other < OTHERS and self.begun.get(other, 0) <= sent_at]
            self.live.update(dict.fromkeys(before if self.revokes_all else [grant]))
        return ASKED

    def _issue(self, grant: int, *, renewable: bool) -> HttpResponse:
        self.number += 1
        self.live[grant] = f"refresh-{grant}-{self.number}" if renewable else None
        self.newest[grant] = f"access-{grant}-{self.number}"
        body = {"access_token": self.newest[grant], "token_type": "bearer", "refresh_token": self.live[grant]}
        lives = {"expires_in": self.lifetime, "expires_at": self.lifetime}
        self.after_answer()
        return answer(200, self.shape({**body, **lives}))


def grant_of(token: str) -> int:
    return int(token.split("-")[1])


def access_token_of(response: HttpResponse) -> str:
    """Wherever the provider put it."""
    body = json.loads(response.body)
    return str(body.get("access_token") or body["result"]["token"])


def _form(request: HttpRequest) -> dict[str, str]:
    text = request.body.decode()
    return dict(json.loads(text)) if text.startswith("{") else dict(parse_qsl(text))


def _secret(request: HttpRequest, form: Mapping[str, str]) -> str:
    if "authorization" in request.headers:
        return basic_of(request).partition(":")[2]
    return form.get("client_secret", "")
