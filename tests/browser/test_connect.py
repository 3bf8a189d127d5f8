"""Protects the way from the link to the connected account as people walk it, in Chromium, on the deployed stack.

Keap's consent page is on localhost and all else on 127.0.0.1, which to a browser is another site: the way back from it
is the one that ``SameSite`` cookies and ``form-action`` are about. InvestReady's is on the same site.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, Request, Response, expect

from evergrant.connect.state_cookie import COOKIE
from local import connections
from local.connections import Connection
from local.world import World
from tests.browser.operator import Operator
from tests.browser.pictures import Pictures
from tests.stack.deployed import Control

NewTab = Callable[..., Page]


@pytest.fixture
def new_tab(chromium: Browser) -> Iterator[NewTab]:
    """Opens a tab of a new browser."""
    contexts: list[BrowserContext] = []

    def open_one(**options: object) -> Page:
        contexts.append(chromium.new_context(**options))  # type: ignore[arg-type]
        return contexts[-1].new_page()

    yield open_one
    for context in contexts:
        context.close()


@pytest.fixture
def tab(new_tab: NewTab) -> Page:
    return new_tab()


def keap(world: World, account: str) -> Connection:
    host = f"localhost:{world.providers['keap'].port}"
    return replace(connections.KEAP, variables={"login_host": host}).for_account(account)


@contextmanager
def redirect_to(target: str) -> Iterator[str]:
    """Host and port of an address that redirects every request to another origin."""

    class Redirect(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", target + self.path)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Redirect) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(params=[1, 2], ids=["once", "twice"])
def redirecting(request: pytest.FixtureRequest, world: World) -> Iterator[list[str]]:
    """The hosts on the way to Keap's consent page, which is on another site: each redirects to the next origin."""
    hosts = [f"localhost:{world.providers['keap'].port}"]
    with ExitStack() as servers:
        for _ in range(request.param):
            hosts.insert(0, servers.enter_context(redirect_to(f"http://{hosts[0]}")))
        yield hosts


def begin(tab: Page, link: str) -> None:
    """Open the link and press its button: now the provider asks."""
    tab.goto(link)
    tab.get_by_role("button", name=re.compile("Continue to")).click()
    expect(tab.get_by_role("button", name="Allow")).to_be_visible()


def decide(tab: Page, decision: str) -> Response:
    """Press Allow or Deny, and return how the callback answered."""
    with tab.expect_response(lambda response: re.search(r"/callback/[a-z]+\?", response.url) is not None) as answer:
        tab.get_by_role("button", name=decision).click()
    tab.wait_for_load_state()
    return answer.value


def shows(tab: Page, heading: str, code: str | None = None) -> None:
    expect(tab.get_by_role("heading", level=1)).to_have_text(heading)
    if code is not None:
        expect(tab.get_by_role("main")).to_contain_text(f"mention this code: {code}")


def count_exchanges(world: World) -> object:
    """What became of the codes that Keap has issued, but for how many those are."""
    codes = Control(world.providers["keap"]).ask("stats")["codes"]
    return codes["used"], codes["reused"]


@pytest.mark.parametrize("name", ["keap", "investready"])
def test_the_link_leads_through_consent_to_success(
    world: World, operator: Operator, tab: Page, name: str, pictures: Pictures
) -> None:
    to_connect = keap(world, "walk") if name == "keap" else connections.INVESTREADY.for_account("walk")
    provider = world.providers[to_connect.provider.name]
    requests: list[Request] = []
    complaints: list[str] = []
    tab.on("request", lambda request: requests.append(request))
    tab.on("console", lambda message: complaints.append(message.text))

    begin(tab, operator.link(to_connect))
    pictures.take(tab, f"walk-{to_connect.provider.name}", "1-consent")
    answer = decide(tab, "Allow")
    pictures.take(tab, f"walk-{to_connect.provider.name}", "2-connected")

    shows(tab, f"{provider.provider.dialect.title.partition(' (')[0]} is connected")
    assert answer.status == 200
    assert complaints == []
    hosts = {request.url.split("/")[2].replace("localhost", "127.0.0.1") for request in requests}
    assert hosts == {world.stack.api_url.split("/")[2], provider.host}
    assert operator.status(to_connect.name) == "active"


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_a_consent_address_that_redirects_to_another_origin_is_reached(
    world: World, operator: Operator, new_tab: NewTab, redirecting: list[str], scripts: bool
) -> None:
    """Chromium applies form-action to the whole redirect chain of a form's submission, and would stop at the second."""
    account = f"redirected-{len(redirecting)}-{'on' if scripts else 'off'}"
    to_connect = replace(keap(world, account), variables={"login_host": redirecting[0]})
    tab, requests = new_tab(java_script_enabled=scripts), list[Request]()
    tab.on("request", lambda request: requests.append(request))
    begin(tab, operator.link(to_connect))
    asked = [request.url.split("/")[2] for request in requests if "oauth/authorize" in request.url]
    assert asked == redirecting
    decide(tab, "Allow")
    shows(tab, "Keap is connected")
    assert operator.status(f"keap/{account}") == "active"


