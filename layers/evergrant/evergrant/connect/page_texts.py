"""The English texts of the pages that people see while they connect an account.

The reader was sent a link, and keeps books, not servers. ``$provider`` and ``$account`` are the
connection's, ``$host`` is where the provider's page is, ``$contact`` is whom to ask. docs/connecting.md says
what each code means to the operator.
"""

from __future__ import annotations

from dataclasses import dataclass

PRODUCT = "Evergrant"
#: Whom to ask where the operator gives no contact (the template's SupportContact).
CONTACT = "the person who sent you this link"

PROVIDER = "Service"
ACCOUNT = "Saved as"
ASKED = "Access asked for"
GRANTED = "Access allowed"
MISSING = "Asked for, but not allowed"


@dataclass(frozen=True, slots=True)
class Landing:
    title: str = "Connect $provider"
    lead: str = "The sender of this link asks you to let their software use your $provider account."
    next_title: str = "What happens now"
    steps: tuple[str, ...] = (
        "You go to the page of $provider, at $host. Sign in there if it asks you to.",
        "There you see what access is asked for. Allow it, or say no.",
        "You come back here, and see whether it worked. It takes about a minute.",
    )
    button: str = "Continue to $provider"
    reassurance: str = "Your password stays with $provider: it is never asked for or seen here."
    doubt: str = (
        "You did not expect this, or are not sure? Ask $contact before you go on. Nothing happens until you do."
    )


@dataclass(frozen=True, slots=True)
class Opening:
    """Shown for a moment, between the button and the provider's page."""

    title: str = "Opening $provider"
    lead: str = "Your browser now opens the page of $provider, at $host."
    link: str = "Continue to $provider"
    stuck: str = "If the page does not open by itself, use the button above."
    doubt: str = "Questions? Ask $contact."


@dataclass(frozen=True, slots=True)
class Reconnect:
    """What connecting again changes. ``$old`` and ``$new`` are names of registered applications."""

    title: str = "You connected this before"
    nothing: str = "Nothing changes. Your consent is needed once more."
    client: str = "The application that asks is now called $new, not $old."
    gained: str = "New: it asks for $scope too."
    lost: str = "It no longer asks for $scope."
    profile: str = "Technical details of the connection have been brought up to date."
    same_account: str = "Sign in with the same account as before. Another one will be refused."


@dataclass(frozen=True, slots=True)
class Connected:
    title: str = "$provider is connected"
    lead: str = "Thank you, that was all. You can close this page."
    partial: str = (
        "Thank you. It works with less access than was asked for. You can close this page; if the rest is needed, you "
        "will be sent a new link."
    )
    next_title: str = "What happens next"
    steps: tuple[str, ...] = (
        "The connection stays up by itself. You do not need to do anything.",
        "If $provider ever asks for your consent again, you will be sent a new link.",
        "You can end the access whenever you like: ask $contact, or withdraw it in your $provider settings.",
    )
    doubt: str = "Questions? Ask $contact."


@dataclass(frozen=True, slots=True)
class Refusal:
    """A page for a person who cannot go on: what happened, and what to do, step by step."""

    title: str
    happened: str
    steps: tuple[str, ...]
    to_do: str = "What to do"


LANDING = Landing()
OPENING = Opening()
RECONNECT = Reconnect()
CONNECTED = Connected()
HELP = "If you ask for help, mention this code:"

_OPEN_AGAIN = "Open the link from your message once more."
_TWICE = "If this page comes back, let $contact know."
_UNUSUAL = Refusal(
    "Please open the link again",
    "Your browser asked for this page in a way that cannot be used. Nothing was connected.",
    ("Open the link from your message once more, and use the button on the page.", _TWICE),
)

