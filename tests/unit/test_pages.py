"""Protects the people at the connect pages: nothing injected, nothing from elsewhere, and words that say what to do."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergrant import errors, link_errors
from evergrant.connect import page_texts, pages
from evergrant.connect.scopes import ReconnectChanges
from evergrant.errors import EvergrantError
from evergrant.link_errors import LinkError
from local.browser import find_refresh

HOSTILE = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "' onmouseover='alert(1)",
    "</title><base href=//evil.example>",
    "&lt;b&gt; & <b>",
    "$title ${body} $$ $_",
    "{provider} %s",
]
KINDS = [kind for kind in vars(link_errors).values() if isinstance(kind, type) and issubclass(kind, LinkError)]


class Page(HTMLParser):
    """Every tag with its attributes, and the visible text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.style = ""
        self._in_style = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._in_style = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self._in_style = False

    def handle_data(self, data: str) -> None:
        if self._in_style:
            self.style += data
        else:
            self.text += data


def directives(headers: dict[str, str]) -> dict[str, str]:
    parts = (part.strip().partition(" ") for part in headers["content-security-policy"].split(";"))
    return {name: value for name, _, value in parts}


SCOPES = ("full", "offline_access")


def markup(html: str) -> list[tuple[str, dict[str, str | None]]]:
    """The tags of a page, but for where a host may break."""
    return [tag for tag in Page(html).tags if tag != ("wbr", {})]


def landing(provider: str = "x", account: str = "x", scope: str = "x", host: str = "host", contact: str = "x") -> str:
    return pages.render_landing(provider, account, (scope,), host, contact)


def render_connected(provider: str = "x", account: str = "x", scope: str = "x", contact: str = "x") -> str:
    return pages.render_connected(provider, account, (scope,), contact)


def opening(provider: str = "x", contact: str = "x") -> str:
    return pages.render_opening(provider, "https://login.example.com/authorize?state=s", contact)


def render_refused(contact: str = "x") -> str:
    return pages.render_refused(link_errors.LinkExpired("x"), contact)


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize(
    ("make", "name"),
    [
        *((landing, name) for name in ("provider", "account", "scope", "host", "contact")),
        *((render_connected, name) for name in ("provider", "account", "scope", "contact")),
        *((opening, name) for name in ("provider", "contact")),
        (render_refused, "contact"),
    ],
)
def test_every_value_is_text_and_never_markup(make: Callable[..., str], name: str, value: str) -> None:
    hostile, harmless = make(**{name: value}), make()
    assert markup(hostile) == markup(harmless)
    assert value in Page(hostile).text


@given(st.text(), st.text(), st.text(), st.text())
def test_no_name_changes_what_a_page_is_made_of(provider: str, account: str, scope: str, contact: str) -> None:
    # No contact is the usual one.
    for make in (landing, render_connected):
        assert Page(make(provider, account, scope, contact=contact)).tags == Page(make()).tags
    assert Page(opening(provider, contact)).tags == Page(opening()).tags
    assert Page(render_refused(contact)).tags == Page(render_refused()).tags


@given(st.text())
def test_the_refresh_and_the_link_lead_to_the_same_percent_encoded_address(text: str) -> None:
    """No character of an address ends the attribute, or cuts the address where a browser reads the refresh."""
    url = f"https://login.example.com/authorize?state={text}"
    page, harmless = Page(pages.render_opening("Keap", url)), Page(opening("Keap"))
    [content] = [attributes["content"] for _, attributes in page.tags if attributes.get("http-equiv") == "refresh"]
    [href] = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    assert content == f"0;url={href}"
    assert re.fullmatch(
        r"https://login\.example\.com/authorize\?state=[^\s'\"<>\\\x00-\x1f\x7f-\U0010ffff]*", href or ""
    )
    assert unquote(href or "") == unquote(url)
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in harmless.tags]


def test_an_address_that_is_encoded_already_is_led_to_as_it_is() -> None:
    url = (
        "https://login.example.com/a;v=1?redirect_uri=https%3A%2F%2Fx.example%2Fcb%3Fa%3D1%26b&scope=a%20b&state=A-_~."
    )
    assert find_refresh(pages.render_opening("Keap", url)) == url