def test_an_answer_at_another_providers_redirect_uri_is_not_taken(world: World, operator: Operator, tab: Page) -> None:
    """The honest provider of a mix-up sends the browser to its own redirect URI."""
    link = operator.link(keap(world, "mixed-up"))
    begin(tab, link)
    decided = httpx.post(tab.url, data={"decision": "allow"}, trust_env=False)
    answer = tab.goto(decided.headers["location"].replace("/callback/keap?", "/callback/investready?"))
    assert answer is not None
    shows(tab, "This answer came from another service", "wrong_provider")
    assert answer.status == 403
    assert operator.status("keap/mixed-up") == "awaiting_authorization"
    begin(tab, link)
    decide(tab, "Allow")
    shows(tab, "Keap is connected")


def test_what_was_granted_is_shown_as_the_provider_names_it(world: World, operator: Operator, tab: Page) -> None:
    tab.goto(operator.link(keap(world, "scopes")))
    expect(tab.get_by_role("main").get_by_role("listitem").first).to_have_text("full")
    expect(tab.get_by_role("definition")).to_have_text(["Keap (Infusionsoft)", "scopes", "full"])
    tab.get_by_role("button").click()
    decide(tab, "Allow")
    expect(tab.get_by_role("definition")).to_have_text(["Keap (Infusionsoft)", "scopes", "full"])


def test_the_browser_tells_the_provider_nothing_and_us_where_it_comes_from(
    world: World, operator: Operator, tab: Page
) -> None:
    """The Origin is what tells our button from another site's in a browser without Fetch Metadata."""
    requests: list[Request] = []
    tab.on("request", lambda request: requests.append(request))
    begin(tab, operator.link(keap(world, "referrer")))
    posted = next(request for request in requests if request.method == "POST").all_headers()
    asked = next(request for request in requests if "oauth/authorize" in request.url).all_headers()
    assert posted["origin"] == world.aws.endpoint
    assert posted["sec-fetch-site"] == "same-origin"
    assert "referer" not in asked


def test_who_denied_may_open_the_link_again_and_allow(world: World, operator: Operator, tab: Page) -> None:
    link = operator.link(keap(world, "hesitant"))
    begin(tab, link)
    answer = decide(tab, "Deny")
    shows(tab, "Nothing was connected", "access_denied")
    assert answer.status == 403
    begin(tab, link)
    decide(tab, "Allow")
    shows(tab, "Keap is connected")


def test_access_that_would_not_last_is_not_taken(world: World, operator: Operator, tab: Page) -> None:
    control = Control(world.providers["keap"])
    link = operator.link(keap(world, "brief"))
    control.tell("settings", {"refresh_tokens": False})
    try:
        begin(tab, link)
        answer = decide(tab, "Allow")
    finally:
        control.tell("settings", {"refresh_tokens": True})
    shows(tab, "The access would not have lasted", "no_refresh_token")
    assert answer.status == 502
    assert operator.status("keap/brief") == "awaiting_authorization"
    begin(tab, link)
    decide(tab, "Allow")
    shows(tab, "Keap is connected")


def test_a_repeated_connect_page_says_what_changes(world: World, operator: Operator, tab: Page) -> None:
    for _ in range(2):
        begin(tab, operator.link(keap(world, "again")))
        decide(tab, "Allow")
        shows(tab, "Keap is connected")
    tab.goto(operator.link(keap(world, "again")))
    expect(tab.get_by_role("main")).to_contain_text("You connected this before")
    expect(tab.get_by_role("main")).to_contain_text("Nothing changes.")


def test_the_back_button_leads_back_and_forth(world: World, operator: Operator, tab: Page) -> None:
    link = operator.link(keap(world, "back"))
    begin(tab, link)
    tab.go_back()
    shows(tab, "Connect Keap")
    tab.get_by_role("button").click()
    decide(tab, "Allow")
    shows(tab, "Keap is connected")
    while tab.url != link:
        tab.go_back()
    shows(tab, "This link was used already", "link_used")
    assert operator.status("keap/back") == "active"


def test_a_reload_of_the_last_page_shows_it_again_and_exchanges_nothing(
    world: World, operator: Operator, tab: Page
) -> None:
    begin(tab, operator.link(keap(world, "reload")))
    decide(tab, "Allow")
    before = count_exchanges(world)
    answer = tab.reload()
    assert answer is not None
    assert answer.status == 200
    shows(tab, "Keap is connected")
    assert count_exchanges(world) == before


