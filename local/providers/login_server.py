"""A token endpoint without OAuth: a log-in with JSON, a refresh at another address, refusals by status."""

import hmac

from oauthlib.oauth2 import InvalidRequestError

from local.providers.authorization_server import AuthorizationServer
from local.providers.dialect import Phase
from local.providers.messages import Answer, TokenRequest, answer_json, find_phase, read_fields, spell
from local.providers.state import Client


class _RefusedError(Exception):
    """A request that is refused."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class LoginServer(AuthorizationServer):
    """An authorization server that issues tokens for a log-in.

    Its requests and refusals use no term of OAuth. It accepts exactly the documented fields: no documentation says
    which others such a provider would ignore.
    """

    def token(self, request: TokenRequest) -> tuple[dict[str, str] | None, Answer]:
        """Answer a log-in or a refresh; return the request's fields too, if they could be read."""
        fields = None
        try:
            fields = read_fields(request, self._dialect)
            return fields, answer_json(200, spell(self._issue_for(request, fields), self._dialect))
        except InvalidRequestError as error:
            return fields, answer_json(error.status_code, {"message": error.description})
        except _RefusedError as refused:
            return fields, answer_json(refused.status, {"message": refused.message})

    def _issue_for(self, request: TokenRequest, fields: dict[str, str]) -> dict[str, object]:
        if request.query or "authorization" in request.headers:
            raise _RefusedError(400, "Credentials belong in the body.")
        name = find_phase(request, fields, self._dialect)
        phase = self._dialect.phases.get(name)
        if phase is None:
            raise _RefusedError(404, "There is nothing here.")
        return self._refresh(phase, fields) if name == "refresh_token" else self._login(phase, fields)

    def _login(self, phase: Phase, fields: dict[str, str]) -> dict[str, object]:
        client = self._authenticate(phase, fields)
        if client is None:
            raise _RefusedError(401, "The credentials are wrong.")
        scope = " ".join(self._dialect.scopes)
        grant = self._state.new_grant("login", client.client_id, self._settings.account, scope, self._now)
        return self._issue(grant.grant_id, client.client_id, self._token_store.new_refresh_token())

    def _refresh(self, phase: Phase, fields: dict[str, str]) -> dict[str, object]:
        if fields.keys() != set(phase.required):
            raise _RefusedError(400, f"Wanted: {', '.join(phase.required)}.")
        if self._token_store.find_valid_refresh_token(fields["refresh_token"]) is None:
            raise _RefusedError(int(self._settings.dead_refresh_token), "The refresh token is not accepted.")
        used = self._token_store.use_refresh_token(fields["refresh_token"])
        single_use = self._settings.single_use_refresh_tokens
        refresh_token = self._token_store.new_refresh_token() if single_use else used.refresh_token
        return self._issue(used.grant_id, used.client_id, refresh_token)

    def _issue(self, grant_id: str, client_id: str, refresh_token: str) -> dict[str, object]:
        access_token = self._token_store.new_access_token(client_id)
        self._token_store.save(grant_id, client_id, access_token, refresh_token)
        return {
            "access_token": access_token,
            "refresh_token": refresh_token,
            "expires_in": self._settings.access_token_lifetime,
        }

    def _authenticate(self, phase: Phase, fields: dict[str, str]) -> Client | None:
        """Return the client that the fields authenticate, by its key or by a person's password."""
        if fields.keys() == set(phase.client_fields):
            pairs = [(client, client.client_id, client.client_secret) for client in self._state.clients.values()]
            name, secret = (fields[field] for field in phase.client_fields)
        elif phase.person_fields is not None and fields.keys() == set(phase.person_fields):
            pairs = [
                (client, client.username, client.password)
                for client in self._state.clients.values()
                if client.username is not None and client.password is not None
            ]
            name, secret = (fields[field] for field in phase.person_fields)
        else:
            ways = [way for way in (phase.client_fields, phase.person_fields) if way is not None]
            raise _RefusedError(400, f"Wanted: {', or '.join(' and '.join(way) for way in ways)}.")
        for client, known, password in pairs:
            if known == name and hmac.compare_digest(password.encode(), secret.encode()):
                return client
        return None
