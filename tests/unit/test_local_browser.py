"""Protects the demo and the stack tests from a browser of theirs that is more lenient than people's."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from local.browser import Browser, BrowsingError

PAGE = '<title>Connect</title><form method="post" action=""><input type="hidden" name="a" value="1"></form>'
Answer = Callable[[httpx.Request], httpx.Response]


def test_a_form_goes_nowhere_form_action_forbids_even_by_redirect() -> None:
    """A form goes nowhere that the page does not allow, not even by a redirect."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return httpx.Response(303, headers={"location": "http://127.0.0.1:2/authorize"})
        policy = "default-src 'none'; form-action 'self' http://127.0.0.1:3"
        return httpx.Response(200, html=PAGE, headers={"content-security-policy": policy})

    with browser(answer) as tab:
        page = tab.open("http://127.0.0.1:1/connect/x")
        with pytest.raises(BrowsingError, match=r"form-action does not allow http://127\.0\.0\.1:2"):
            tab.submit(page, page.forms[0])


def test_a_form_sends_its_fields_and_says_where_it_comes_from() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, html=PAGE)

    with browser(answer) as tab:
        page = tab.open("http://127.0.0.1:1/connect/x")
        tab.submit(page, page.forms[0])

    assert [request.headers["sec-fetch-site"] for request in seen] == ["none", "same-origin"]
    assert (seen[1].method, seen[1].content) == ("POST", b"a=1")
    assert seen[1].headers["origin"] == "http://127.0.0.1:1"


def test_a_redirect_after_a_form_becomes_get_and_keeps_cross_site() -> None:
    """A redirect after a form is followed by GET, and remembers the other site."""
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        if request.method == "POST":
            return httpx.Response(303, headers={"location": "http://localhost:2/back"})
        return httpx.Response(200, html=PAGE)

    with browser(answer) as tab:
        page = tab.open("http://127.0.0.1:1/connect/x")
        tab.submit(page, page.forms[0])

    assert (seen[2].method, seen[2].headers["sec-fetch-site"]) == ("GET", "cross-site")


def test_a_page_that_leads_on_is_followed_as_a_navigation_of_its_own() -> None:
    """The form-action of the page before it does not apply to where it leads, nor to redirects from there."""
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        if request.method == "POST":
            return httpx.Response(
                200, html='<meta http-equiv="refresh" content="0;url=http://localhost:2/a?b=1&amp;c=2">'
            )
        if request.url.port == 2:
            return httpx.Response(302, headers={"location": "http://localhost:3/consent"})
        return httpx.Response(200, html=PAGE, headers={"content-security-policy": "form-action 'self'"})

    with browser(answer) as tab:
        page = tab.open("http://127.0.0.1:1/connect/x")
        consent = tab.submit(page, page.forms[0])

    assert consent.url == "http://localhost:3/consent"
    assert [(request.method, str(request.url)) for request in seen[2:]] == [
        ("GET", "http://localhost:2/a?b=1&c=2"),
        ("GET", "http://localhost:3/consent"),
    ]
    assert [request.headers["sec-fetch-site"] for request in seen[2:]] == ["cross-site", "cross-site"]


@pytest.mark.parametrize(
    "content", ["0;url='http://x/'", "0;url=http://x/ y", "0", "5;url=http://x/", '0;url="http://x/']
)
def test_a_refresh_that_browsers_may_read_differently_is_refused(content: str) -> None:
    html = (
        f"<meta http-equiv=refresh content='{content}'>"
        if '"' in content
        else (f'<meta http-equiv="refresh" content="{content}">')
    )
    with (
        browser(lambda request: httpx.Response(200, html=html)) as tab,
        pytest.raises(BrowsingError, match="refresh"),
    ):
        tab.open("http://127.0.0.1:1/")


@pytest.mark.parametrize("flawed", ["; Path=/", "; Secure", "; Secure; Path=/x", "; Secure; Path=/; Domain=127.0.0.1"])
def test_a_host_cookie_without_what_its_name_promises_is_not_kept(flawed: str) -> None:
    with (
        browser(lambda request: httpx.Response(200, html=PAGE, headers={"set-cookie": f"__Host-a=1{flawed}"})) as tab,
        pytest.raises(BrowsingError, match="would not keep __Host-a"),
    ):
        tab.open("http://127.0.0.1:1/")


def test_a_cookie_comes_back_to_its_host_and_to_no_other() -> None:
    seen: dict[str, str | None] = {}

    def answer(request: httpx.Request) -> httpx.Response:
        seen[f"{request.url.host}:{request.url.port}"] = request.headers.get("cookie")
        return httpx.Response(200, html=PAGE, headers={"set-cookie": "__Host-a=1; Secure; Path=/; HttpOnly"})

    with browser(answer) as tab:
        for url in ("http://127.0.0.1:1/", "http://127.0.0.1:2/", "http://localhost:1/"):
            tab.open(url)

    assert seen == {"127.0.0.1:1": None, "127.0.0.1:2": "__Host-a=1", "localhost:1": None}


def browser(answer: Answer) -> Browser:
    return Browser(httpx.MockTransport(answer))
