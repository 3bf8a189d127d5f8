"""Protects the people at the connect pages: nothing injected, nothing from elsewhere, and words that say what to do."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256
from html import unescape
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergrant import errors, pages
from evergrant.errors import EvergrantError, LinkError

HOSTILE = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "' onmouseover='alert(1)",
    "</title><base href=//evil.example>",
    "&lt;b&gt; & <b>",
    "$title ${body} $$ $_",
    "{provider} %s",
]
KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, LinkError)]


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


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("make", [pages.landing, pages.connected], ids=["landing", "connected"])
def test_every_value_is_text_and_never_markup(make: Callable[[str, str], str], value: str) -> None:
    for hostile, harmless in ((make(value, "x"), make("x", "x")), (make("x", value), make("x", "x"))):
        assert Page(hostile).tags == Page(harmless).tags
        assert value in Page(hostile).text


@given(st.text(), st.text())
def test_no_name_changes_what_a_page_is_made_of(provider: str, account: str) -> None:
    for make in (pages.landing, pages.connected):
        assert Page(make(provider, account)).tags == Page(make("p", "a")).tags


@pytest.mark.parametrize(
    "html",
    [pages.landing("Keap", "main"), pages.connected("Keap", "main"), *(pages.refused(kind("x")) for kind in KINDS)],
)
def test_a_page_loads_nothing_and_runs_nothing(html: str) -> None:
    page = Page(html)
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "object", "embed", "base", "a"}
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on") or name == "style"]
    assert not re.search(r"https?:|//|url\(|@import|javascript:", html)
    assert html.startswith("<!doctype html>")
    assert ("html", {"lang": "en"}) in page.tags
    assert [tag for tag, attributes in page.tags if attributes.get("name") == "viewport"] == ["meta"]


def test_the_policy_allows_our_style_and_nothing_else() -> None:
    allowed = directives(pages.headers())
    style = b64encode(sha256(Page(pages.landing("Keap", "main")).style.encode()).digest()).decode()
    assert allowed == {
        "default-src": "'none'",
        "style-src": f"'sha256-{style}'",
        "form-action": "'none'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }


def test_the_button_may_lead_to_us_and_on_to_the_provider() -> None:
    """Browsers apply form-action to the redirect after the POST as well."""
    allowed = directives(pages.headers("https://accounts.infusionsoft.com"))
    assert allowed["form-action"] == "'self' https://accounts.infusionsoft.com"


def test_no_page_is_kept_framed_guessed_or_told_of() -> None:
    headers = pages.headers("https://login.example.com")
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-type"] == "text/html; charset=utf-8"


def test_the_landing_page_names_provider_and_account_and_has_one_button_that_posts() -> None:
    page = Page(pages.landing("Keap (Infusionsoft)", "main"))
    assert "Keap (Infusionsoft)" in page.text
    assert "main" in page.text
    forms = [attributes for tag, attributes in page.tags if tag == "form"]
    assert forms == [{"method": "post", "action": ""}]
    assert [tag for tag, _ in page.tags].count("button") == 1
    assert not [tag for tag, _ in page.tags if tag == "input"]


def test_the_last_page_offers_nothing_more_to_press() -> None:
    page = Page(pages.connected("Keap", "main"))
    assert not {"form", "button"} & {tag for tag, _ in page.tags}
    assert "is connected" in page.text


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not LinkError], ids=lambda kind: kind.code)
def test_every_refusal_has_words_of_its_own_and_shows_only_its_code(kind: type[LinkError]) -> None:
    html = pages.refused(kind("canary-message", "canary-hint"))
    assert f"Code: {kind.code}" in Page(html).text
    assert "canary" not in html
    assert "our side" not in html


@pytest.mark.parametrize(
    "error", [errors.TemporarilyUnavailable("canary", 5), errors.UnknownClient("canary"), EvergrantError("canary")]
)
def test_what_is_our_fault_is_called_so(error: EvergrantError) -> None:
    html = pages.refused(error)
    assert "our side" in html
    assert error.code in unescape(html)
    assert "canary" not in html
