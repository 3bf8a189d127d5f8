"""The pages people see while they connect an account. No script, nothing from elsewhere, every value escaped.

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

from ..errors import EvergrantError, LinkError, NoRefreshToken
from . import page_texts
from .scopes import ReconnectChanges

_STYLE = Path(__file__).with_name("pages.css").read_text("utf-8")
_STYLE_HASH = b64encode(sha256(_STYLE.encode()).digest()).decode()
# Decoration: the words beside them say the same, so screen readers pass over them.
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
# What a refresh reads as it stands: RFC 3986's characters without the apostrophe, which may begin or end its URL (HTML,
# "shared declarative refresh steps"); quotes, white space and control characters are percent-encoded.
_IN_A_URL = "%:/?#[]@!$&()*+,;=~"


def build_headers(*, form: bool = False) -> dict[str, str]:
    """The headers of every page. ``form``: the page has the button, which posts to the page's own address."""
    form_action = "'self'" if form else "'none'"
    return {
        "content-type": "text/html; charset=utf-8",
        "cache-control": "no-store",
        # On the page with the form, a browser without Fetch Metadata says where its POST comes from only if it may tell
        # that to us: with no-referrer its Origin is "null" (Fetch, "append a request Origin header"). No other site is
        # sent a referrer with either.
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
    again: ReconnectChanges | None = None,
) -> str:
    """One button. Opening the page alone changes nothing.

    Parameters
    ----------
    scopes
        What is going to be asked for, as the provider names it; none where that is its own affair.
    host
        Where the provider's page is, for people to compare with their address bar.
    contact
        Whom to ask; the sender of the link when empty.
    again
        What will be another than before, where the account was connected already.
    """
    words = {"provider": _short(provider), "host": host, "contact": contact or page_texts.CONTACT}
    text = page_texts.LANDING
    return _page(
        _filled(text.title, words),
        f'<p class="lead">{_filled(text.lead, words)}</p>\n'
        f"{_facts(provider, account, {page_texts.ASKED: scopes})}"
        f"{_again(again) if again else ''}"
        f"<h2>{escape(text.next_title)}</h2>\n{_steps(text.steps, words)}"
        f'<form method="post" action=""><button type="submit">{_filled(text.button, words)}</button></form>\n'
        f'<p class="quiet">{_filled(text.reassurance, words)}</p>\n',
        _filled(text.doubt, words),
    )


def departing(provider: str, url: str, contact: str = "") -> str:
    """The answer to the button: the browser goes on to the provider by itself, and by a link where it does not.

    Parameters
    ----------
    url
        The provider's consent address, absolute.
    """
    url = quote(url, safe=_IN_A_URL)
    words = {"provider": _short(provider), "host": urlsplit(url).netloc, "contact": contact or page_texts.CONTACT}
    text = page_texts.DEPARTING
    return _page(
        _filled(text.title, words),
        f'<p class="lead">{_step(text.lead, words)}</p>\n'
        f'<p><a class="button" href="{escape(url)}">{_filled(text.link, words)}</a></p>\n'
        f'<p class="quiet">{_filled(text.stuck, words)}</p>\n',
        _filled(text.doubt, words),
        head=f'<meta http-equiv="refresh" content="0;url={escape(url)}">',
    )


def render_connected(
    provider: str, account: str, scopes: Iterable[str], contact: str = "", missing: Collection[str] = ()
) -> str:
    """The end of it. ``scopes``: what was asked, as the provider names it; ``missing``: what of it was not granted."""
    granted = [scope for scope in scopes if scope not in missing]
    words = {"provider": _short(provider), "contact": contact or page_texts.CONTACT}
    text = page_texts.CONNECTED
    return _page(
        _filled(text.title, words),
        f'<p class="lead">{_filled(text.partial if missing else text.lead, words)}</p>\n'
        f"{_facts(provider, account, {page_texts.GRANTED: granted, page_texts.MISSING: missing})}"
        f"<h2>{escape(text.next_title)}</h2>\n{_list('ul', text.steps, words)}",
        _filled(text.doubt, words),
        f'<div class="mark done">{_DONE}</div>',
    )


