"""Find which account a grant is for, as the profile says (see :class:`evergrant.profiles.model.Subject`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from ..authorization_failure import AuthorizationFailure
from ..errors import LostResponse, NotSent
from ..http_messages import HttpRequest, HttpResponse
from ..link_errors import ProviderRefused, WrongAccount
from ..oauth import id_token as id_tokens
from ..oauth.client import Client
from ..oauth.token_response import read_value
from ..oauth.token_set import TokenSet
from ..ports import Clock, Provider
from ..profiles.expiry import look_up
from ..profiles.model import Profile, Subject
from ..profiles.templates import fill_template, fill_url
from ..record.token_document import build_consumer_headers
from ..secret import Secret
from ..settings import Settings
from .links import Authorization

#: With these a provider says that a token may not see an account, or that there is none.
_OF_ANOTHER_ACCOUNT = frozenset({400, 401, 403, 404})


@dataclass(frozen=True, slots=True)
class AccountBinding:
    """Finds the account of a grant that has just been obtained."""

    provider: Provider
    clock: Clock
    settings: Settings

    def find_subject(
        self,
        profile: Profile,
        authorization: Authorization,
        client: Client,
        tokens: TokenSet,
        id_token: Secret | None,
        nonce: str,
    ) -> str | None:
        """Return a digest of the account's id; None where the provider does not name the account.

        Raises
        ------
        ProviderRefused
            The ID token is not for this client, or not for this authorization.
        """
        rule = profile.subject
        if rule is None:
            return None
        if rule.source == "capture":
            value = tokens.captured.get(rule.path)
            if value is not None and rule.url is not None:
                value = self._confirm(profile, authorization, client, tokens, value)
        elif rule.source == "id_token":
            value = self._read_claim(rule, authorization, client, id_token, nonce)
        else:
            value = self._ask_provider(profile, rule, authorization, client, tokens)
        return digest_account(authorization.connection, rule, value)

    def _read_claim(
        self, rule: Subject, authorization: Authorization, client: Client, id_token: Secret | None, nonce: str
    ) -> str | None:
        """Return the claim of the verified ID token that names the account."""
        if id_token is None or client.client_id is None:
            return None
        variables = {**authorization.variables, "tid": id_tokens.read_unverified_claim(id_token.reveal(), "tid")}
        issuers = [issuer for template in rule.issuers if (issuer := fill_template(template, variables)) is not None]
        claims = id_tokens.verify_claims(
            id_token.reveal(), issuers=issuers, client_id=client.client_id, nonce=nonce, now=int(self.clock.now())
        )
        value = look_up(claims, rule.path)
        return value if isinstance(value, str) else None

    def _confirm(
        self, profile: Profile, authorization: Authorization, client: Client, tokens: TokenSet, value: str
    ) -> str | None:
        """Return a value of the browser if the provider accepts the new token for it; None if it does not say.

        Raises
        ------
        ProviderRefused
            The token is of another account: the value was changed on its way.
        """
        status = self._send(profile, authorization, client, tokens).status
        if status in _OF_ANOTHER_ACCOUNT:
            raise ProviderRefused(
                "The provider does not accept the token for the account that came back by the browser.",
                failure=AuthorizationFailure("account", status=status, reason="other_account"),
            )
        return value if 200 <= status < 300 else None

    def _ask_provider(
        self, profile: Profile, rule: Subject, authorization: Authorization, client: Client, tokens: TokenSet
    ) -> str | None:
        """Return the account that the provider's own address names for this access token."""
        answer = self._send(profile, authorization, client, tokens)
        return read_value(answer, rule.path) if answer.status == 200 else None

    def _send(self, profile: Profile, authorization: Authorization, client: Client, tokens: TokenSet) -> HttpResponse:
        """Ask the profile's address about the new token. A response that does not come is a 503."""
        request = build_userinfo_request(
            profile, authorization.variables, tokens, loopback=self.settings.allow_loopback
        )
        try:
            return self.provider.send(request, hosts=client.hosts, timeout=self.settings.budgets.request)
        except (NotSent, LostResponse):
            return HttpResponse(503, {}, b"")


def digest_account(connection: str, rule: Subject, value: str | None) -> str | None:
    """Return the digest by which an account is recognized; None without a value.

    It serves to compare, so that a table, a backup or a log does not reveal the account. It covers the connection's
    name too, and so does not reveal which connections share an account.
    """
    if not value:
        return None
    digest = sha256("\0".join((connection, rule.source, rule.path, value)).encode()).hexdigest()
    return f"sha256:{digest}"


def require_same_account(expected: str | None, found: str | None) -> None:
    """Refuse an account other than ``expected``, and one that the provider does not name.

    Raises
    ------
    WrongAccount
    """
    if expected is not None and found != expected:
        raise WrongAccount("The account is not the one that was connected before.")


def build_userinfo_request(
    profile: Profile, variables: Mapping[str, str], tokens: TokenSet, *, loopback: bool = False
) -> HttpRequest:
    """Build the request for the account's subject, authorized as a consumer's call is (see the profile's ``subject``).

    In OpenID Connect this is the UserInfo request (Core 1.0 section 5.3.1).
    """
    captured = {name: tokens.captured.get(name, "") for name in profile.callback.patterns}
    values = {**captured, **variables}
    url = fill_url(profile.subject.url or "", values, loopback=loopback) if profile.subject else ""
    given = build_consumer_headers(profile, variables, tokens)
    headers = {"accept": "application/json", **{name.lower(): value for name, value in given.items()}}
    return HttpRequest("GET", url, headers, b"")
