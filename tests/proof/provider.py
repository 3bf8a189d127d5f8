"""The strictest provider there is: a refresh token works once, and its reuse outside the grace revokes the grant."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Literal
from urllib.parse import parse_qsl

from evergrant.errors import LostResponse, NotSent
from evergrant.http_messages import HttpRequest, HttpResponse
from tests.proof import resending
from tests.proof.faults import Faults
from tests.proof.resending import Known, Sent, Stake
from tests.unit.memory import FakeClock, answer, basic_of

REFUSED = answer(400, {"error": "invalid_grant"})
CLIENT_REFUSED = answer(401, {"error": "invalid_client"})
ASKED = HttpResponse(200, {}, b"")
#: Grants of this number and above are those of the other connections.
OTHERS = 1000

#: An answer out of the ordinary: whether the provider acts on the request all the same, and what comes of it.
Oddity = tuple[Literal["acts", "does not act"], HttpResponse | LostResponse]


class StrictProvider:
    """Grants are numbered, and each holds one live refresh token: ``refresh-<grant>-<number>``.

    ``stake`` says what another request with a refresh token puts at risk. ``refuses`` are client secrets, each until
    when it is refused, by the answer ``refusal``; ``unused`` is one that says that nothing was used. ``oddities`` are
    answers to the next requests, one each. ``shape`` is how it words its successes. ``ends_together`` says that a
    refresh token ends with its access token.
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
        #: The refresh tokens whose senders still wait, and when each one was issued.
        self.underway: list[str] = []
        self.issued = {"refresh-0-0": clock.now()}
        self.ends_together = False
        self.refuses: Mapping[str, float] = {}
        self.refusal = CLIENT_REFUSED
        self.unused: HttpResponse | None = None
        #: Whether revoking a token ends all that its account ever granted, and whether anybody asked for it.
        self.revokes_all = self.asked_to_revoke = False
        self.oddities: tuple[Oddity, ...] = ()
        #: Until when it answers everything so.
        self.outage: tuple[float, Oddity] | None = None
        self.shape: Callable[[Mapping[str, object]], Mapping[str, object]] = dict
        self.stake: Callable[[str], Stake] = lambda _: Stake(grace, 0.0)
        self.after_answer: Callable[[], None] = lambda: None
        self.received: Callable[[str], None] = lambda _: None
        self.sends: Callable[[], None] = lambda: None

    def send(self, request: HttpRequest, *, hosts: tuple[str, ...], timeout: float) -> HttpResponse:
        assert timeout > 0, "nothing may be sent when the time for it is over"
        token = _form(request).get("refresh_token", "")
        self.sends()
        sent = self._allow(token) if token else None
        self.underway.append(token)
        try:
            response: HttpResponse = self._faults.around(
                "provider.send", partial(self.act, request, self._clock.now()), lambda: NotSent("made to fail")
            )
        except NotSent:
            self._learn(token, sent, None)
            raise
        finally:
            self.underway.remove(token)
        self._learn(token, sent, self._read(response))
        if holds_tokens(response):
            self.received(access_token_of(response))
        return response

    def _allow(self, token: str) -> Sent:
        """Note that a refresh token is sent, if that is allowed."""
        before, now = self.sent.get(token, ()), self._clock.now()
        why = resending.allow(before, now, self.stake(token))
        if before:
            self.resent[why] = self.resent.get(why, 0) + 1
        sent = Sent(now, why)
        self.sent[token] = (*before, sent)
        return sent

    def _learn(self, token: str, sent: Sent | None, known: Known | None) -> None:
        """Note what our side learned from a request. None: the provider has certainly not acted upon it."""
        if sent is None:
            return
        learned = [] if known is None else [replace(sent, known=known)]
        kept = ([one] if one is not sent else learned for one in self.sent[token])
        self.sent[token] = tuple(one for some in kept for one in some)

    def _read(self, response: HttpResponse) -> Known | None:
        if holds_tokens(response):
            return "granted"
        if response == REFUSED:
            return "refused"
        is_unclear = 200 <= response.status < 300 or response.status >= 500
        return "unclear" if is_unclear and response != self.unused and "retry-after" not in response.headers else None

    def act(self, request: HttpRequest, sent_at: float) -> HttpResponse:
        """One arrival of a request. What left within the grace arrives within it."""
        acts, odd = self._next_oddity()
        if acts == "does not act":
            return _say(odd)
        response = self._answer(request, sent_at)
        return response if odd is None else _say(odd)

    def _next_oddity(self) -> Oddity | tuple[Literal["acts"], None]:
        if self.outage and self._clock.now() < self.outage[0]:
            return self.outage[1]
        if not self.oddities:
            return "acts", None
        first, *others = self.oddities
        self.oddities = tuple(others)
        return first

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
        if token != self.live[grant] or self.has_ended(token):
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

    def has_ended(self, token: str) -> bool:
        return self.ends_together and self._clock.now() >= self.issued[token] + self.lifetime

    def _issue(self, grant: int, *, renewable: bool) -> HttpResponse:
        self.number += 1
        token = f"refresh-{grant}-{self.number}"
        self.live[grant] = token if renewable else None
        self.issued[token] = self._clock.now()
        self.newest[grant] = f"access-{grant}-{self.number}"
        body = {"access_token": self.newest[grant], "token_type": "bearer", "refresh_token": self.live[grant]}
        lives = {"expires_in": self.lifetime, "expires_at": self.lifetime}
        self.after_answer()
        return answer(200, self.shape({**body, **lives}))


def _say(odd: HttpResponse | LostResponse | None) -> HttpResponse:
    assert odd
    if isinstance(odd, LostResponse):
        raise LostResponse(*odd.args)
    return odd


def grant_of(token: str) -> int:
    return int(token.split("-")[1])


def access_token_of(response: HttpResponse) -> str:
    """Wherever the provider put it."""
    body = json.loads(response.body)
    return str(body.get("access_token") or body["result"]["token"])


def holds_tokens(response: HttpResponse) -> bool:
    try:
        body: Any = json.loads(response.body)
    except ValueError:
        return False
    return isinstance(body, dict) and response.status == 200 and ("access_token" in body or "result" in body)


def _form(request: HttpRequest) -> dict[str, str]:
    text = request.body.decode()
    return dict(json.loads(text)) if text.startswith("{") else dict(parse_qsl(text))


def _secret(request: HttpRequest, form: Mapping[str, str]) -> str:
    if "authorization" in request.headers:
        return basic_of(request).partition(":")[2]
    return form.get("client_secret", "")
