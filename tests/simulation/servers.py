"""Authorization servers as strict as the strictest one: single use, minimum age, client authentication, expiry.

A server is made from a profile, and answers as that profile is read. It is the truth that a run is judged by: which
grant is dead, and which access token works.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from urllib.parse import parse_qsl, unquote_plus, urlsplit

from evergrant.http_messages import HttpRequest, HttpResponse
from evergrant.profiles.model import Profile
from evergrant.profiles.request_specs import TokenRequest
from tests.simulation import responses

#: Used refresh tokens that a server remembers of a grant.
_REMEMBERED = 8
#: Servers count the age of a token in whole seconds.
_MINIMUM_AGE_TOLERANCE_SECONDS = 1


@dataclass(frozen=True)
class Terms:
    """What a server grants to one connection.

    ``lifetime`` is that of an access token, ``refresh_lifetime`` that of a refresh token (seconds). With ``same_token``
    the server hands out the same access token again until it expires. With ``one_a_second`` it fails with 500, without
    acting, at the second request in one second.
    """

    lifetime: int = 3600
    refresh_lifetime: float = inf
    same_token: bool = False
    one_a_second: bool = False


@dataclass
class Grant:
    """One account's grant. ``live`` is the refresh token that works; None once the grant is dead."""

    connection: str
    number: int
    terms: Terms
    began_at: float
    live: str | None = None
    issued: int = 0
    issued_at: float = -inf
    refresh_expires_at: float = inf
    used: dict[str, float] = field(default_factory=dict)
    #: Access tokens that were issued, each with the time at which it stops working.
    access: dict[str, float] = field(default_factory=dict)
    newest: str = ""
    died_of: str = ""

    def die(self, reason: str) -> None:
        self.live, self.died_of = None, reason


