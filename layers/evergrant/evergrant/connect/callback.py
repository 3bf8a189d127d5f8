"""Turn the authorization response into a saved grant: check it, exchange the code, learn the account, save.

Nothing is sent to the provider before every local check has passed. Nothing is saved before all checks have passed, so
that a refusal leaves an earlier grant as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from ..authorization_failure import AuthorizationFailure
from ..errors import Conflict
from ..link_errors import Denied, LinkError, LinkInvalid, LinkUsed, NotFinished, ProviderRefused
from ..oauth.authorization_response import RefusalMeaning, parse_authorization_response
from ..oauth.issuance import describe_issuance
from ..oauth.scopes import find_missing_scopes, name_granted_scope
from ..oauth.token_set import TokenSet
from ..ports import ConnectPorts
from ..profiles.model import Profile
from ..record.connection import Connection, RecordFields
from ..settings import Settings
from .account_binding import AccountBinding, require_same_account
from .attempt_limits import AttemptLimits
from .code_exchange import CodeExchange
from .grant_save import GrantSave, NewGrant, require_connected
from .links import RETENTION_SECONDS, Authorization, code_key
from .mix_up import MixUpDefence
from .pkce_binding import PkceBinding

#: The error that each meaning of a refused authorization raises.
_REFUSALS: Mapping[RefusalMeaning, Callable[..., LinkError]] = {
    "declined": partial(Denied, "Access was not allowed."),
    "not_finished": partial(NotFinished, "The person did not finish at the provider."),
    "refused": partial(ProviderRefused, "The provider refused the authorization."),
}


@dataclass(frozen=True, slots=True)
class CallbackExchange:
    """The part of the callback that calls the provider."""

    ports: ConnectPorts
    settings: Settings

    def obtain_grant(
        self,
        params: Mapping[str, str],
        profile: Profile,
        authorization: Authorization,
        binding: PkceBinding,
        *,
        another_account: bool,
        arrived_for: str | None,
        ticket: str,
    ) -> Connection:
        """Exchange the code and save the grant, after every local check.

        ``ticket`` is the key of the link's ticket.

        Raises
        ------
        LinkInvalid, TooManyAttempts, Denied, WrongProvider, WrongAccount, NoRefreshToken, ProviderRefused
        """
        MixUpDefence(self.ports.profiles).require_asked_provider(profile, authorization, params, arrived_for)
        callback = parse_authorization_response(profile, params)
        if callback.meaning is not None:
            raise _REFUSALS[callback.meaning](failure=AuthorizationFailure("authorization", error=callback.error))
        if callback.code is None:
            raise ProviderRefused(
                "The provider's answer holds no authorization code.",
                failure=AuthorizationFailure("authorization", reason="no_code"),
            )
        client = self.ports.vault.client(authorization.client)
        current = self.ports.records.get(authorization.connection)
        if current is None:
            raise LinkInvalid("The connection is gone.")
        require_connected(current)
        # Fetched before the code is used: afterwards the save alone stands between the tokens and their loss.
        data_key = self.ports.seal.prepare(current.name, current.generation + 1)
        issuance = describe_issuance(profile, authorization, client)
        ports = self.ports
        exchange = CodeExchange(ports.provider, ports.clock, self.settings)
        AttemptLimits(ports.authorizations, ports.clock).count(ticket, current.name, "exchanges")
        self._use_up(current.name, callback.code)
        exchanged = exchange.exchange(profile, authorization, client, callback.code, binding.code_verifier)
        tokens = replace(exchanged.tokens, captured={**callback.captured, **exchanged.tokens.captured})
        accounts = AccountBinding(ports.provider, ports.clock, self.settings)
        subject = accounts.find_subject(profile, authorization, client, tokens, exchanged.id_token, binding.nonce)
        if profile.subject and not another_account:
            require_same_account(current.subject, subject)
        learned: RecordFields = {"subject": subject, **_compare_scopes(current, authorization, tokens, profile)}
        granting = GrantSave(ports.records, ports.seal, ports.queue, ports.clock, self.settings)
        new = NewGrant(authorization, "authorization_code", profile, tokens, issuance, learned)
        return granting.save(current, new, data_key)

    def _use_up(self, connection: str, code: str) -> None:
        """Store that the code is used. A server that sees a code twice revokes its tokens (RFC 6749 section 4.1.2)."""
        now = int(self.ports.clock.now())
        try:
            self.ports.authorizations.put(code_key(connection, code), {"used_at": now}, now + RETENTION_SECONDS)
        except Conflict as conflict:
            raise LinkUsed("This code was used already.") from conflict


def _compare_scopes(
    current: Connection, authorization: Authorization, tokens: TokenSet, profile: Profile
) -> RecordFields:
    """Return what was granted, and what is missing.

    Where the same was asked for before, what was granted then is the measure: a server that never names a scope as it
    was asked for does not seem to refuse it for ever. A server that names no scope granted what was asked for (RFC 6749
    section 5.1).
    """
    asked, implied = authorization.scope, profile.scopes.implied
    is_repeated = current.authorization_id is not None and current.scope == asked
    measure = (current.granted_scope if is_repeated else None) or asked
    missing = " ".join(find_missing_scopes(measure, tokens.scope, implied))
    return {"granted_scope": name_granted_scope(asked, tokens.scope, implied), "missing_scope": missing or None}
