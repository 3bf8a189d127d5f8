"""Render the pages of connecting an account. No script, nothing from another server, every value escaped.

The words are in :mod:`evergrant.connect.page_texts`, the looks in ``pages.css``.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Collection, Iterable, Mapping
from hashlib import sha256
from html import escape
from pathlib import Path
from string import Template
from urllib.parse import quote, urlsplit

from ..errors import EvergrantError
from ..link_errors import LinkError, NoRefreshToken
from . import page_texts
from .scopes import ReconnectChanges

_STYLE = Path(__file__).with_name("pages.css").read_text("utf-8")
_STYLE_HASH = b64encode(sha256(_STYLE.encode()).digest()).decode()
# Decoration: the words beside them say the same, so screen readers skip them.
_PICTURE = '<svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="$width" stroke-linecap="round" '
_PICTURE += 'stroke-linejoin="round" aria-hidden="true" focusable="false"><path d="$path"/></svg>'
_SIGN = Template(_PICTURE).substitute(width=2, path="M5 19C5 10 10 5 19 5c0 9-5 14-14 14Zm0 0 7-7")
_DONE = Template(_PICTURE).substitute(width=2.5, path="m5 12.5 4.5 4.5L19 7.5")
_STOPPED = Template(_PICTURE).substitute(width=2.5, path="M12 4.5v9.5m0 5v.5")
_LAYOUT = Template(
    '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    '<meta name="robots" content="noindex"><meta name="format-detection" content="telephone=no">'
    f"$head<title>$title – {page_texts.PRODUCT}</title><style>{_STYLE}</style></head>\n"
    f"<body><header><p>{_SIGN}{page_texts.PRODUCT}</p></header>\n"
    "<main>$mark<h1>$title</h1>\n$body</main>\n<footer>$footer</footer></body></html>\n"
)
# What a refresh reads unchanged: the characters of RFC 3986 without the apostrophe, which may begin or end its URL
# (HTML, "shared declarative refresh steps"). Quotes, white space and control characters are percent-encoded.
_URL_CHARACTERS = "%:/?#[]@!$&()*+,;=~"


def build_headers(*, form: bool = False) -> dict[str, str]:
    """Build the headers of every page. ``form``: the page has the button, which posts to the page's own address."""
    form_action = "'self'" if form else "'none'"
    return {
        "content-type": "text/html; charset=utf-8",
        "cache-control": "no-store",
        # On the page with the form, a browser without Fetch Metadata has to send its Origin with the POST. With
        # no-referrer that is "null" (Fetch, "append a request Origin header"). Other sites get no referrer either way.
        "referrer-policy": "same-origin" if form else "no-referrer",
        "x-content-type-options": "nosniff",
        "content-security-policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; "
        f"form-action {form_action}; base-uri 'none'; frame-ancestors 'none'",
    }


def render_landing(
    provider: str,
    account: str,
    scopes: Iterable[str],
    host: str,
    contact: str = "",
    changes: ReconnectChanges | None = None,
) -> str:
    """Render the first page, which has the button. Opening it changes nothing.

    Parameters
    ----------
    scopes
        What will be asked for, as the provider names it; none where the provider decides.
    host
        Where the provider's page is, to be compared with the address bar.
    contact
        Whom to ask; the sender of the link when empty.
    changes
        What connecting changes, where the account was connected before.
    """
    words = {"provider": _shorten(provider), "host": host, "contact": contact or page_texts.CONTACT}
    text = page_texts.LANDING
    return _render_page(
        _fill(text.title, words),
        f'<p class="lead">{_fill(text.lead, words)}</p>\n'
        f"{_render_facts(provider, account, {page_texts.ASKED: scopes})}"
        f"{_render_changes(changes) if changes else ''}"
        f"<h2>{escape(text.next_title)}</h2>\n{_render_steps(text.steps, words)}"
        f'<form method="post" action=""><button type="submit">{_fill(text.button, words)}</button></form>\n'
        f'<p class="quiet">{_fill(text.reassurance, words)}</p>\n',
        _fill(text.doubt, words),
    )


def render_opening(provider: str, url: str, contact: str = "") -> str:
    """Render the answer to the button: the browser opens the provider's page by itself, or by a link.

    Parameters
    ----------
    url
        The provider's consent address, absolute.
    """
    url = quote(url, safe=_URL_CHARACTERS)
    words = {"provider": _shorten(provider), "host": urlsplit(url).netloc, "contact": contact or page_texts.CONTACT}
    text = page_texts.OPENING
    return _render_page(
        _fill(text.title, words),
        f'<p class="lead">{_render_sentence(text.lead, words)}</p>\n'
        f'<p><a class="button" href="{escape(url)}">{_fill(text.link, words)}</a></p>\n'
        f'<p class="quiet">{_fill(text.stuck, words)}</p>\n',
        _fill(text.doubt, words),
        head=f'<meta http-equiv="refresh" content="0;url={escape(url)}">',
    )


