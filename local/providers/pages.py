"""The pages of a simulated provider: plain HTML, without scripts or external resources."""

from html import escape

PAGE_HEADERS = {
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    # No form-action: browsers apply it to the redirect after the form too, which goes to the client.
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
}

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 1.1rem/1.5 system-ui, sans-serif; max-width: 34rem; margin: 3rem auto; padding: 0 1rem; color: #1a1a1a; }}
form {{ display: inline-block; margin: 0 .75rem .75rem 0; }}
button {{ font: inherit; padding: .6rem 1.6rem; border: 2px solid #14532d; border-radius: .4rem; cursor: pointer; }}
button.allow {{ background: #14532d; color: #fff; }}
button.deny {{ background: #fff; color: #14532d; }}
.note {{ color: #4a4a4a; font-size: .95rem; }}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
{content}
</main>
</body>
</html>
"""


def render_consent_page(provider: str, application: str, account: str, action: str) -> str:
    """Return the page that asks whether an application may use an account.

    Parameters
    ----------
    action
        Where both forms are sent: the authorization request's own address.
    """
    forms = "\n".join(
        f'<form method="post" action="{escape(action)}"><input type="hidden" name="decision" value="{decision}">'
        f'<button type="submit" class="{decision}">{label}</button></form>'
        for decision, label in (("allow", "Allow"), ("deny", "Deny"))
    )
    return _PAGE.format(
        title=escape(f"{provider}: allow {application}?"),
        content=f"<p><strong>{escape(application)}</strong> asks to use your {escape(provider)} account "
        f"<strong>{escape(account)}</strong>.</p>\n{forms}\n"
        f'<p class="note">This is a simulated {escape(provider)}. No real account is involved.</p>',
    )


def render_error_page(provider: str, explanation: str) -> str:
    """Return the page for an authorization request that must not be redirected."""
    return _PAGE.format(
        title=escape(f"{provider}: this link does not work"),
        content=f"<p>{escape(explanation)}</p>\n"
        "<p>Go back to the application that sent you here, and ask the people who run it.</p>",
    )
