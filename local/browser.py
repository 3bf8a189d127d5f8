"""Connects an account as its owner would: opens pages, presses buttons, keeps cookies.

It enforces these rules of a browser, so that a page that breaks them fails a test:

- it sends only the forms that are on the page;
- a form, and every redirect after it, goes only where the page's ``form-action`` allows;
- a ``__Host-`` cookie has the attributes that its prefix requires;
- every request carries ``Sec-Fetch-Site``.

It follows ``<meta http-equiv="refresh">``, which is a navigation of its own and not part of the form's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.cookies import SimpleCookie
from types import TracebackType
from typing import Self
from urllib.parse import urljoin, urlsplit

import httpx

MAX_REDIRECTS = 10


class BrowsingError(Exception):
    """A page at which a browser or a person could not go on."""


@dataclass
class Form:
    """A form of a page: its target, and the fields of its buttons and hidden inputs."""

    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Page:
    """A page that the browser shows. ``refresh`` is the address of an immediate refresh."""

    url: str
    status: int
    title: str
    text: str
    forms: tuple[Form, ...]
    headers: httpx.Headers
    refresh: str | None


class Browser:
    """A browser with one tab. ``transport`` replaces the network in tests."""

    def __init__(self, transport: httpx.BaseTransport | None = None) -> None:
        self._http = httpx.Client(follow_redirects=False, trust_env=False, timeout=40, transport=transport)
        # Own cookies: httpx sends no Secure cookies over plain http, and browsers make an exception for loopback.
        self._cookies: dict[tuple[str, str], str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._http.close()

    def open(self, url: str) -> Page:
        """Open a link from an e-mail: no page is the initiator of the request."""
        return self._load("GET", url, None, site="none", allowed=None)

    def submit(self, page: Page, form: Form, **changed: str) -> Page:
        """Press a form's button."""
        target = urljoin(page.url, form.action)
        allowed = _parse_form_action(page)
        return self._load(
            form.method, target, form.fields | changed, site=_compute_site(page.url, target), allowed=allowed
        )

    def _load(
        self, method: str, url: str, data: dict[str, str] | None, *, site: str, allowed: list[str] | None
    ) -> Page:
        for _ in range(MAX_REDIRECTS):
            _check_form_action(url, allowed)
            headers = {
                "accept": "text/html,application/xhtml+xml",
                "sec-fetch-site": site,
                "sec-fetch-mode": "navigate",
                "sec-fetch-dest": "document",
            }
            if method == "POST":
                headers["origin"] = _get_origin(url)
            if cookies := self._find_cookies(url):
                headers["cookie"] = cookies
            answer = self._http.request(method, url, data=data if method == "POST" else None, headers=headers)
            self._keep_cookies(answer)
            if not answer.is_redirect:
                page = _read(answer)
                if page.refresh is None:
                    return page
                following = page.refresh
                method, data, site, allowed = "GET", None, _compute_site(url, following), None
            else:
                following = urljoin(url, answer.headers["location"])
                # 303 makes a GET of anything; 307 and 308 repeat the request as it was.
                if answer.status_code in {301, 302, 303}:
                    method, data = "GET", None
                site = max(site, _compute_site(url, following), key=_DISTANCE.index)
            url = following
        raise BrowsingError(f"More than {MAX_REDIRECTS} redirects, the last to {urlsplit(url).netloc}.")

    def _find_cookies(self, url: str) -> str:
        # By host: cookies do not distinguish ports.
        host = str(urlsplit(url).hostname)
        return "; ".join(f"{name}={value}" for (of, name), value in self._cookies.items() if of == host)

    def _keep_cookies(self, answer: httpx.Response) -> None:
        for line in answer.headers.get_list("set-cookie"):
            for name, cookie in SimpleCookie(line).items():
                rules = (bool(cookie["secure"]), cookie["path"], cookie["domain"])
                if name.startswith("__Host-") and rules != (True, "/", ""):
                    raise BrowsingError(f"A browser would not keep {name}: it needs Secure, Path=/ and no Domain.")
                if cookie["max-age"] == "0":
                    self._cookies.pop((answer.url.host, name), None)
                else:
                    self._cookies[answer.url.host, name] = cookie.value