class AuthorizationServer:
    """The token endpoints of one provider.

    ``skew`` is how many seconds its clock is ahead of ours.
    """

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.skew = 0.0
        #: Client id to the secrets that it may authenticate by.
        self.secrets: dict[str, set[str]] = {}
        #: Client id to the connection of a headless grant, of which a client has one.
        self.headless: dict[str, str] = {}
        self.grants: dict[int, Grant] = {}
        #: The grants of each connection, the newest last.
        self.grants_of: dict[str, list[Grant]] = {}
        self._last_second: tuple[float, str] = (-1.0, "")

    def begin(self, connection: str, number: int, terms: Terms, now: float) -> Grant:
        """Begin a grant, as by consent."""
        grant = Grant(connection, number, terms, now)
        self.grants[number] = grant
        self.grants_of.setdefault(connection, []).append(grant)
        return grant

    def is_dead(self, connection: str) -> bool:
        """Whether the newest grant of a connection is dead."""
        return self.grants_of[connection][-1].live is None

    def find_end(self, connection: str, access_token: str) -> float:
        """Return when an access token stops working; minus infinity if it does not work any more."""
        return max(grant.access.get(access_token, -inf) for grant in self.grants_of[connection])

    def identify(self, params: Mapping[str, str], client_id: str | None) -> str | None:
        """Return the connection that a request is for."""
        token = params.get("refresh_token")
        if token is None:
            return self.headless.get(client_id or "")
        grant = self._find_grant(token)
        return grant.connection if grant else None

    def handle(self, spec: TokenRequest, request: HttpRequest, params: Mapping[str, str], now: float) -> HttpResponse:
        """Act on one request, and answer it."""
        client_id, is_known = self._authenticate(spec, request, params)
        if not is_known:
            return self._refuse(401, "invalid_client", now)
        token = params.get("refresh_token")
        if token is None:
            return self._renew_headless(self.headless[client_id or ""], now)
        grant = self._find_grant(token)
        if grant is None:
            return self._refuse(400, "invalid_grant", now)
        return self._refresh(grant, token, now)

    def issue(self, grant: Grant, now: float) -> HttpResponse:
        """Issue the next token set of a grant."""
        terms, rotation = grant.terms, self.profile.rotation
        grant.issued += 1
        if not (terms.same_token and grant.access.get(grant.newest, 0) > now):
            self._issue_access_token(grant, now)
        if grant.live is None or rotation.rotates:
            grant.live = f"refresh.{grant.number}.{grant.issued}"
        if rotation.refresh_token_life != "hard" or grant.issued == 1:
            grant.refresh_expires_at = now + terms.refresh_lifetime
        if rotation.refresh_token_life == "with_access_token":
            grant.refresh_expires_at = now + terms.lifetime
        grant.issued_at = now
        return self._build_response(grant, now)

    def _refresh(self, grant: Grant, token: str, now: float) -> HttpResponse:
        rotation, terms = self.profile.rotation, grant.terms
        if grant.live is None:
            return self._refuse(400, "invalid_grant", now)
        if token in grant.used and now <= grant.used[token] + rotation.reuse_grace:
            return self._build_response(grant, now)
        if token != grant.live:
            grant.die("a refresh token came twice outside its grace")
            return self._refuse(400, "invalid_grant", now)
        if now >= grant.refresh_expires_at:
            grant.die("its refresh token expired")
            return self._refuse(400, "invalid_grant", now)
        if now < grant.issued_at + rotation.minimum_age - _MINIMUM_AGE_TOLERANCE_SECONDS:
            return self._refuse(400, "access_denied", now)
        if terms.one_a_second and int(now) == int(self._last_second[0]) and self._last_second[1] != token:
            return responses.answer(500, responses.PAGE, now + self.skew)
        response = self.issue(grant, now)
        self._last_second = now, grant.live
        if rotation.rotates:
            grant.used[token] = now
            if len(grant.used) > _REMEMBERED:
                grant.used.pop(next(iter(grant.used)))
        return response

    def _renew_headless(self, connection: str, now: float) -> HttpResponse:
        return self.issue(self.grants_of[connection][-1], now)

    def _issue_access_token(self, grant: Grant, now: float) -> None:
        grant.newest = self._name_access_token(grant, now)
        if self.profile.rotation.old_access_token_revoked:
            grant.access.clear()
        elif len(grant.access) > 2:
            grant.access.pop(next(iter(grant.access)))
        grant.access[grant.newest] = now + grant.terms.lifetime

    def _name_access_token(self, grant: Grant, now: float) -> str:
        name = f"access.{grant.number}.{grant.issued}"
        first = self.profile.response.expires[0]
        if first.jwt is not None:
            issued_at = int(now + self.skew)
            return responses.build_jwt({"jti": name, "iat": issued_at, "exp": issued_at + grant.terms.lifetime})
        return name

    def _build_response(self, grant: Grant, now: float) -> HttpResponse:
        refresh_lifetime = grant.refresh_expires_at - now
        says_refresh_token = self.profile.refresh is not None and (self.profile.rotation.rotates or grant.issued == 1)
        return responses.build_token_response(
            self.profile,
            grant.newest,
            grant.live if says_refresh_token else None,
            now + self.skew,
            int(grant.access[grant.newest] - now),
            refresh_lifetime if refresh_lifetime < inf else None,
        )

    def _find_grant(self, token: str) -> Grant | None:
        kind, _, rest = token.partition(".")
        number = rest.partition(".")[0]
        return self.grants.get(int(number)) if kind == "refresh" and number.isdecimal() else None

    def _refuse(self, status: int, code: str, now: float) -> HttpResponse:
        return responses.build_error(self.profile, status, code, now + self.skew)

    def _authenticate(
        self, spec: TokenRequest, request: HttpRequest, params: Mapping[str, str]
    ) -> tuple[str | None, bool]:
        """Return the client id, and whether the client is who it says."""
        client_id, secret = read_client(spec, request, params)
        if spec.client_auth == "none" and secret is None:
            return client_id, True
        return client_id, secret in self.secrets.get(client_id or "", ())


def read_client(spec: TokenRequest, request: HttpRequest, params: Mapping[str, str]) -> tuple[str | None, str | None]:
    """Return client id and client secret of a request, from where this provider looks for them."""
    if spec.client_auth in ("basic", "basic_raw"):
        pair = b64decode(request.headers["authorization"].removeprefix("Basic ")).decode()
        client_id, _, secret = pair.partition(":")
        return (
            (client_id, secret) if spec.client_auth == "basic_raw" else (unquote_plus(client_id), unquote_plus(secret))
        )
    if spec.client_auth == "none" and "access_key_id" in params:
        return params["access_key_id"], params.get("secret_access_key")
    return params.get("client_id"), params.get("client_secret")


def read_params(spec: TokenRequest, request: HttpRequest) -> dict[str, str]:
    """Return the parameters of a request, from where the profile puts them."""
    if spec.format == "query":
        return dict(parse_qsl(urlsplit(request.url).query))
    text = request.body.decode()
    return dict(json.loads(text)) if spec.format == "json" else dict(parse_qsl(text))
