"""Which account a grant is of, by the way that the profile names (see :class:`evergrant.profiles.model.Subject`)."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from ..errors import LostResponse, NotSent, WrongAccount
from ..oauth import id_token as id_tokens
from ..oauth.client import Client
from ..oauth.consumer_headers import build_userinfo_request
from ..oauth.response_body import read_value
from ..oauth.token_set import TokenSet
from ..ports import Clock, Provider
from ..profiles.dotted_path import look_up
from ..profiles.model import Profile, Subject
from ..profiles.templates import fill_template
from ..secret import Secret
from ..settings import Settings
from .links import Authorization


@dataclass(frozen=True, slots=True)
class AccountBinding:
    """Learns the account of a grant that has just been obtained."""

    provider: Provider
    clock: Clock
    settings: Settings

    def subject(
        self,
        profile: Profile,
        authorization: Authorization,
        client: Client,
        tokens: TokenSet,
        id_token: Secret | None,
        nonce: str,
    ) -> str | None:
        """A digest of the account's id, None where the provider does not tell.

        A digest, since to compare is all it is for: whose account it is, is nobody's business in a table, a backup or
        a log. It is of the connection too, so that it does not show which connections share an account.

        Raises
        ------
        ProviderRefused
            The ID token is not for this client, or not for this authorization.
        """
        told = profile.subject
        if told is None:
            return None
        if told.source == "capture":
            value = tokens.captured.get(told.path)
        elif told.source == "id_token":
            value = self._claimed(told, authorization, client, id_token, nonce)
        else:
            value = self._asked(profile, told, authorization, client, tokens)
        if not value:
            return None
        digest = sha256("\0".join((authorization.connection, told.source, told.path, value)).encode()).hexdigest()
        return f"sha256:{digest}"

    def _claimed(
        self, told: Subject, authorization: Authorization, client: Client, id_token: Secret | None, nonce: str
    ) -> str | None:
        if id_token is None or client.client_id is None:
            return None
        named = {**authorization.variables, "tid": id_tokens.read_unverified_claim(id_token.reveal(), "tid")}
        issuers = [issuer for template in told.issuers if (issuer := fill_template(template, named)) is not None]
        claims = id_tokens.verify_claims(
            id_token.reveal(), issuers=issuers, client_id=client.client_id, nonce=nonce, now=int(self.clock.now())
        )
        value = look_up(claims, told.path)
        return value if isinstance(value, str) else None

    def _asked(
        self, profile: Profile, told: Subject, authorization: Authorization, client: Client, tokens: TokenSet
    ) -> str | None:
        request = build_userinfo_request(
            profile, authorization.variables, tokens, loopback=self.settings.allow_loopback
        )
        try:
            answer = self.provider.send(request, hosts=client.hosts, timeout=self.settings.budgets.request)
        except (NotSent, LostResponse):
            return None
        return read_value(answer, told.path) if answer.status == 200 else None


def require_same_account(expected: str | None, found: str | None) -> None:
    """Refuse another account than ``expected``, and one of which the provider does not tell.

    Raises
    ------
    WrongAccount
    """
    if expected is not None and found != expected:
        raise WrongAccount("The account is not the one that was connected before.")
