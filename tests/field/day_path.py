"""Let a case's answer come to some connections of one client, in 24 simulated hours of the deployed code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from math import inf
from typing import Any

import msgspec

from evergrant.errors import LostResponse, NotSent
from evergrant.http_messages import HttpResponse
from tests.field.case_format import AnswerCase, Day, ExpectedDay
from tests.field.http_path import Fetched
from tests.simulation.responses import format_date
from tests.simulation.scripts import Answer, Known, Truth
from tests.simulation.servers import Terms
from tests.simulation.world import World

_HOURS = 24
#: A consumer of each connection reads its token so often.
_READS_EVERY_SECONDS = 1800
#: What the class of an answer lets our side know of a refresh token that it sent.
_KNOWN: Mapping[str, Known] = {
    "token_set": "granted",
    "not_acted_upon": "not acted upon",
    "refusal": "refused",
    "vague": "refused",
    "not_reached": "not acted upon",
    "unclear": "unclear",
    "lost": "lost",
}


def live_a_day(case: AnswerCase, fetched: Fetched) -> dict[str, Any]:
    """Run the day, and describe what the answer led to, in the terms of ``[day.expect]``."""
    day = case.day
    assert day is not None
    profile = case.load_profile()
    with World(reads_every=_READS_EVERY_SECONDS) as world:
        names = world.connect(
            profile,
            day.connections,
            terms=Terms(lifetime=day.lifetime),
            within=day.lifetime / 2,
            variables=case.bind_variables(profile),
        )
        hit, others = names[: day.hit], names[day.hit :]
        world.trouble(
            build_answer(case, day, fetched),
            profile.name,
            start=day.lifetime + day.begins,
            seconds=inf if day.lasts is None else day.lasts,
            connections=hit,
            times=inf if day.answers is None else day.answers * day.hit,
            truth=find_truth(case, day.expect),
        )
        world.run(day.lifetime + day.begins)
        world.run(hours=_HOURS)
        tracks = world.ledger.tracks
        return {
            "status": sorted({str(world.status(name)) for name in hit}),
            "without": max(tracks[name].seconds_without(world.now) for name in hit) / 60,
            "others_without": max((tracks[name].seconds_without(world.now) for name in others), default=0.0) / 60,
            "asked": sorted(name for name in names if tracks[name].asked_at),
            "requests": max(tracks[name].requests for name in hit),
        }


def find_faults(expected: ExpectedDay, hit: int, got: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return what is not as expected, with both values."""
    faults: dict[str, tuple[Any, Any]] = {}
    if got["status"] != [expected.status]:
        faults["status"] = (expected.status, got["status"])
    if len(got["asked"]) != (hit if expected.asked else 0):
        faults["asked"] = (expected.asked, got["asked"])
    for bound in ("without", "others_without", "requests"):
        limit = getattr(expected, bound)
        # Seconds at the edge of a refresh are no gap that a consumer meets.
        if limit is not None and got[bound] > limit + 0.05:
            faults[bound] = (limit, got[bound])
    return faults


def find_truth(case: AnswerCase, expected: ExpectedDay) -> Truth:
    """Whose trouble it is, by what is expected."""
    if expected.status == "client_refused":
        return "client"
    if not expected.asked:
        return "provider"
    return "request" if case.expect.kind == "malformed" else "grant"


def build_answer(case: AnswerCase, day: Day, fetched: Fetched) -> Answer:
    """Build what becomes of each request: what the real HTTP client has received of this case."""
    known = _KNOWN[case.expect.as_class]
    if isinstance(fetched, LostResponse | NotSent):
        return Answer(known, day.acted_upon, failure=partial(_copy, fetched), seconds=3.0)
    if known == "granted":
        return Answer(known, acts=True, change=partial(_put_tokens, fetched))
    return Answer(known, day.acted_upon, response=partial(_date, fetched))


def _copy(error: LostResponse | NotSent) -> Exception:
    return type(error)(error.message, reason=error.reason)  # type: ignore[arg-type]


def _date(response: HttpResponse, at: float) -> HttpResponse:
    """Date a response by the simulated time, unless it has a date that its Retry-After counts from."""
    if "retry-after" in response.headers:
        return response
    return replace(response, headers={**response.headers, "date": format_date(at)})


def _put_tokens(response: HttpResponse, issued: HttpResponse, at: float) -> HttpResponse:
    """Put the server's own tokens into the case's token set."""
    given, own = json.loads(response.body), json.loads(issued.body)
    body = given | {name: own[name] for name in ("access_token", "refresh_token") if name in own}
    return _date(replace(response, body=msgspec.json.encode(body)), at)