def test_nothing_in_a_list_of_changes_or_in_a_remedy_is_ever_markup() -> None:
    def made(value: str) -> list[Page]:
        changes = ReconnectChanges((value, value), (value,), (value,), new_profile=True, same_account=True)
        return [
            Page(pages.render_landing("p", "a", (), "h", changes=changes)),
            Page(pages.render_connected("p", "a", ("x", value), missing=(value,))),
            Page(pages.render_refused(link_errors.NoRefreshToken("m", remedy=value))),
        ]

    for value in HOSTILE:
        for hostile, harmless in zip(made(value), made("y"), strict=True):
            assert hostile.tags == harmless.tags
            assert value in hostile.text


def test_connecting_again_names_each_change_and_nothing_else() -> None:
    changes = ReconnectChanges(("old-app", "new-app"), ("write",), ("read",), new_profile=True, same_account=True)
    text = Page(pages.render_landing("Keap", "main", (), "h", changes=changes)).text
    for said in ("now called new-app, not old-app", "asks for write too", "no longer asks for read", "same account"):
        assert said in text
    unchanged = ReconnectChanges(None, (), (), new_profile=False, same_account=False)
    assert page_texts.RECONNECT.nothing in pages.render_landing("Keap", "main", (), "h", changes=unchanged)
    assert page_texts.RECONNECT.title not in pages.render_landing("Keap", "main", (), "h")


def test_what_was_not_allowed_stands_apart_on_the_last_page() -> None:
    text = Page(pages.render_connected("Keap", "main", ("read", "write"), missing=("write",))).text
    assert f"{page_texts.GRANTED}read" in text
    assert f"{page_texts.MISSING}write" in text
    assert page_texts.MISSING not in pages.render_connected("Keap", "main", ("read",))


ALL = [
    pages.render_landing("Keap", "main", SCOPES, "accounts.infusionsoft.com"),
    pages.render_connected("Keap", "main", SCOPES),
    *(pages.render_refused(kind("x")) for kind in (*KINDS, EvergrantError)),
]


@pytest.mark.parametrize("html", ALL)
def test_a_page_loads_nothing_and_runs_nothing(html: str) -> None:
    page = Page(html)
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "object", "embed", "base", "a"}
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on") or name == "style"]
    assert not re.search(r"https?:|//|url\(|@import|javascript:", html)
    assert html.startswith("<!doctype html>")
    assert ("html", {"lang": "en"}) in page.tags
    assert [attributes["content"] for tag, attributes in page.tags if attributes.get("name") == "viewport"]


def test_the_page_after_the_button_loads_and_runs_nothing() -> None:
    page = Page(opening("Keap"))
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "object", "embed", "base", "form"}
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on") or name == "style"]
    assert opening("Keap").count("://") == 2
    assert page_texts.CONTACT in Page(opening("Keap", "")).text
    for shown in ("Keap", "login.example.com"):
        assert shown in page.text


@pytest.mark.parametrize("html", ALL)
def test_a_page_has_one_heading_one_main_part_and_headings_in_order(html: str) -> None:
    tags = [tag for tag, _ in Page(html).tags]
    assert [tag for tag in tags if tag in ("h1", "h2", "h3")] == ["h1", "h2"]
    assert [tags.count(landmark) for landmark in ("header", "main", "footer")] == [1, 1, 1]


@pytest.mark.parametrize("html", ALL)
def test_a_page_says_whom_to_ask(html: str) -> None:
    assert page_texts.CONTACT in Page(html).text or "ask for help" in Page(html).text


def test_who_is_to_be_asked_is_the_operators_choice() -> None:
    asked = "Jo in IT (it@example.com)"
    for html in (landing(contact=asked), render_connected(contact=asked), render_refused(asked)):
        assert asked in Page(html).text
        assert page_texts.CONTACT not in Page(html).text