_DISTANCE = ("none", "same-origin", "same-site", "cross-site")


def _compute_site(source: str, target: str) -> str:
    """Return the value of Sec-Fetch-Site: another port is another origin, but not another site."""
    if _get_origin(source) == _get_origin(target):
        return "same-origin"
    one, other = urlsplit(source), urlsplit(target)
    return "same-site" if (one.scheme, one.hostname) == (other.scheme, other.hostname) else "cross-site"


def _parse_form_action(page: Page) -> list[str] | None:
    """Return the sources of the page's form-action directive, or None without one."""
    for directive in page.headers.get("content-security-policy", "").split(";"):
        name, _, sources = directive.strip().partition(" ")
        if name == "form-action":
            return [_get_origin(page.url if source == "'self'" else source) for source in sources.split()]
    return None


def _check_form_action(url: str, allowed: list[str] | None) -> None:
    if allowed is not None and _get_origin(url) not in allowed:
        raise BrowsingError(f"The page's form-action does not allow {_get_origin(url)}: {allowed}")


def _get_origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _read(answer: httpx.Response) -> Page:
    parser = _PageParser()
    parser.feed(answer.text)
    return Page(
        url=str(answer.url),
        status=answer.status_code,
        title=" ".join(parser.title.split()),
        text=" ".join(" ".join(parser.words).split()),
        forms=tuple(parser.forms),
        headers=answer.headers,
        refresh=None if parser.refresh is None else urljoin(str(answer.url), parser.refresh),
    )


def find_refresh(html: str) -> str | None:
    """Return the address of a page's immediate refresh, or None without one."""
    parser = _PageParser()
    parser.feed(html)
    return parser.refresh


#: No delay, and an address without quotes or white space, which every browser parses alike.
_REFRESH = re.compile(r"0;\s*url=([^'\"\s]+)", re.IGNORECASE)


class _PageParser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.title = ""
        self.words: list[str] = []
        self.forms: list[Form] = []
        self.refresh: str | None = None
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        if tag == "meta" and attributes.get("http-equiv", "").lower() == "refresh":
            found = _REFRESH.fullmatch(attributes.get("content", ""))
            if not found:
                raise BrowsingError("The page has a refresh that browsers may parse in different ways.")
            self.refresh = found[1]
            return
        self._open.append(tag)
        if tag == "form":
            self.forms.append(Form(attributes.get("action", ""), attributes.get("method", "get").upper()))
        elif tag in {"input", "button"} and self.forms and "form" in self._open and attributes.get("name"):
            self.forms[-1].fields[attributes["name"]] = attributes.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        while tag in self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if "title" in self._open:
            self.title += data
        elif "style" not in self._open and "script" not in self._open:
            self.words.append(data)


def connect(link: str) -> Page:
    """Follow the link of `evergrant connect` to the page that confirms the connection, which is returned.

    Raises
    ------
    BrowsingError
        Another page came instead; the message names it, without secrets.
    """
    with Browser() as browser:
        page = browser.open(link)
        if page.status != 200 or len(page.forms) != 1:
            raise BrowsingError(f"The connect page answered {page.status}: {page.text[:300]}")
        consent = browser.submit(page, page.forms[0])
        allow = next((form for form in consent.forms if form.fields.get("decision") == "allow"), None)
        if consent.status != 200 or allow is None:
            raise BrowsingError(f"The provider answered {consent.status}: {consent.text[:300]}")
        outcome = browser.submit(consent, allow)
        if outcome.status != 200:
            raise BrowsingError(f"The callback answered {outcome.status}: {outcome.text[:300]}")
        return outcome
