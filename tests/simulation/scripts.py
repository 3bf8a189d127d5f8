"""What goes wrong at providers, as a script: what, for whom, from when to when, and what is then true.

A script says the truth beside the answer, so that a run is judged by what happened and not by what the product makes of
it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from math import inf
from typing import Any, Literal

from evergrant.errors import LostResponse, NotSent
from evergrant.http_messages import HttpResponse
from tests.simulation import responses

#: Whose trouble it is. "provider": it passes, and asks no owner. "grant": that of the account's owner.
#: "client": the operator's. "request": the request is refused although nothing else is wrong.
Truth = Literal["provider", "grant", "client", "request"]
#: What our side can know of a refresh token that it sent.
Known = Literal["granted", "refused", "not acted upon", "unclear", "lost", "not sent"]


@dataclass(frozen=True)
class Answer:
    """What becomes of one request: whether the server acts upon it, and what arrives.

    ``response`` replaces the server's own; ``change`` alters it. ``failure`` arrives instead, after ``seconds``; else
    ``seconds`` is how long the answer takes, None for the usual time.
    """

    known: Known
    acts: bool = False
    response: Callable[[float], HttpResponse] | None = None
    failure: Callable[[], Exception] | None = None
    seconds: float | None = None
    change: Callable[[HttpResponse, float], HttpResponse] | None = None
    name: str = ""


Behaviour = Callable[[], Answer]


@dataclass
class Trouble:
    """Something wrong from ``start`` to ``end`` (epoch seconds), in ``share`` of the requests, for so many ``times``.

    It is of all requests to ``provider`` (the profile's name), or of those of some ``connections``.
    """

    start: float
    end: float
    provider: str
    answer: Answer
    truth: Truth = "provider"
    connections: Collection[str] = ()
    share: float = 1.0
    times: float = inf

    def is_active(self, now: float) -> bool:
        return self.start <= now < self.end

    def concerns(self, connection: str | None) -> bool:
        return not self.connections or connection in self.connections


@dataclass
class Script:
    """All troubles of a run, the first of which that strikes a request counts."""

    troubles: list[Trouble] = field(default_factory=list)

    def find(self, provider: str, connection: str | None, now: float, chance: Callable[[], float]) -> Trouble | None:
        """Return the first trouble that strikes a request."""
        for trouble in self.troubles:
            if trouble.provider != provider or not trouble.is_active(now) or not trouble.concerns(connection):
                continue
            if trouble.times > 0 and (trouble.share >= 1 or chance() < trouble.share):
                trouble.times -= 1
                return trouble
        return None

    def truths(self, provider: str, connection: str, now: float, since: float = 0) -> set[Truth]:
        """Return whose trouble it is, of those that have been active since so many seconds."""
        return {
            trouble.truth
            for trouble in self.troubles
            if trouble.provider == provider
            and trouble.start <= now
            and trouble.end > now - since
            and trouble.concerns(connection)
        }


# --- whole answers ----------------------------------------------------------------------------------------------------


def says(status: int, body: Mapping[str, Any] | bytes = b"", known: Known = "refused", **headers: str) -> Answer:
    """A whole answer, by the server or something before it, which does not act."""
    kind = "page" if body == responses.PAGE else body.get("error", "") if isinstance(body, Mapping) else "empty"
    return Answer(known, response=lambda at: responses.answer(status, body, at, **headers), name=f"{status} {kind}")


def error(status: int, code: str, description: str | None = None) -> Answer:
    """An error response of RFC 6749 section 5.2."""
    body = {"error": code} | ({"error_description": description} if description else {})
    return says(status, body)


def page(status: int, **headers: str) -> Answer:
    """A page of something that stands before the server. It is unclear where the status may come from the server."""
    retried = status == 503 and "retry_after" in headers
    known: Known = "unclear" if (status >= 500 and not retried) or status < 300 else "not acted upon"
    return says(status, responses.PAGE, known, **headers)


def wait(seconds: int | str, status: int = 429) -> Answer:
    """An answer that names the time of the next request."""
    return says(status, {"error": "slow_down"}, "not acted upon", retry_after=str(seconds))


def acts_and_says(status: int) -> Answer:
    """The server acts, and a page arrives."""
    response = partial(responses.answer, status, responses.PAGE)
    return Answer("unclear", acts=True, response=response, name=f"{status} page, acted")


# --- no answer --------------------------------------------------------------------------------------------------------


def lost(*, acts: bool, seconds: float = 3.0) -> Answer:
    """The connection is reset after the request was sent."""
    return Answer("lost", acts, failure=lambda: LostResponse("made to fail"), seconds=seconds, name="lost")


def not_sent() -> Answer:
    """No connection comes about."""
    return Answer("not sent", failure=lambda: NotSent("made to fail"), seconds=0.1, name="no connection")


def slow(seconds: float) -> Answer:
    """The server acts and answers late, perhaps too late."""
    return Answer("granted", acts=True, seconds=seconds, name=f"{seconds:g} s")


# --- answers that are odd ---------------------------------------------------------------------------------------------


def with_an_epoch() -> Answer:
    """The server states the moment of the expiry where a lifetime is expected."""

    def change(response: HttpResponse, at: float) -> HttpResponse:
        body = json.loads(response.body)
        if "expires_in" in body:
            body["expires_in"] += int(at)
        return replace(response, body=json.dumps(body).encode())

    return Answer("granted", acts=True, change=change, name="an epoch")


def with_fields(fields: Callable[[float], Mapping[str, Any]]) -> Answer:
    """The server acts, and some fields of its token response are others. They may depend on the time."""

    def change(response: HttpResponse, at: float) -> HttpResponse:
        body = {**json.loads(response.body), **fields(at)}
        return replace(response, body=json.dumps(body).encode())

    return Answer("granted", acts=True, change=change, name="other fields")