def test_the_policy_allows_our_style_and_nothing_else() -> None:
    allowed = directives(pages.build_headers())
    style = b64encode(sha256(Page(pages.render_landing("Keap", "main", (), "x")).style.encode()).digest()).decode()
    assert allowed == {
        "default-src": "'none'",
        "style-src": f"'sha256-{style}'",
        "form-action": "'none'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }


def test_the_button_posts_to_us_and_to_no_other_origin() -> None:
    """The next page leads on to the provider: Chromium applies form-action to redirects after the POST as well."""
    assert directives(pages.build_headers(form=True)) == directives(pages.build_headers()) | {"form-action": "'self'"}


def test_no_page_is_cached_framed_sniffed_or_sent_as_referrer() -> None:
    for headers in (pages.build_headers(form=True), pages.build_headers()):
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-type"] == "text/html; charset=utf-8"
    assert pages.build_headers()["referrer-policy"] == "no-referrer"


def test_without_fetch_metadata_origin_says_where_a_post_comes_from() -> None:
    """A browser without Fetch Metadata may say by its Origin header where its POST comes from.

    With no-referrer its Origin would be "null", which any page can send. With same-origin no other site learns it.
    """
    assert pages.build_headers(form=True)["referrer-policy"] == "same-origin"


def test_the_landing_page_states_its_purpose_and_has_one_post_button() -> None:
    """The landing page says what it is about, and has one button, which posts."""
    page = Page(pages.render_landing("Keap (Infusionsoft)", "main", SCOPES, "accounts.infusionsoft.com"))
    for shown in ("Keap (Infusionsoft)", "main", *SCOPES, "accounts.infusionsoft.com"):
        assert shown in page.text
    forms = [attributes for tag, attributes in page.tags if tag == "form"]
    assert forms == [{"method": "post", "action": ""}]
    assert [tag for tag, _ in page.tags].count("button") == 1
    assert not [tag for tag, _ in page.tags if tag == "input"]


def test_the_last_page_says_what_was_granted_and_offers_no_button() -> None:
    """The last page says what was granted, and offers nothing more to press."""
    page = Page(pages.render_connected("Keap", "main", SCOPES))
    assert not {"form", "button"} & {tag for tag, _ in page.tags}
    for shown in ("Keap is connected", "main", *SCOPES):
        assert shown in page.text


def test_a_host_breaks_at_its_dots_alone() -> None:
    html = pages.render_landing("Keap", "main", (), "accounts.infusionsoft.com")
    assert '<span class="host">accounts<wbr>.infusionsoft<wbr>.com.</span>' in html


def test_in_a_sentence_a_provider_goes_by_its_short_name() -> None:
    page = Page(pages.render_connected("Keap (Infusionsoft)", "main", ()))
    assert "Keap is connected" in page.text
    assert "Keap (Infusionsoft)" in page.text


def test_where_no_scope_is_asked_for_none_is_spoken_of() -> None:
    assert page_texts.ASKED not in pages.render_landing("Keap", "main", (), "x")
    assert page_texts.GRANTED not in pages.render_connected("Keap", "main", ())


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not LinkError], ids=lambda kind: kind.code)
def test_every_refusal_has_words_of_its_own_and_shows_only_its_code(kind: type[LinkError]) -> None:
    html = pages.render_refused(kind("canary-message", "canary-hint"))
    assert f"<code>{kind.code}</code>" in html
    assert "canary" not in html
    assert "our side" not in html


def test_a_refusal_page_names_provider_and_account_as_text() -> None:
    """A refusal names the provider and the account, where they are known, as text."""
    error = link_errors.Denied("x")
    assert "<dl>" not in pages.render_refused(error)
    error.about = "Keap & Co", "<main>"
    html = pages.render_refused(error)
    assert "Keap &amp; Co" in html
    assert "&lt;main&gt;" in html


def test_no_words_are_kept_for_what_cannot_happen() -> None:
    assert page_texts.REFUSALS.keys() == {kind.code for kind in KINDS if kind is not LinkError}
    codes = {kind.code for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, EvergrantError)}
    assert codes >= page_texts.OUR_CODES


@pytest.mark.parametrize("error", [errors.TemporarilyUnavailable("canary", 5), errors.UnknownClient("canary")])
def test_what_is_our_fault_is_called_so(error: EvergrantError) -> None:
    html = pages.render_refused(error)
    assert "our side" in html
    assert f"<code>{error.code}</code>" in html
    assert "canary" not in html


def test_a_failure_that_no_page_explains_is_shown_without_its_code() -> None:
    assert "<code>error</code>" in pages.render_refused(errors.SealBroken("canary"))
