"""Protects how each page looks and reads: on a phone and a desk, in light and dark, by eye and by screen reader."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import pytest
from axe_playwright_python.base import AxeResults
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route, ViewportSize

from evergrant import link_errors
from evergrant.connect import pages
from evergrant.connect.scopes import ReconnectChanges
from evergrant.errors import EvergrantError
from evergrant.link_errors import LinkError
from tests.browser.pictures import Pictures

HOST = "accounts.infusionsoft.com"
#: The longest that a page may have to show, beside what it usually shows.
LONG = "Donaudampfschifffahrtsgesellschaft Online Accounting (Enterprise Edition)"
LONG_ACCOUNT = "acme-holding-international-gmbh-bookkeeping-department-2"
SCOPES = ("https://www.googleapis.com/auth/spreadsheets.readonly", "offline_access", "accounting.transactions.read")
CONTACT = "the finance systems team (finance-systems-helpdesk@international.example.com, ext. 4711)"
REFUSALS = [
    kind
    for kind in vars(link_errors).values()
    if isinstance(kind, type) and issubclass(kind, LinkError) and kind is not LinkError
]
TARGET = f"https://{HOST}/app/oauth/authorize?client_id=acme&state=A-1"
PAGES = {
    "landing": pages.render_landing("Keap (Infusionsoft)", "main", ("full",), HOST),
    "landing-long": pages.render_landing(LONG, LONG_ACCOUNT, SCOPES, f"login.{HOST}", CONTACT),
    "landing-again": pages.render_landing(
        "Keap (Infusionsoft)",
        "main",
        ("read", "write"),
        HOST,
        changes=ReconnectChanges(
            client=("acme-old", "acme"), gained=("write",), lost=("full",), new_profile=True, same_account=True
        ),
    ),
    "opening": pages.render_opening("Keap (Infusionsoft)", TARGET),
    "opening-long": pages.render_opening(LONG, TARGET.replace("https://", "https://login."), CONTACT),
    "connected": pages.render_connected("Keap (Infusionsoft)", "main", ("full",)),
    "connected-long": pages.render_connected(LONG, LONG_ACCOUNT, SCOPES, CONTACT),
    "connected-partly": pages.render_connected("Google", "main", SCOPES, missing=SCOPES[:1]),
    **{kind.code: pages.render_refused(kind("")) for kind in REFUSALS},
    "our-fault": pages.render_refused(EvergrantError(""), CONTACT),
}
#: 320 px is also what 1280 px are at 400 % zoom (WCAG 2.2, success criterion 1.4.10).
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
SIZES = {"phone": ViewportSize(width=320, height=640), "desk": ViewportSize(width=1280, height=800)}


@pytest.fixture(scope="module")
def tab(chromium: Browser) -> Iterator[Page]:
    """A tab for which https://grants.example.com answers with our pages and their very headers."""
    context = chromium.new_context(reduced_motion="reduce")

    def answer(route: Route) -> None:
        if HOST in route.request.url:
            route.fulfill(status=204)  # no page to go to: the one that leads there stays, to be looked at
            return
        html = PAGES.get(route.request.url.rpartition("/")[2])
        route.fulfill(
            status=200 if html else 404, headers=pages.build_headers(form="<form" in (html or "")), body=html or ""
        )

    context.route("**/*", answer)
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("what", PAGES)
def test_a_page_is_accessible(tab: Page, what: str, pictures: Pictures) -> None:
    address, complaints, asked = f"https://grants.example.com/connect/{what}", list[str](), list[str]()
    tab.on("console", lambda message: complaints.append(message.text))
    tab.on("request", lambda request: asked.append(request.url))
    if what.startswith("opening"):
        with tab.expect_request(lambda request: HOST in request.url):
            tab.goto(address)
        assert HOST in asked.pop(), "it leads on by itself"
    else:
        tab.goto(address)
    tab.evaluate(Axe().axe_script)
    for size, viewport in SIZES.items():
        tab.set_viewport_size(viewport)
        for scheme in SCHEMES:
            tab.emulate_media(color_scheme=scheme)
            pictures.take(tab, what, f"{size}-{scheme}")
            assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth"), "no page scrolls sideways"
            if size == "phone":
                assert_accessible(tab)
    assert tab.evaluate("getComputedStyle(document.querySelector('main')).borderRadius") != "0px", "the style applies"
    assert complaints == [], "the policy is kept to"
    assert asked == [address], "nothing is loaded beside the page"


def assert_accessible(tab: Page) -> None:
    """Hold the page, as it looks now, to the rules of axe-core, which is on it already."""
    found = AxeResults(tab.evaluate("axe.run()"))
    assert found.violations_count == 0, found.generate_report()
    assert not [rule["id"] for rule in found.response["incomplete"]], "nothing is left for a person to judge"
    judged = {rule["id"] for rule in found.response["passes"]}
    assert judged >= {
        "color-contrast",
        "document-title",
        "html-has-lang",
        "heading-order",
        "landmark-one-main",
        "region",
    }


def test_light_and_dark_are_two_looks(tab: Page) -> None:
    tab.goto("https://grants.example.com/connect/landing")
    grounds = set()
    for scheme in SCHEMES:
        tab.emulate_media(color_scheme=scheme)
        grounds.add(tab.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(grounds) == len(SCHEMES)


def test_the_button_is_large_enough_to_touch_and_shows_its_focus(tab: Page) -> None:
    """The button is large enough for a thumb, and shows that it is chosen."""
    tab.set_viewport_size(SIZES["phone"])
    tab.goto("https://grants.example.com/connect/landing")
    box = tab.get_by_role("button").bounding_box()
    assert box is not None
    assert box["height"] >= 44
    tab.keyboard.press("Tab")
    style, width = tab.evaluate(
        "(s => [s.outlineStyle, parseFloat(s.outlineWidth)])(getComputedStyle(document.activeElement))"
    )
    assert (style, width >= 2) == ("solid", True)


def test_the_page_after_the_button_leads_on_by_itself_and_by_its_link(tab: Page) -> None:
    with tab.expect_request(TARGET) as by_itself:
        tab.goto("https://grants.example.com/connect/opening")
    with tab.expect_request(TARGET) as by_link:
        tab.get_by_role("link", name="Continue to Keap").click()
    for asked in (by_itself.value, by_link.value):
        assert (asked.method, asked.is_navigation_request()) == ("GET", True)
        assert "referer" not in asked.all_headers()


def test_a_screen_reader_hears_what_is_seen(tab: Page) -> None:
    tab.goto("https://grants.example.com/connect/landing")
    heard = tab.locator("main").aria_snapshot()
    for line in (
        '- heading "Connect Keap" [level=1]',
        '- heading "What happens now" [level=2]',
        '- button "Continue to Keap"',
    ):
        assert line in heard
