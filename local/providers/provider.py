"""A simulated provider: its endpoints, and the control operations of tests and the demo; no HTTP server."""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace

from oauthlib.oauth2 import FatalClientError, OAuth2Error

from local.providers import pages
from local.providers.authorization_server import AuthorizationServer
from local.providers.dialect import Dialect
from local.providers.login_server import LoginServer
from local.providers.messages import (
    Answer,
    TokenRequest,
    answer_json,
    compose_refresh,
    describe,
    describe_revocation,
    find_phase,
)
from local.providers.reports import describe_counts, describe_grants
from local.providers.settings import Settings
from local.providers.state import Client, State, fingerprint

Clock = Callable[[], float]


class Provider:
    """One simulated provider. Every method may be called from any thread.

    Parameters
    ----------
    dialect
        What it speaks.
    clients
        Applications registered from the start.
    settings
        Settings that differ from the provider's own.
    clock
        Returns epoch seconds.
    kept_requests
        How many of the last token requests are kept, without their secrets.

    Raises
    ------
    SettingError
        A setting is unknown or has an impossible value.
    """

    def __init__(
        self,
        dialect: Dialect,
        clients: tuple[Client, ...] = (),
        settings: Mapping[str, object] | None = None,
        clock: Clock = time.time,
        kept_requests: int = 200,
    ) -> None:
        self.dialect = dialect
        self._first_clients = clients
        self._first_settings = Settings.of(dialect).changed(settings or {})
        self._clock = clock
        self._lock = threading.RLock()
        self._requests: deque[dict[str, object]] = deque(maxlen=kept_requests)
        self._revocations: deque[dict[str, object]] = deque(maxlen=kept_requests)
        self._settings = self._first_settings
        self._state = State()
        self.reset()

    # --- endpoints ---

    def token(self, request: TokenRequest) -> Answer:
        """Answer a request at the token endpoint."""
        with self._lock:
            fields, answer = self._create_server().token(request)
            seen = describe(fields, request, answer, self.dialect)
            self._requests.append({"at": self._clock(), **seen})
            phase = find_phase(request, fields, self.dialect)
            self._state.counters[f"token:{phase}:{seen['error'] or 'ok'}"] += 1
        return answer

    def consent(self, query: str) -> Answer:
        """Answer an authorization request with the consent page, an error page, or a redirect with the error."""
        with self._lock:
            return self._authorize(query, lambda server, client: self._consent_page(query, client))

    def decide(self, query: str, decision: str | None) -> Answer:
        """Answer the form of the consent page: `allow` redirects with a code, `deny` with `access_denied`."""

        def decided(server: AuthorizationServer, client: Client) -> Answer:
            if decision not in ("allow", "deny"):
                return self._page(
                    400, pages.render_error_page(self.dialect.title, "Neither Allow nor Deny was chosen.")
                )
            return _redirect_to(server.allow(query) if decision == "allow" else server.deny(query))

        with self._lock:
            return self._authorize(query, decided)

    def api(self, headers: Mapping[str, str]) -> Answer:
        """Answer a call of the protected API. Header names are in lower case."""
        with self._lock:
            answer = self._api(headers)
            self._state.counters[f"api:{answer.status}"] += 1
        return answer

    def userinfo(self, headers: Mapping[str, str]) -> Answer:
        """Answer with the account of an access token. Header names are in lower case."""
        with self._lock:
            return self._create_server().userinfo(headers.get("authorization"))

    def revoke_token(self, request: TokenRequest) -> Answer:
        """Answer a request at the revocation endpoint."""
        with self._lock:
            answer = self._create_server().revoke(request)
            self._revocations.append(describe_revocation(request, answer, self.dialect))
            return answer

    # --- control operations ---

    def register(self, client: Client) -> None:
        """Register an application, or replace it (a new secret, say); its own revoked grant may be issued again."""
        with self._lock:
            self._state.clients[client.client_id] = client
            standing = self._state.standing_grants.get(client.client_id)
            if standing is not None and self._state.grants[standing].revoked_at is not None:
                del self._state.standing_grants[client.client_id]

    def change_settings(self, changes: Mapping[str, object]) -> dict[str, object]:
        """Change settings from now on and return them all.

        Raises
        ------
        SettingError
            A setting is unknown or has an impossible value; nothing is changed then.
        """
        with self._lock:
            self._settings = self._settings.changed(changes)
            return self._settings.as_dict()

    def settings(self) -> dict[str, object]:
        """Return all settings."""
        return self.change_settings({})

    def reset(self) -> None:
        """Delete all grants, requests and counts; restore the first clients and settings."""
        with self._lock:
            self._settings = self._first_settings
            self._state = State(clients={client.client_id: client for client in self._first_clients})
            self._requests.clear()
            self._revocations.clear()

    def revoke(self, grant: str | None = None, client_id: str | None = None) -> list[str]:
        """Revoke one grant, all of a client, or all; return the ids of those that were valid."""
        with self._lock:
            return [
                known.grant_id
                for known in tuple(self._state.grants.values())
                if grant in (None, known.grant_id) and client_id in (None, known.client_id)
                if self._state.revoke(known.grant_id, "revoked", self._clock())
            ]

    def kill_access_token(self, token_fingerprint: str) -> bool:
        """Invalidate one access token; return whether it exists."""
        with self._lock:
            for token in self._state.access_tokens.values():
                if fingerprint(token.access_token) == token_fingerprint:
                    self._state.access_tokens[token.access_token] = replace(token, dead=True)
                    return True
        return False

    def replay_all(self) -> dict[str, object]:
        """Replay every superseded refresh token, each against a copy of its grant; return the outcomes.

        The token endpoint's own code runs, with the right client; the live grants are not touched.
        """
        results: list[dict[str, object]] = []
        with self._lock:
            parts = self._state.split_by_grant()
            for token in self._state.refresh_tokens.values():
                if token.superseded_at is None:
                    continue
                client = self._state.clients[token.client_id]
                redirect_uri = self._state.grants[token.grant_id].redirect_uri
                request = compose_refresh(self.dialect, client, token.refresh_token, redirect_uri)
                _, answer = self._create_server(parts[token.grant_id].copy()).token(request)
                results.append(
                    {
                        "refresh_token": fingerprint(token.refresh_token),
                        "grant": token.grant_id,
                        "status": answer.status,
                        "error": answer.json().get("error"),
                        "refused": answer.status != 200,
                    }
                )
        refused = sum(1 for result in results if result["refused"])
        return {"replayed": len(results), "refused": refused, "accepted": len(results) - refused, "results": results}

    def requests(self, last: int | None = None) -> list[dict[str, object]]:
        """Return the last token requests, oldest first, with fingerprints for their secrets."""
        with self._lock:
            kept = list(self._requests)
        return kept if last is None else kept[max(len(kept) - last, 0) :]

    def revocations(self) -> list[dict[str, object]]:
        """Return the requests of the revocation endpoint, oldest first, with fingerprints for secrets."""
        with self._lock:
            return list(self._revocations)

    def grants(self) -> list[dict[str, object]]:
        """Return all grants, with the fingerprints of their valid tokens, and when tokens were issued."""
        with self._lock:
            return describe_grants(self._state, self._clock())

    def stats(self) -> dict[str, object]:
        """Return the counts since the start or the last reset."""
        with self._lock:
            return {"provider": self.dialect.name, **describe_counts(self._state)}

    # --- inside ---

    def _create_server(self, state: State | None = None) -> AuthorizationServer:
        kind = LoginServer if self.dialect.protocol == "login" else AuthorizationServer
        return kind(self.dialect, self._settings, self._state if state is None else state, self._clock())

    def _authorize(self, query: str, then: Callable[[AuthorizationServer, Client], Answer]) -> Answer:
        server = self._create_server()
        try:
            return then(server, server.check_authorization(query))
        except FatalClientError as error:
            explanation = f"The application's request was not understood: {error.description or error.error}"
            return self._page(400, pages.render_error_page(self.dialect.title, explanation))
        except OAuth2Error as error:
            return _redirect_to(server.redirect(error))
        except ValueError:  # oauthlib raises it for a malformed query
            return self._page(400, pages.render_error_page(self.dialect.title, "The address is malformed."))

    def _consent_page(self, query: str, client: Client) -> Answer:
        action = f"{self.dialect.authorize_path}?{query}"
        return self._page(
            200, pages.render_consent_page(self.dialect.title, client.name, self._settings.account, action)
        )

    @staticmethod
    def _page(status: int, html: str) -> Answer:
        return Answer(status, html, {"content-type": "text/html; charset=utf-8", **pages.PAGE_HEADERS})

    def _api(self, headers: Mapping[str, str]) -> Answer:
        challenge = f'Bearer realm="{self.dialect.title}"'
        if "authorization" not in headers:
            # RFC 6750, section 3.1: the response to a call without credentials names only the scheme.
            return answer_json(401, {"message": "Unauthorized"}, {"www-authenticate": challenge})
        if not self._create_server().accepts(headers["authorization"]):
            if self.dialect.api.dead_token_status == 403:
                return answer_json(403, {"message": "Forbidden"})
            challenge += ', error="invalid_token"'
            return answer_json(401, {"error": "invalid_token"}, {"www-authenticate": challenge})
        if self.dialect.accept is not None and headers.get("accept") != self.dialect.accept:
            return answer_json(406, {"message": f"The Accept header must be {self.dialect.accept}."})
        for name in self.dialect.api.required_headers:
            if not headers.get(name):
                return answer_json(400, {"message": f"Missing header: {name}"})
        return answer_json(200, self.dialect.api.answer)


def _redirect_to(location: str) -> Answer:
    # 303 and not 302, so that no browser repeats the form's POST at the client.
    return Answer(303, "", {"location": location, "cache-control": "no-store", "referrer-policy": "no-referrer"})
