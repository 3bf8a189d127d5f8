"""Protects a connection that is connected again, deployed: the same account, the old grant until the new one is saved,
and its revocation after. What was revoked is the provider's own word.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from local.providers import ProviderServer
from local.world import World
from tests.stack.deployed import PATIENCE_SECONDS, Control, Journey, force_refresh, state_of


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    with httpx.Client(follow_redirects=False, trust_env=False, timeout=40) as client:
        yield client


@pytest.fixture(scope="module")
def journey(world: World, openid: ProviderServer, http: httpx.Client) -> Callable[..., Journey]:
    def begin(account: str, *more: str) -> Journey:
        answer = json.loads(world.evergrant("connect", f"openid/{account}", "--no-wait", "--json", *more))
        return Journey(http, answer["link"])

    return begin


@contextmanager
def set_to(server: ProviderServer, **settings: Any) -> Iterator[None]:
    before = Control(server).ask("settings")
    Control(server).tell("settings", settings)
    try:
        yield
    finally:
        Control(server).tell("settings", {name: before[name] for name in settings})


def await_revocations(server: ProviderServer, expected: int) -> list[Any]:
    """The grants that were revoked by a request, once there are as many as expected."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        grants = [each for each in Control(server).ask("grants")["grants"] if each["revoked_because"] == "revocation"]
        if len(grants) >= expected or time.monotonic() > deadline:
            return grants
        time.sleep(0.2)


def test_the_same_account_replaces_the_grant_and_revokes_the_old_one(
    world: World, openid: ProviderServer, journey: Callable[..., Journey]
) -> None:
    """Connecting the same account again replaces the grant, and the old grant is revoked."""
    before = Control(openid).ask("stats")["revocations"]
    assert journey("again").walk().status_code == 200
    first = Control(openid).ask("grants")["grants"][-1]
    link = journey("again")
    assert "You connected this before" in link.open().text
    assert "same account as before" in link.open().text
    assert link.walk().status_code == 200
    grants = await_revocations(openid, before + 1)
    assert first["grant"] in [grant["grant"] for grant in grants]
    assert len(grants) == before + 1
    assert state_of(world, "openid/again") == ("active", 2)
    assert "error" not in force_refresh(world, "openid/again"), "the new grant lives"


def test_another_account_is_refused_unless_the_operator_allows_it(
    world: World, openid: ProviderServer, journey: Callable[..., Journey]
) -> None:
    """Another account is refused, and the old grant lives on, unless the operator allows the other account."""
    assert journey("owner").walk().status_code == 200
    with set_to(openid, account="Another Person"):
        answer = journey("owner").walk()
        assert answer.status_code == 403
        assert "wrong_account" in answer.text
        assert "Another Person" not in answer.text
        assert state_of(world, "openid/owner") == ("active", 1)
        assert "error" not in force_refresh(world, "openid/owner"), "what was there before is as good as it was"
        assert journey("owner", "--another-account").walk().status_code == 200
    assert journey("owner").walk().status_code == 403


def test_a_link_that_is_abandoned_half_way_changes_and_revokes_nothing(
    world: World, openid: ProviderServer, journey: Callable[..., Journey]
) -> None:
    assert journey("abandoned").walk().status_code == 200
    before = Control(openid).ask("stats")["revocations"]
    link = journey("abandoned")
    link.consent(link.press(link.cookie()))  # consented, and closed the browser
    denied = journey("abandoned")
    cookie = denied.cookie()
    assert denied.handle_callback(denied.consent(denied.press(cookie), "deny"), cookie).status_code == 403
    assert state_of(world, "openid/abandoned") == ("active", 1)
    assert "error" not in force_refresh(world, "openid/abandoned")
    assert Control(openid).ask("stats")["revocations"] == before


@pytest.mark.parametrize(
    "claims",
    [{"iss": "https://evil.example"}, {"aud": "another-client"}, {"exp": 1}, {"nonce": "another"}, {"nonce": None}],
    ids=lambda claims: next(iter(claims)),
)
def test_an_id_token_that_is_not_for_this_authorization_is_refused(
    world: World, openid: ProviderServer, journey: Callable[..., Journey], claims: dict[str, Any]
) -> None:
    with set_to(openid, id_token_claims=claims):
        assert journey("foreign").walk().status_code == 502
    assert state_of(world, "openid/foreign") == ("awaiting_authorization", 0)


def test_a_grant_without_a_refresh_token_is_refused_with_what_helps(
    world: World, openid: ProviderServer, journey: Callable[..., Journey]
) -> None:
    with set_to(openid, refresh_tokens=False):
        answer = journey("short").walk()
    assert answer.status_code == 502
    assert "Ask for offline access." in answer.text
    assert state_of(world, "openid/short") == ("awaiting_authorization", 0)


def test_what_was_not_granted_is_said_to_both(
    world: World, openid: ProviderServer, journey: Callable[..., Journey]
) -> None:
    with set_to(openid, withheld_scopes="write"):
        answer = journey("less").walk()
    assert answer.status_code == 200
    assert "not allowed" in answer.text
    shown = json.loads(world.evergrant("status", "openid/less", "--json"))["connections"][0]
    assert (shown["status"], shown["missing_scope"], shown["health"]) == ("active", "write", "watch")
