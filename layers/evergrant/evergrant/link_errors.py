"""The errors that a person sees on a connect page, each with a stable code and the HTTP status of the page.

::

    LinkError                                          shown to a person on the connect page
    ├── LinkInvalid           link_invalid
    ├── LinkExpired           link_expired
    ├── LinkUsed              link_used
    ├── WrongBrowser          wrong_browser
    ├── TooManyAttempts       too_many_attempts        of this link, or of this connection in a day
    ├── NoCookie              no_cookie                the browser did not send the cookie back
    ├── CrossSite             cross_site
    ├── BadRequest            bad_request              a parameter comes twice, is too long or holds controls
    ├── WrongMethod           wrong_method
    ├── WrongContentType      wrong_content_type
    ├── Denied                access_denied
    ├── NotFinished           not_finished             the person did not sign in, or choose an account
    ├── WrongProvider         wrong_provider           the answer of another provider than the one asked
    ├── WrongAccount          wrong_account            connecting again with another account than before
    ├── NoRefreshToken        no_refresh_token         a grant that would end with its first token
    └── ProviderRefused       provider_refused
"""

from __future__ import annotations

from typing import ClassVar

from .authorization_failure import AuthorizationFailure
from .errors import EvergrantError


class LinkError(EvergrantError):
    """A step of the connect flow was refused; ``status`` is the HTTP status of its page.

    ``failure`` says how the provider ended the authorization, where it did.
    """

    status: ClassVar[int] = 400

    def __init__(self, message: str, hint: str | None = None, *, failure: AuthorizationFailure | None = None) -> None:
        super().__init__(message, hint)
        self.failure = failure


class LinkInvalid(LinkError):
    code = "link_invalid"
    status = 404


class LinkExpired(LinkError):
    code = "link_expired"
    status = 410


class LinkUsed(LinkError):
    code = "link_used"
    status = 410


class WrongBrowser(LinkError):
    code = "wrong_browser"
    status = 403


class TooManyAttempts(LinkError):
    code = "too_many_attempts"
    status = 429


class NoCookie(LinkError):
    code = "no_cookie"
    status = 403


class CrossSite(LinkError):
    code = "cross_site"
    status = 403


class BadRequest(LinkError):
    code = "bad_request"
    status = 400


class WrongMethod(LinkError):
    code = "wrong_method"
    status = 405


class WrongContentType(LinkError):
    code = "wrong_content_type"
    status = 415


class Denied(LinkError):
    code = "access_denied"
    status = 403


class NotFinished(LinkError):
    """The provider wanted something of the person that did not happen, such as a sign-in."""

    code = "not_finished"
    status = 403


class WrongProvider(LinkError):
    """The answer cannot be that of the provider that was asked (RFC 9700 section 4.4)."""

    code = "wrong_provider"
    status = 403


class WrongAccount(LinkError):
    code = "wrong_account"
    status = 403
    hint_default = (
        "Sign in at the provider with the account that was connected before; or, to connect another one in its place, "
        "make the link with `evergrant connect --another-account`."
    )


class NoRefreshToken(LinkError):
    """``remedy`` is the profile's own text for the account's owner; None if the profile has none."""

    code = "no_refresh_token"
    status = 502

    def __init__(self, message: str, hint: str | None = None, *, remedy: str | None = None) -> None:
        super().__init__(message, hint)
        self.remedy = remedy


class ProviderRefused(LinkError):
    code = "provider_refused"
    status = 502
