"""Protects what is known of an authorization that failed: the right page, and the reason for the operator."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from evergrant.connect.links import read_progress
from evergrant.errors import LostResponse, NotSent
from evergrant.http_messages import HttpResponse
from evergrant.link_errors import Denied, LinkInvalid, ProviderRefused
from evergrant.profiles import built_in
from evergrant.record.status import Status
from evergrant_cli.codes import describe_link_problem
from tests.unit.memory import answer
from tests.unit.test_authorization_flow import KEAP, NAME, World, with_profile, world
from tests.unit.test_connect_handler import ask

LINKEDIN = built_in.load_built_in()["linkedin"]


def refuse(w: World, **params: str) -> dict[str, str]:
    """Come back from the provider with these parameters. Returns the state that was sent there."""
    started, sent = w.start_authorization()
    w.flow.handle_callback({"state": sent["state"], **params}, started.cookie)
    return sent


# --- what the callback says -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["access_denied", "consent_required"])
def test_a_person_who_declines_gets_the_page_of_a_denial(code: str) -> None:
    w = world()
    with pytest.raises(Denied):
        refuse(w, error=code)
    assert w.provider.requests == []


@pytest.mark.parametrize("code", ["user_cancelled_login", "user_cancelled_authorize"])
def test_a_profile_names_the_codes_of_its_provider_for_a_denial(code: str) -> None:
    w = with_profile(msgspec.structs.replace(KEAP, callback=LINKEDIN.callback))
    with pytest.raises(Denied) as denied:
        refuse(w, error=code)
    assert denied.value.failure is not None
    assert denied.value.failure.error == code
    with pytest.raises(ProviderRefused) as refused:
        refuse(world(), error=code)
    assert refused.value.failure is not None
    assert refused.value.failure.error == "refused", "another profile does not know the code"


@pytest.mark.parametrize("code", ["login_required", "interaction_required", "account_selection_required"])
def test_a_person_who_did_not_finish_is_asked_to_sign_in(code: str) -> None:
    w = world()
    started, sent = w.start_authorization()
    page = ask(w, "GET", "/callback", f"state={sent['state']}&error={code}", started.cookie)
    assert page["statusCode"] == 403
    assert "Sign in at the other service" in page["body"]
    assert "<code>not_finished</code>" in page["body"]
    reloaded = ask(w, "GET", "/callback", f"state={sent['state']}&error={code}", started.cookie)
    assert reloaded["body"] == page["body"]


@pytest.mark.parametrize("state", [{}, {"state": ""}])
def test_a_denial_without_its_state_shows_the_page_and_changes_nothing(state: dict[str, str]) -> None:
    w = world()
    started, sent = w.start_authorization()
    before = str(w.authorizations.items), w.record()
    with pytest.raises(Denied):
        w.flow.handle_callback({"error": "access_denied", **state}, started.cookie)
    assert (str(w.authorizations.items), w.record()) == before
    assert w.handle_callback(sent["state"], started.cookie), "the authorization is still pending"


@pytest.mark.parametrize(("cookie", "params"), [(None, {"error": "access_denied"}), ("c", {"error": "server_error"})])
def test_without_state_a_stranger_or_another_error_learns_nothing(cookie: str | None, params: dict[str, str]) -> None:
    with pytest.raises(LinkInvalid):
        world().flow.handle_callback(params, cookie)


def test_a_denial_with_an_unknown_state_is_none() -> None:
    with pytest.raises(LinkInvalid):
        world().flow.handle_callback({"error": "access_denied", "state": "made-up"}, "c")


# --- what the operator learns -----------------------------------------------------------------------------------------

HTML = HttpResponse(403, {"content-type": "text/html; charset=utf-8"}, b"<h1>canary</h1>")
EXCHANGES = [
    (LostResponse("x", reason="timeout"), {"reason": "timeout"}, "did not respond in time"),
    (LostResponse("x", reason="reset"), {"reason": "reset"}, "connection was reset"),
    (NotSent("x", reason="dns"), {"reason": "dns"}, "could not be resolved"),
    (
        answer(503, b""),
        {"status": 503, "content_type": "application/json"},
        "the provider failed at the code's exchange",
    ),
    (HTML, {"status": 403, "content_type": "text/html"}, "a page of HTML"),
    (
        answer(401, {"error": "invalid_client", "error_description": "canary"}),
        {"status": 401, "error": "invalid_client", "content_type": "application/json"},
        "refused the code's exchange (HTTP 401, invalid_client)",
    ),
    (
        answer(200, {"canary_token": "canary"}),
        {"status": 200, "content_type": "application/json", "reason": "unreadable"},
        "holds no token set where the profile looks for it (HTTP 200)",
    ),
]


@pytest.mark.parametrize(("response", "expected", "words"), EXCHANGES, ids=[words for *_, words in EXCHANGES])
def test_each_way_that_an_exchange_fails_is_known_where_it_is_looked_for(
    response: Any, expected: dict[str, Any], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The log names the connection; the record and the operator who waits have the same values and words."""
    w = world()
    started, sent = w.start_authorization()
    w.provider.script = [response]
    with caplog.at_level(logging.INFO):
        ask(w, "GET", "/callback", f"state={sent['state']}&code=code-1", started.cookie)
    failure = {"step": "exchange", **expected}
    assert w.record().authorization_failure == {"code": "provider_refused", "at": int(w.clock.now()), **failure}
    progress, problem = read_progress(w.authorizations, w.ticket)
    assert problem is not None
    assert (progress, problem.code, dict(problem.failure)) == ("opened", "provider_refused", failure)
    assert words in describe_link_problem(problem.code, "keap", problem.failure)
    [logged] = [vars(line) for line in caplog.records if line.getMessage() == "connect refused"]
    assert logged["connection"] == NAME
    assert {name: logged.get(f"provider_{name}") for name in failure} == failure
    assert "canary" not in str(logged) + str(w.record()) + str(w.authorizations.items)


def test_a_refusal_at_the_callback_is_known_by_its_code() -> None:
    w = world()
    with pytest.raises(ProviderRefused):
        refuse(w, error="invalid_scope")
    _, problem = read_progress(w.authorizations, w.ticket)
    assert problem is not None
    assert describe_link_problem(problem.code, "keap", problem.failure).endswith("(invalid_scope)")


def test_a_failed_attempt_leaves_the_grant_that_works_as_it_was() -> None:
    w = world(status=Status.ACTIVE, generation=7, last_error=None)
    before = w.record()
    with pytest.raises(Denied):
        refuse(w, error="access_denied")
    after = w.record()
    assert after.authorization_failure is not None
    assert replace(after, authorization_failure=None) == before


def test_a_grant_that_is_saved_clears_the_failed_attempt() -> None:
    w = world()
    started, sent = w.start_authorization()
    with pytest.raises(Denied):
        w.flow.handle_callback({"state": sent["state"], "error": "access_denied"}, started.cookie)
    assert w.record().authorization_failure
    started, sent = w.start_authorization(started.cookie)
    w.handle_callback(sent["state"], started.cookie)
    assert w.record().authorization_failure is None
