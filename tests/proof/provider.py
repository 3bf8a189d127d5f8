"""The strictest provider there is: a refresh token works once, and its reuse outside the grace revokes the grant."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from urllib.parse import parse_qsl

from evergrant import transitions
from evergrant.dialect import HttpRequest, HttpResponse
from evergrant.errors import LostAnswer, NotSent
from tests.proof.faults import Faults
from tests.unit.memory import FakeClock, answer

_COUNTED = "the counted last attempt"
REFUSED = answer(400, {"error": "invalid_grant"})


@dataclass(frozen=True)
class Sent:
    """A refresh token on its way to the provider. ``known`` is what our side learnt of it."""

    at: float
    known: str = "nothing"


class StrictProvider:
    """Grants are numbered, and each holds one live refresh token: ``refresh-<grant>-<number>``.

    ``within`` says whether a resent token is inside the grace, ``lapsed`` whether nothing is left to lose.
    """

    def __init__(self, faults: Faults, clock: FakeClock, lifetime: int, grace: int) -> None:
        self._faults = faults
        self._clock = clock
        self.lifetime = lifetime
        self.grace = grace
        self.live: dict[int, str | None] = {0: "refresh-0-0"}
        self.spent: dict[str, tuple[float, HttpResponse]] = {}
        self.sent: dict[str, tuple[Sent, ...]] = {}
        self.number = 0
        #: How often a token was sent again, by why that was allowed.
        self.resent: dict[str, int] = {}
        self.lapsed: Callable[[], bool] = lambda: False
        #: An operator takes part, who may have a token sent again and again, but not while its answer may be underway.
        self.forced = False
        self.after_answer: Callable[[], None] = lambda: None
        self.received: Callable[[str], None] = lambda _: None

    def send(self, request: HttpRequest, *, hosts: tuple[str, ...], timeout: float) -> HttpResponse:
        assert timeout > 0, "nothing may be sent when the time for it is over"
        token = _form(request).get("refresh_token", "")
        before = self.sent.get(token, ())
        if token:
            self._classify(token, before)
            self.sent[token] = (*before, Sent(self._clock.now()))
        try:
            response = self._faults.around(
                "provider.send", partial(self.act, request, self._clock.now()), lambda: NotSent("made to fail")
            )
        except NotSent:
            if token:
                self.sent[token] = before
                self.resent.pop(f"{_COUNTED} of {token}", None)
            raise
        if token:
            known = "granted" if response.status == 200 else "refused"
            self.sent[token] = (*self.sent[token][:-1], Sent(self.sent[token][-1].at, known))
        if response.status == 200:
            self.received(json.loads(response.body)["access_token"])
        return response  # type: ignore[no-any-return]

    def _classify(self, token: str, before: tuple[Sent, ...]) -> None:
        """Why a token may be sent (again): the one rule that keeps a grant alive."""
        if not before:
            return
        doubtful = [sent for sent in before if sent.known != "refused"]
        if any(sent.known == "refused" for sent in before):
            why = "after its refusal"  # there is no grant to lose
        elif self._clock.now() <= doubtful[0].at + self.grace:
            why = "within the grace"
        elif self.lapsed():
            why = "as a probe, its access token lapsed"
        elif self.forced and self._clock.now() >= doubtful[-1].at + transitions.SETTLED:
            why = "by an operator"
        else:
            why = _COUNTED
            assert self.resent.get(f"{why} of {token}", 0) == 0, "a refresh token was sent twice outside the grace"
            self.resent[f"{why} of {token}"] = 1
        self.resent[why] = self.resent.get(why, 0) + 1

    def act(self, request: HttpRequest, sent_at: float) -> HttpResponse:
        """One arrival of a request. What left within the grace arrives within it."""
        form = _form(request)
        token = form.get("refresh_token")
        if token is None:
            grant = max(self.live) + 1
            return self._issue(grant, renewable=form.get("grant_type") != "client_credentials")
        if token in self.spent and sent_at <= self.spent[token][0] + self.grace:
            return self.spent[token][1]
        grant = int(token.split("-")[1])
        if token != self.live[grant]:
            self.live[grant] = None
            return REFUSED
        response = self._issue(grant, renewable=True)
        self.spent[token] = (self._clock.now(), response)
        return response

    def _issue(self, grant: int, *, renewable: bool) -> HttpResponse:
        self.number += 1
        self.live[grant] = f"refresh-{grant}-{self.number}" if renewable else None
        body = {"access_token": f"access-{grant}-{self.number}", "token_type": "bearer"}
        body |= {"expires_in": self.lifetime, "expires_at": self.lifetime}  # type: ignore[dict-item]
        self.after_answer()
        return answer(200, {**body, "refresh_token": self.live[grant]})


def lost() -> Exception:
    return LostAnswer("made to fail")


def _form(request: HttpRequest) -> dict[str, str]:
    text = request.body.decode()
    return dict(json.loads(text)) if text.startswith("{") else dict(parse_qsl(text))