def render_connected(
    provider: str, account: str, scopes: Iterable[str], contact: str = "", missing: Collection[str] = ()
) -> str:
    """Render the last page.

    ``scopes`` were asked for, as the provider names them; those in ``missing`` were not granted.
    """
    granted = [scope for scope in scopes if scope not in missing]
    words = {"provider": _shorten(provider), "contact": contact or page_texts.CONTACT}
    text = page_texts.CONNECTED
    return _render_page(
        _fill(text.title, words),
        f'<p class="lead">{_fill(text.partial if missing else text.lead, words)}</p>\n'
        f"{_render_facts(provider, account, {page_texts.GRANTED: granted, page_texts.MISSING: missing})}"
        f"<h2>{escape(text.next_title)}</h2>\n{_render_list('ul', text.steps, words)}",
        _fill(text.doubt, words),
        f'<div class="mark done">{_DONE}</div>',
    )


def render_refused(error: EvergrantError, contact: str = "") -> str:
    """Render the page for an error: its code, whose authorization it is, and a remedy that the profile names.

    Nothing else of the error is shown.
    """
    ours = not isinstance(error, LinkError)
    text = page_texts.OUR_FAULT if ours else page_texts.REFUSALS.get(error.code, page_texts.OUR_FAULT)
    code = EvergrantError.code if ours and error.code not in page_texts.OUR_CODES else error.code
    # Filled in as a value, so that no placeholder in it is replaced.
    remedy = error.remedy if isinstance(error, NoRefreshToken) else None
    words = {"contact": contact or page_texts.CONTACT, "remedy": remedy or ""}
    return _render_page(
        _fill(text.title, words),
        f'<p class="lead">{_fill(text.happened, words)}</p>\n'
        f"{_render_facts(*error.about, {}) if error.about else ''}"
        f"<h2>{escape(text.to_do)}</h2>\n{_render_steps((*(['$remedy'] if remedy else []), *text.steps), words)}"
        f'<p class="quiet code">{escape(page_texts.HELP)} <code>{escape(code)}</code></p>\n',
        "",
        f'<div class="mark stopped">{_STOPPED}</div>',
    )


def _render_page(title: str, body: str, footer: str, mark: str = "", head: str = "") -> str:
    footer = f'<p class="quiet">{footer}</p>' if footer else ""
    return _LAYOUT.substitute(title=title, body=body, mark=mark, footer=footer, head=head)


def _render_changes(changes: ReconnectChanges) -> str:
    """Render what connecting again changes, each change in a sentence."""
    text, sentences = page_texts.RECONNECT, []
    if changes.client:
        sentences.append((text.client, {"old": changes.client[0], "new": changes.client[1]}))
    sentences += [(text.gained, {"scope": scope}) for scope in changes.gained]
    sentences += [(text.lost, {"scope": scope}) for scope in changes.lost]
    sentences += [(text.profile, {})] if changes.new_profile else []
    sentences += [(text.same_account, {})] if changes.same_account else []
    items = "".join(
        f"<li>{_render_sentence(sentence, words)}</li>" for sentence, words in sentences or [(text.nothing, {})]
    )
    return f'<h2>{escape(text.title)}</h2>\n<ul role="list">{items}</ul>\n'


def _render_facts(provider: str, account: str, scopes_by_what: Mapping[str, Iterable[str]]) -> str:
    access = ""
    for what, scopes in scopes_by_what.items():
        items = "".join(f"<li><code>{escape(scope)}</code></li>" for scope in scopes)
        access += f'<div><dt>{escape(what)}</dt><dd><ul role="list">{items}</ul></dd></div>' if items else ""
    return (
        f"<dl><div><dt>{escape(page_texts.PROVIDER)}</dt><dd>{escape(provider)}</dd></div>"
        f"<div><dt>{escape(page_texts.ACCOUNT)}</dt><dd>{escape(account)}</dd></div>{access}</dl>\n"
    )


def _shorten(provider: str) -> str:
    """Return the provider's name for a sentence: Keap for "Keap (Infusionsoft)"."""
    return provider.partition(" (")[0] or provider


def _render_steps(steps: Iterable[str], words: dict[str, str]) -> str:
    return _render_list("ol", steps, words)


def _render_list(tag: str, items: Iterable[str], words: dict[str, str]) -> str:
    # Without the role, Safari does not announce a list without bullets as a list.
    return f'<{tag} role="list">{"".join(f"<li>{_render_sentence(item, words)}</li>" for item in items)}</{tag}>\n'


def _render_sentence(text: str, words: dict[str, str]) -> str:
    """Render a sentence. A scope is set apart; a host stays whole, or breaks at its dots if it has to.

    The host is compared with the address bar. The full stop after it stays with it.
    """
    host = escape(words.get("host", "")).replace(".", "<wbr>.")
    shown = {
        "$host.": f'<span class="host">{host}.</span>',
        "$scope": f"<code>{escape(words.get('scope', ''))}</code>",
    }
    return "".join(shown.get(part) or _fill(part, words) for part in re.split(r"(\$host\.|\$scope)", text))


def _fill(text: str, words: dict[str, str]) -> str:
    """Fill in the values first, then escape everything: no value is ever markup."""
    return escape(Template(text).substitute(words))