def test_two_tabs_make_one_connection(world: World, operator: Operator, tab: Page) -> None:
    link = operator.link(keap(world, "tabs"))
    other = tab.context.new_page()
    begin(tab, link)
    begin(other, link)
    decide(tab, "Allow")
    shows(tab, "Keap is connected")
    before = count_exchanges(world)
    answer = decide(other, "Allow")
    shows(other, "This link was used already", "link_used")
    assert answer.status == 410
    assert count_exchanges(world) == before


def test_a_link_that_was_begun_elsewhere_does_not_go_on_here(
    world: World, operator: Operator, tab: Page, new_tab: NewTab
) -> None:
    link = operator.link(keap(world, "elsewhere"))
    begin(tab, link)
    other = new_tab()
    other.goto(link)
    other.get_by_role("button").click()
    shows(other, "Please go on in the browser you began in", "wrong_browser")
    decide(tab, "Allow")
    shows(tab, "Keap is connected")


def test_an_answer_that_was_carried_to_another_browser_is_not_taken(
    world: World, operator: Operator, tab: Page, new_tab: NewTab
) -> None:
    begin(tab, operator.link(keap(world, "carried")))
    consent, other = tab.url, new_tab()
    other.goto(consent)
    answer = decide(other, "Allow")
    shows(other, "Please go on in the browser you began in", "wrong_browser")
    assert answer.status == 403
    assert operator.status("keap/carried") == "awaiting_authorization"


def test_a_used_link_says_so(world: World, operator: Operator, tab: Page) -> None:
    link = operator.link(connections.INVESTREADY.for_account("used"))
    begin(tab, link)
    decide(tab, "Allow")
    answer = tab.goto(link)
    assert answer is not None
    assert answer.status == 410
    shows(tab, "This link was used already", "link_used")
    expect(tab.get_by_role("button")).to_have_count(0)


def test_an_expired_link_says_so_before_and_after_the_button(
    world: World, operator: Operator, tab: Page, new_tab: NewTab
) -> None:
    link = operator.link(keap(world, "expired"))
    tab.goto(link)
    operator.expire(link)
    tab.get_by_role("button").click()
    shows(tab, "This link has expired", "link_expired")
    other = new_tab()
    answer = other.goto(link)
    assert answer is not None
    assert answer.status == 410
    shows(other, "This link has expired", "link_expired")


def test_a_link_that_lost_its_end_says_so(world: World, operator: Operator, tab: Page) -> None:
    answer = tab.goto(operator.link(keap(world, "cut"))[:-5])
    assert answer is not None
    assert answer.status == 404
    shows(tab, "This link does not work", "link_invalid")


def test_a_browser_that_blocks_cookies_is_asked_to_allow_them(
    world: World, operator: Operator, playwright: Playwright, executable: str, sandbox: bool, tmp_path: Path
) -> None:
    preferences = tmp_path / "Default" / "Preferences"
    preferences.parent.mkdir()
    preferences.write_text(json.dumps({"profile": {"default_content_setting_values": {"cookies": 2}}}))
    browser = playwright.chromium.launch_persistent_context(
        tmp_path, executable_path=executable, chromium_sandbox=sandbox
    )
    try:
        tab = browser.new_page()
        tab.goto(operator.link(keap(world, "cookieless")))
        tab.get_by_role("button").click()
        shows(tab, "Please allow cookies", "no_cookie")
    finally:
        browser.close()


def test_no_script_is_needed(world: World, operator: Operator, new_tab: NewTab) -> None:
    tab = new_tab(java_script_enabled=False)
    begin(tab, operator.link(keap(world, "scriptless")))
    decide(tab, "Allow")
    shows(tab, "Keap is connected")


def test_the_keyboard_is_enough(world: World, operator: Operator, tab: Page) -> None:
    tab.goto(operator.link(keap(world, "keyboard")))
    tab.keyboard.press("Tab")
    expect(tab.get_by_role("button", name="Continue to Keap")).to_be_focused()
    tab.keyboard.press("Enter")
    expect(tab.get_by_role("button", name="Allow")).to_be_visible()
    tab.keyboard.press("Tab")
    expect(tab.get_by_role("button", name="Allow")).to_be_focused()
    tab.keyboard.press("Enter")
    shows(tab, "Keap is connected")


def test_a_phone_is_enough(world: World, operator: Operator, new_tab: NewTab) -> None:
    tab = new_tab(viewport={"width": 320, "height": 640}, is_mobile=True, has_touch=True)
    tab.goto(operator.link(keap(world, "phone")))
    tab.get_by_role("button").tap()
    tab.get_by_role("button", name="Allow").tap()
    shows(tab, "Keap is connected")


def test_the_cookie_is_kept_as_its_name_promises(world: World, operator: Operator, tab: Page) -> None:
    tab.goto(operator.link(keap(world, "cookie")))
    (cookie,) = tab.context.cookies()
    assert cookie["name"] == COOKIE
    assert (cookie["secure"], cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, True, "Lax", "/")
