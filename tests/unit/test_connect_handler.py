"""Protects the browser's ways in: every request gets a page of the right status, and does no more than it says."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from evergrant.connect import pages
from evergrant.connect.handler import respond
from evergrant.connect.state_cookie import COOKIE
from local.browser import find_refresh
from tests.unit.test_authorization_flow import World, world

SAME_ORIGIN = {"sec_fetch_site": "same-origin"}


def ask(
    w: World,
    method: str,
    path: str = "/connect/{ticket}",
    query: str = "",
    cookie: str = "",
    *,
    provider: str | None = None,
    **headers: str,
) -> Any:
    event = {
        "routeKey": f"ANY {path}",
        "requestContext": {"http": {"method": method}},
        "pathParameters": {"ticket": w.ticket}
        if "{ticket}" in path
        else {"provider": provider}
        if provider is not None
        else None,
        "rawQueryString": query,
        "headers": {name.replace("_", "-"): value for name, value in headers.items()},
        "cookies": [f"{COOKIE}={cookie}"] if cookie else [],
    }
    return respond(w.flow, event)


def cookie_in(answer: Any) -> str:
    (line,) = answer["cookies"]
    return str(line.partition(";")[0].partition("=")[2])


def state_in(answer: Any) -> str:
    """The state in the address that the answer to the button leads on to."""
    return parse_qs(urlsplit(find_refresh(answer["body"]) or "").query)["state"][0]


def is_untouched(w: World) -> bool:
    return w.provider.requests == [] and w.record().generation == 0


def test_a_head_of_the_link_is_answered_as_a_get_without_its_body() -> None:
    w = world()
    before = str(w.authorizations.items)
    shown, asked = ask(w, "GET"), ask(w, "HEAD")
    assert (asked["statusCode"], asked["body"]) == (200, "")
    assert {**asked["headers"]} == {**shown["headers"]}
    assert shown["body"]
    assert str(w.authorizations.items) == before


def test_a_head_of_a_link_that_is_no_more_says_so_too() -> None:
    w = world()
    w.clock.advance(10_000)
    assert (ask(w, "HEAD")["statusCode"], ask(w, "GET")["statusCode"]) == (410, 410)


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        *(
            (method, "/connect/{ticket}", "GET, HEAD, POST")
            for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE")
        ),
        *((method, "/callback", "GET") for method in ("HEAD", "POST", "PUT", "OPTIONS", "DELETE")),
    ],
)
def test_another_method_does_nothing_and_is_answered_with_the_allowed(method: str, path: str, allow: str) -> None:
    w = world()
    started, params = w.start_authorization()
    answer = ask(w, method, path, f"state={params['state']}&code=code-1", started.cookie)
    assert (answer["statusCode"], answer["headers"]["allow"]) == (405, allow)
    assert is_untouched(w)
    assert w.handle_callback(params["state"], started.cookie), "the state is as good as before"


def test_an_unknown_route_is_a_page_too() -> None:
    assert ask(world(), "GET", "/elsewhere")["statusCode"] == 404


def test_the_whole_way_is_one_cookie_and_one_exchange() -> None:
    w = world()
    cookie = cookie_in(ask(w, "GET"))
    sent = ask(w, "POST", cookie=cookie, **SAME_ORIGIN)
    assert sent["statusCode"] == 200
    assert sent["cookies"] == []
    state = state_in(sent)
    assert ask(w, "GET", "/callback", f"state={state}&code=code-1", cookie)["statusCode"] == 200
    assert len(w.provider.requests) == 1


@pytest.mark.parametrize("sent", ["", "x", "v" * 42])
def test_the_cookie_is_set_where_the_browser_sent_no_valid_one(sent: str) -> None:
    w = world()
    cookie = cookie_in(ask(w, "GET", cookie=sent))
    assert cookie not in ("", sent)
    assert ask(w, "GET", cookie=cookie)["cookies"] == []


def test_the_button_is_answered_by_a_page_that_leads_on_without_a_redirect() -> None:
    """Chromium applies the first page's form-action to every redirect of the submission, the provider's included."""
    w = world()
    shown = ask(w, "GET")
    sent = ask(w, "POST", cookie=cookie_in(shown), **SAME_ORIGIN)
    assert "form-action 'self';" in shown["headers"]["content-security-policy"]
    assert "location" not in sent["headers"]
    assert sent["headers"] == pages.build_headers()
    assert "<form" not in sent["body"]
    assert "script" not in sent["body"]


def test_a_button_pressed_twice_gives_two_redirects_and_one_grant() -> None:
    """A button that is pressed twice leads to the provider twice, and to one grant."""
    w = world()
    cookie = cookie_in(ask(w, "GET"))
    sent = [ask(w, "POST", cookie=cookie, **SAME_ORIGIN) for _ in range(2)]
    assert [answer["statusCode"] for answer in sent] == [200, 200]
    states = [state_in(answer) for answer in sent]
    arrived = [ask(w, "GET", "/callback", f"state={state}&code=code-{state}", cookie)["statusCode"] for state in states]
    assert arrived == [200, 410]
    assert len(w.provider.requests) == 1


def test_a_browser_without_cookies_is_warned_before_it_leaves() -> None:
    w = world()
    answer = ask(w, "POST", **SAME_ORIGIN)
    assert (answer["statusCode"], "no_cookie" in answer["body"]) == (403, True)
    assert find_refresh(answer["body"]) is None
    assert "location" not in answer["headers"]
    assert ask(w, "GET")["statusCode"] == 200, "the link is as good as before"


@pytest.mark.parametrize("kind", ["text/plain", "application/json", "multipart/form-data; boundary=x"])
def test_a_post_that_no_button_sent_is_refused(kind: str) -> None:
    w = world()
    answer = ask(w, "POST", cookie=cookie_in(ask(w, "GET")), content_type=kind, sec_fetch_site="same-origin")
    assert answer["statusCode"] == 415
    assert "cookie_hash" not in str(w.authorizations.items)


@pytest.mark.parametrize(
    "query",
    [
        "state={s}&state={s}&code=code-1",
        "state={s}&code=code-1&code=x",
        "state={s}&code=%0d%0aSet-Cookie:x",
        "code=" + "x" * 16_384,
    ],
)
def test_an_answer_that_cannot_be_read_uses_up_nothing(query: str) -> None:
    w = world()
    started, params = w.start_authorization()
    answer = ask(w, "GET", "/callback", query.format(s=params["state"]), started.cookie)
    assert answer["statusCode"] == 400
    assert is_untouched(w)
    assert w.handle_callback(params["state"], started.cookie)


@pytest.mark.parametrize(
    "query", ["", "next=https://evil.example", "redirect_uri=//evil.example&return_to=/x", "url=%0d%0a"]
)
def test_no_parameter_steers_where_the_browser_is_sent(query: str) -> None:
    w = world()
    headers = {"host": "evil.example", "x_forwarded_host": "evil.example", "referer": "https://evil.example/"}
    sent = ask(
        w, "POST", query=query, cookie=cookie_in(ask(w, "GET", query=query)), sec_fetch_site="same-origin", **headers
    )
    assert (find_refresh(sent["body"]) or "").startswith("https://login.example.com/app/oauth/authorize?")
    assert "evil" not in str(sent)
