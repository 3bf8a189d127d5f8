"""Protects the log-in as a grant: it needs no person, refreshes while it can, and else logs in again."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from evergrant.errors import LostResponse
from evergrant.oauth.client import Client
from evergrant.profiles import built_in
from evergrant.record import token_save
from evergrant.record.status import Status
from evergrant.secret import Secret
from evergrant.settings import Settings
from tests.unit.memory import answer, seal_for
from tests.unit.rotation_world import NAME, World, world
from tests.unit.samples import NOW, SEALED, acme, connection, tokens

INVESTSUITE = built_in.load_built_in()["investsuite"]
CREDENTIALS = {"username": Secret("ann"), "password": Secret("canary-password")}
GRANTED = answer(200, {"access_token": "access-1", "refresh_token": "refresh-1", "expires_at": 300})
REFUSED = answer(403, b"")


def logging_in(**fields: Any) -> World:
    w = world(INVESTSUITE, lifetime=300, grant="login", **{"variables": {"host": "api.example.com"}, **fields})
    entry = w.vault.clients["keap"] = Client("keap", None, (), ("api.example.com",), CREDENTIALS)
    if w.record().sealed:
        w.records.items[NAME] = replace(w.record(), sealed=seal_for(w.record(), INVESTSUITE, w.stored, entry))
    return w


def list_requests(w: World) -> list[tuple[str, set[str]]]:
    return [(request.url.split("/auth/")[1], set(json.loads(request.body))) for request in w.provider.requests]


REFRESH, LOGIN = ("refresh-token/", {"refresh_token"}), ("login/", {"username", "password"})


def test_the_first_token_comes_by_a_log_in() -> None:
    w = logging_in(status=Status.AWAITING_AUTHORIZATION, generation=0, published_generation=0, sealed=None)
    w.provider.script = [GRANTED]
    assert w.run(caller_waits=True, force=True).outcome == "rotated"
    assert list_requests(w) == [LOGIN]


def test_the_next_one_comes_by_a_refresh() -> None:
    w = logging_in()
    w.provider.script = [GRANTED]
    assert w.run().outcome == "rotated"
    assert list_requests(w) == [REFRESH]


@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_refused_refresh_is_followed_by_a_log_in_at_once(status: int) -> None:
    w = logging_in()
    w.provider.script = [answer(status, b""), GRANTED]
    assert w.run().outcome == "rotated"
    assert list_requests(w) == [REFRESH, LOGIN]
    assert w.record().status is Status.ACTIVE
    assert w.record().failures == 0


def test_a_refused_log_in_blames_the_client_and_requires_no_person() -> None:
    w = logging_in()
    w.provider.script = [REFUSED, REFUSED]
    w.run()
    assert w.record().status is Status.CLIENT_REFUSED


def test_a_lost_response_is_no_doubt_where_one_can_log_in() -> None:
    w = logging_in()
    w.provider.script = [LostResponse("gone"), REFUSED, GRANTED]
    assert w.run().outcome == "rotated"
    assert list_requests(w) == [REFRESH, REFRESH, LOGIN]


def test_a_busy_provider_is_not_logged_in_to() -> None:
    w = logging_in()
    w.provider.script = [answer(429, b"")]
    w.run()
    assert list_requests(w) == [REFRESH]


def test_a_date_that_refreshing_does_not_move_hurries_no_refresh() -> None:
    """Else each refresh would bring the next one nearer, without end, as the date comes."""
    near = tokens(lifetime=86_400, refresh_expires_at=NOW + 60)
    at = {}
    for life in ("hard", "idle"):
        profile = acme(f'[rotation]\nrefresh_token_life = "{life}"')
        at[life] = (
            token_save.save_token_set(connection(), near, SEALED, profile, Settings(), NOW).fields["refresh_at"] or 0
        )
    assert at["idle"] < NOW + 60 < NOW + 43_200 <= at["hard"]