def render_refused(error: EvergrantError, contact: str = "") -> str:
    """The page for an error; only its code is shown of it, whose authorization it was, and a remedy that the
    provider's profile names."""
    ours = not isinstance(error, LinkError)
    text = page_texts.OUR_FAULT if ours else page_texts.REFUSALS.get(error.code, page_texts.OUR_FAULT)
    code = EvergrantError.code if ours and error.code not in page_texts.OUR_CODES else error.code
    # As one more word, so that nothing in it is taken for one.
    remedy = error.remedy if isinstance(error, NoRefreshToken) else None
    words = {"contact": contact or page_texts.CONTACT, "remedy": remedy or ""}
    return _page(
        _filled(text.title, words),
        f'<p class="lead">{_filled(text.happened, words)}</p>\n'
        f"{_facts(*error.about, {}) if error.about else ''}"
        f"<h2>{escape(text.to_do)}</h2>\n{_steps((*(['$remedy'] if remedy else []), *text.steps), words)}"
        f'<p class="quiet code">{escape(page_texts.HELP)} <code>{escape(code)}</code></p>\n',
        "",
        f'<div class="mark stopped">{_STOPPED}</div>',
    )


def _page(title: str, body: str, footer: str, mark: str = "", head: str = "") -> str:
    footer = f'<p class="quiet">{footer}</p>' if footer else ""
    return _LAYOUT.substitute(title=title, body=body, mark=mark, footer=footer, head=head)


def _again(again: ReconnectChanges) -> str:
    """What will be another than before, each in a sentence."""
    text, said = page_texts.AGAIN, []
    if again.client:
        said.append((text.client, {"old": again.client[0], "new": again.client[1]}))
    said += [(text.gained, {"scope": scope}) for scope in again.gained]
    said += [(text.lost, {"scope": scope}) for scope in again.lost]
    said += [(text.profile, {})] if again.new_profile else []
    said += [(text.same_account, {})] if again.same_account else []
    items = "".join(f"<li>{_step(sentence, words)}</li>" for sentence, words in said or [(text.nothing, {})])
    return f'<h2>{escape(text.title)}</h2>\n<ul role="list">{items}</ul>\n'


def _facts(provider: str, account: str, scopes_by_what: Mapping[str, Iterable[str]]) -> str:
    access = ""
    for what, scopes in scopes_by_what.items():
        items = "".join(f"<li><code>{escape(scope)}</code></li>" for scope in scopes)
        access += f'<div><dt>{escape(what)}</dt><dd><ul role="list">{items}</ul></dd></div>' if items else ""
    return (
        f"<dl><div><dt>{escape(page_texts.PROVIDER)}</dt><dd>{escape(provider)}</dd></div>"
        f"<div><dt>{escape(page_texts.ACCOUNT)}</dt><dd>{escape(account)}</dd></div>{access}</dl>\n"
    )


def _short(provider: str) -> str:
    """What the provider is called in a sentence: "Keap (Infusionsoft)" is Keap."""
    return provider.partition(" (")[0] or provider


def _steps(steps: Iterable[str], words: dict[str, str]) -> str:
    return _list("ol", steps, words)


def _list(tag: str, items: Iterable[str], words: dict[str, str]) -> str:
    # Safari takes a list without bullets for no list unless it is told so.
    return f'<{tag} role="list">{"".join(f"<li>{_step(item, words)}</li>" for item in items)}</{tag}>\n'


def _step(text: str, words: dict[str, str]) -> str:
    """A sentence in which a scope is set apart, and a host stays whole, or breaks at its dots if it has to.

    It is there to be compared with the address bar. The stop after it stays with it.
    """
    host = escape(words.get("host", "")).replace(".", "<wbr>.")
    shown = {
        "$host.": f'<span class="host">{host}.</span>',
        "$scope": f"<code>{escape(words.get('scope', ''))}</code>",
    }
    return "".join(shown.get(part) or _filled(part, words) for part in re.split(r"(\$host\.|\$scope)", text))


def _filled(text: str, words: dict[str, str]) -> str:
    """Fill in first and escape it all after: nothing that is filled in is ever markup."""
    return escape(Template(text).substitute(words))
