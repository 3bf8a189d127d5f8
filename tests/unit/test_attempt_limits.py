"""Protects a client's secret from being sent again and again: a link, and a connection in a day, has a few attempts."""

from __future__ import annotations

from typing import Any

import pytest

from evergrant.connect import attempt_limits, operator_actions
from evergrant.connect.attempt_limits import MAX_PER_CONNECTION, MAX_PER_LINK, AttemptLimits
from evergrant.connect.links import issue_ticket, read_progress, ticket_key
from evergrant.errors import Conflict, TemporarilyUnavailable
from evergrant.link_errors import Denied, LinkInvalid, ProviderRefused, TooManyAttempts
from tests.unit.memory import FakeClock, MemoryAuthorizations, answer
from tests.unit.test_authorization_flow import KEAP, NAME, REDIRECT_URI, World, world
from tests.unit.test_connect_handler import SAME_ORIGIN, ask

REFUSED = answer(400, {"error": "invalid_request"})


def renew_link(w: World) -> None:
    wanted, _ = operator_actions.plan(
        KEAP, NAME, variables={"host": "api.example.com", "login_host": "login.example.com"}, redirect_uri=REDIRECT_URI
    )
    w.ticket = issue_ticket(w.authorizations, wanted, int(w.clock.now()))


def fail(w: World, code: str) -> None:
    """Come back with a code, which the provider refuses."""
    started, params = w.start_authorization(COOKIE)
    w.provider.script = [REFUSED]
    w.flow.handle_callback({"state": params["state"], "code": code}, started.cookie)


COOKIE = "c" * 43


def test_a_link_is_started_a_few_times_and_then_says_to_ask_for_a_new_one() -> None:
    w = world()
    for _ in range(MAX_PER_LINK["starts"]):
        w.start_authorization(COOKIE)
    page = ask(w, "POST", cookie=COOKIE, **SAME_ORIGIN)
    assert page["statusCode"] == 429
    assert "<code>too_many_attempts</code>" in page["body"]
    assert "for a new link" in page["body"]
    _, problem = read_progress(w.authorizations, w.ticket)
    assert problem is not None
    assert problem.code == "too_many_attempts"
    renew_link(w)
    assert w.start_authorization(COOKIE)


def test_fewer_codes_of_a_link_are_exchanged_than_it_is_started() -> None:
    w = world()
    for number in range(MAX_PER_LINK["exchanges"]):
        with pytest.raises(ProviderRefused):
            fail(w, f"code-{number}")
    with pytest.raises(TooManyAttempts):
        fail(w, "code-x")
    assert len(w.provider.requests) == MAX_PER_LINK["exchanges"] < MAX_PER_LINK["starts"]


def test_a_denial_is_no_exchange() -> None:
    w = world()
    for _ in range(MAX_PER_LINK["exchanges"] + 1):
        started, params = w.start_authorization(COOKIE)
        with pytest.raises(Denied):
            w.flow.handle_callback({"state": params["state"], "error": "access_denied"}, started.cookie)
    started, params = w.start_authorization(COOKIE)
    assert w.handle_callback(params["state"], started.cookie)


def test_another_browser_uses_up_no_attempt() -> None:
    w = world()
    w.start_authorization(COOKIE)
    for _ in range(MAX_PER_LINK["starts"]):
        assert ask(w, "POST", cookie="o" * 43, **SAME_ORIGIN)["statusCode"] == 403
    assert w.start_authorization(COOKIE)


def test_a_new_link_does_not_renew_what_its_connection_has_in_a_day() -> None:
    w = world()
    for number in range(MAX_PER_CONNECTION["exchanges"]):
        renew_link(w)
        with pytest.raises(ProviderRefused):
            fail(w, f"code-{number}")
    renew_link(w)
    with pytest.raises(TooManyAttempts):
        fail(w, "code-x")
    assert len(w.provider.requests) == MAX_PER_CONNECTION["exchanges"]
    w.clock.advance(86_400)
    renew_link(w)
    with pytest.raises(ProviderRefused):
        fail(w, "code-y")


def test_a_connection_is_started_so_often_in_a_day() -> None:
    w = world()
    for number in range(MAX_PER_CONNECTION["starts"]):
        if number % MAX_PER_LINK["starts"] == 0:
            renew_link(w)
        w.start_authorization(COOKIE)
    renew_link(w)
    with pytest.raises(TooManyAttempts):
        w.start_authorization(COOKIE)


# --- counting ---------------------------------------------------------------------------------------------------------


class Racing(MemoryAuthorizations):
    """Another request counts between each read and write, so many times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def get(self, key: str) -> dict[str, Any] | None:
        found = super().get(key)
        if self.times:
            self.times -= 1
            self.items.setdefault(key, {})
            self.items[key]["starts"] = self.items[key].get("starts", 0) + 1
        return found


def test_attempts_at_the_same_time_are_all_counted() -> None:
    racing = Racing(3)
    racing.items[ticket_key("t")] = {}
    AttemptLimits(racing, FakeClock()).count(ticket_key("t"), NAME, "starts")
    assert sorted(item["starts"] for item in racing.items.values()) == [1, 4]


def test_a_race_without_an_end_is_given_up() -> None:
    racing = Racing(0)
    racing.items[ticket_key("t")] = {}

    def conflict(*_: Any, **__: Any) -> None:
        raise Conflict("The authorization", {})

    racing.change = conflict  # type: ignore[method-assign]
    with pytest.raises(TemporarilyUnavailable):
        AttemptLimits(racing, FakeClock()).count(ticket_key("t"), NAME, "starts")


def test_a_link_that_is_gone_is_not_made_anew() -> None:
    authorizations = MemoryAuthorizations()
    with pytest.raises(LinkInvalid):
        AttemptLimits(authorizations, FakeClock()).count(ticket_key("t"), NAME, "starts")
    assert authorizations.items == {}


def test_the_count_of_a_day_is_purged_after_it() -> None:
    w = world()
    w.start_authorization(COOKIE)
    [(key, item)] = [pair for pair in w.authorizations.items.items() if pair[0].startswith("attempts#")]
    day = int(key.rpartition("#")[2])
    assert day * 86_400 <= w.clock.now() < (day + 1) * 86_400 < item["purge_at"]
    assert attempt_limits.MAX_PER_LINK["starts"] == 10