#: By the error's code.
REFUSALS = {
    "link_invalid": Refusal(
        "This link does not work",
        "Nothing is known here under this address. Perhaps a part of it got lost: some mail programs break long links.",
        (
            "Copy the whole link from your message into the address bar of your browser.",
            "If it still does not work, ask $contact for a new one.",
        ),
    ),
    "link_expired": Refusal(
        "This link has expired",
        "Links work for a limited time only, for your safety. This one’s time was over before the account was "
        "connected.",
        ("Ask $contact for a new link.", "Open it soon after you get it, and go through to the end."),
    ),
    "link_used": Refusal(
        "This link was used already",
        "A link connects an account once. If you saw a page that said so, all is well: you can close this one.",
        (
            "If you saw no such page, open the link from your message once more.",
            "If it leads here again, ask $contact whether the account is connected, or for a new link.",
        ),
        "If you are not sure",
    ),
    "wrong_browser": Refusal(
        "Please go on in the browser you began in",
        "This link was opened before in another browser, on another device or in a private window, or your browser "
        "forgot its cookies. For your safety, only the browser that began may finish.",
        (
            "Go back to the browser in which you opened the link first, and open it there.",
            "If you cannot, ask $contact for a new link.",
        ),
    ),
    "too_many_attempts": Refusal(
        "This was tried too often",
        "A link can be tried a few times only, for your safety. Nothing was connected.",
        (
            "Ask $contact for a new link, and say what happened each time.",
            "If a new link leads here too, wait until tomorrow.",
        ),
    ),
    "no_cookie": Refusal(
        "Please allow cookies",
        "This page uses one cookie, so that only you can finish what you begin. Your browser did not send it back.",
        (
            "Allow cookies for this page in your browser’s settings, or take another browser.",
            "Then open the link from your message once more.",
        ),
    ),
    "cross_site": Refusal(
        "Please open the link itself",
        "Another website led you here. For your safety, connecting begins only with the link that you were sent.",
        ("Open the link from your message, and use the button on its page.", _TWICE),
    ),
    "bad_request": _UNUSUAL,
    "wrong_method": _UNUSUAL,
    "wrong_content_type": _UNUSUAL,
    "access_denied": Refusal(
        "Nothing was connected",
        "Access was not allowed. If that is what you wanted, you are done: nothing was changed, and you can close this "
        "page.",
        (
            "Open the link from your message once more.",
            "When you are asked, choose to allow access. You may need to be an administrator of the account.",
        ),
        "If you want to connect it after all",
    ),
    "not_finished": Refusal(
        "Something was left open",
        "The other service wanted something of you first, such as to sign in or to choose an account, and that did not "
        "happen. Nothing was connected.",
        (
            "Sign in at the other service, in this browser.",
            "Open the link from your message once more, and go through to the end.",
            _TWICE,
        ),
    ),
    "wrong_provider": Refusal(
        "This answer came from another service",
        "You came back from another service than the one that you went to. For your safety, nothing was sent to "
        "either, and nothing was connected.",
        (
            "Open the link from your message once more, and go on only where the address of the page is the one that "
            "is named there.",
            "If this page comes back, stop, and let $contact know: someone may be trying to get at your account.",
        ),
    ),
    "wrong_account": Refusal(
        "This is another account",
        "You signed in with another account than the one that was connected before. Nothing was changed.",
        (
            "Sign out at the other service, in this browser.",
            "Open the link from your message once more, here again, and sign in with the account of before.",
            "If you do mean this account, ask $contact for a link that allows it.",
        ),
    ),
    "no_refresh_token": Refusal(
        "The access would not have lasted",
        "The other service gave access for a short time only. Nothing was connected.",
        (_OPEN_AGAIN, "If this page comes back, let $contact know: it may be a setting on their side."),
    ),
    "provider_refused": Refusal(
        "The other service did not finish this",
        "It refused, or its answer could not be used. Nothing was connected.",
        (_OPEN_AGAIN, "If this page comes back, let $contact know: you cannot fix this yourself."),
    ),
}

OUR_FAULT = Refusal(
    "Something went wrong on our side",
    "This is not your mistake, and your account was not changed.",
    ("Wait a few minutes, then open the link from your message once more.", _TWICE),
)
#: The codes of our own failures that a page shows; any other is shown as ``error``.
OUR_CODES = frozenset(
    {
        "temporarily_unavailable",
        "unknown_client",
        "invalid_client_entry",
        "unknown_profile",
        "invalid_profile",
        "invalid_variable",
    }
)
