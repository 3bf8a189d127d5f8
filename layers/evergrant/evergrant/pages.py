"""The pages people see while they connect an account. No script, nothing from elsewhere, every value escaped."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from html import escape
from string import Template

from .errors import EvergrantError, LinkError

_STYLE = (
    ":root{color-scheme:light dark}"
    "body{font:1.0625rem/1.6 system-ui,sans-serif;margin:0;padding:1.5rem;display:grid;justify-content:center}"
    "main{max-width:34rem;width:100%;margin-top:8vh}h1{font-size:1.5rem;line-height:1.3}"
    "button{font:inherit;font-weight:600;padding:.7rem 1.4rem;border:0;border-radius:.5rem;"
    "background:#14532d;color:#fff;cursor:pointer}button:focus-visible{outline:3px solid #60a5fa;outline-offset:2px}"
    ".quiet{opacity:.75;font-size:.9375rem}strong{overflow-wrap:anywhere}"
)
_STYLE_HASH = b64encode(sha256(_STYLE.encode()).digest()).decode()
_LAYOUT = Template(
    '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    f"<title>$title</title><style>{_STYLE}</style></head>"
    "<body><main><h1>$title</h1>$body</main></body></html>"
)
#: What each refusal says to the person who meets it: a heading, and what to do.
_REFUSALS = {
    "link_invalid": ("This link does not work", "Please check that you opened the whole link, or ask for a new one."),
    "link_expired": ("This link has expired", "Nothing was connected. Please ask for a new link and open it soon."),
    "link_used": ("This link was used already", "If the account is not connected yet, please ask for a new link."),
    "wrong_browser": (
        "Please go on in the other browser",
        "For safety, an authorization is finished in the browser in which it was begun, with cookies allowed. "
        "Open the link there, or ask for a new one.",
    ),
    "no_cookie": (
        "Please allow cookies for this page",
        "Your browser did not keep the cookie of this page. Allow cookies, then open the link again.",
    ),
    "bad_request": ("This page was not reached properly", "Nothing was connected. Please open the link you got again."),
    "wrong_method": ("This page was not reached properly", "Nothing was connected. Please open the link you got."),
    "wrong_content_type": (
        "This page was not reached properly",
        "Nothing was connected. Please open the link you got, and use its button.",
    ),
    "cross_site": ("Please open the link itself", "This page was reached from another site. Open the link you got."),
    "access_denied": (
        "Nothing was connected",
        "You chose not to allow access. If that was a mistake, open the link again and choose to allow it.",
    ),
    "provider_refused": (
        "The provider did not finish the connection",
        "Nothing was saved. Please open the link again; if this happens twice, tell the person who sent it to you.",
    ),
}
_OUR_FAULT = (
    "Something went wrong on our side",
    "Nothing was lost. Please open the link again in a few minutes; if this happens twice, tell the person who sent "
    "it.",
)


def headers(form_origin: str | None = None) -> dict[str, str]:
    """The headers of every page. ``form_origin``: browsers apply ``form-action`` to the redirect after a POST too."""
    form_action = f"'self' {form_origin}" if form_origin else "'none'"
    return {
        "content-type": "text/html; charset=utf-8",
        "cache-control": "no-store",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
        "content-security-policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; "
        f"form-action {form_action}; base-uri 'none'; frame-ancestors 'none'",
    }


def landing(provider: str, account: str) -> str:
    """One button. Opening the page alone changes nothing."""
    provider, account = escape(provider), escape(account)
    return _page(
        f"Connect {provider}",
        f"<p>You were asked to connect the {provider} account <strong>{account}</strong>.</p>"
        f"<p>{provider} will ask you to sign in and to allow access. You can say no there.</p>"
        f'<form method="post" action=""><button type="submit">Continue to {provider}</button></form>',
    )


def connected(provider: str, account: str) -> str:
    provider, account = escape(provider), escape(account)
    return _page(
        f"{provider} is connected",
        f"<p>The account <strong>{account}</strong> is connected, and is kept connected from now on.</p>"
        "<p>You can close this page.</p>",
    )


def refused(error: EvergrantError) -> str:
    """The page for an error; only its code is shown of it."""
    title, what_to_do = _REFUSALS.get(error.code, _OUR_FAULT) if isinstance(error, LinkError) else _OUR_FAULT
    return _page(title, f'<p>{what_to_do}</p><p class="quiet">Code: {escape(error.code)}</p>')


def _page(title: str, body: str) -> str:
    return _LAYOUT.substitute(title=title, body=body)
