"""Connecting accounts: the operator's entry of a client, the owner's consent, and the server's grant."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, cast
from urllib.parse import urlsplit

from evergrant.connect import operator_actions
from evergrant.connect.grant_save import GrantSave, NewGrant, require_connected
from evergrant.connect.links import Authorization
from evergrant.oauth.client import Client
from evergrant.oauth.issuance import describe_issuance
from evergrant.oauth.token_response import parse_token_response
from evergrant.oauth.token_set import TokenSet
from evergrant.ports import RotationPorts
from evergrant.profiles.model import HEADLESS_GRANTS, Profile, content_hash
from evergrant.profiles.templates import fill_url
from evergrant.secret import Secret
from evergrant.settings import Settings
from tests.simulation.internet import Internet
from tests.simulation.servers import AuthorizationServer, Terms

#: What a variable without a default may look like; the first that its pattern takes.
_EXAMPLES = ("api{}.example.com", "tenant{}", "https://api.example.com", "organizations")


@dataclass
class Member:
    """A connection of a run: how it is connected, and where its requests go. ``times`` counts its grants."""

    name: str
    profile: Profile
    server: AuthorizationServer
    authorization: Authorization
    grant: str
    terms: Terms
    endpoint: str
    times: int = 0


class Registry:
    """The clients, profiles and connections of a run."""

    def __init__(
        self, internet: Internet, ports: RotationPorts, settings: Settings, clients: dict[str, Client]
    ) -> None:
        self.members: dict[str, Member] = {}
        self.servers: dict[str, AuthorizationServer] = {}
        self.profiles: dict[str, Profile] = {}
        #: When each client's entry was changed last.
        self.corrected_at: dict[str, float] = {}
        self._internet = internet
        self._ports = ports
        self._settings = settings
        self._clients = clients
        self._accounts, self._grants = count(1), count(1)

    def load_pinned(self, content_hash: str) -> Profile:
        """The port of the stored profiles."""
        return self.profiles[content_hash]

    def plan(
        self, profile: Profile, client: str | None, grant: str | None, terms: Terms, variables: Mapping[str, str]
    ) -> Member:
        """Prepare a connection: the entry of its client, and its provider."""
        grant, number = grant or profile.grants[0], next(self._accounts)
        name = f"{profile.name}/a{number}"
        authorization, grant = operator_actions.plan(
            profile,
            name,
            # A headless grant is the client's own: each has a client of its own.
            client=f"{profile.name}-{number}" if grant in HEADLESS_GRANTS else client,
            grant=grant,
            variables={**choose_variables(profile, number), **variables},
            redirect_uri="https://grants.example.com/callback",
        )
        self.profiles[content_hash(profile)] = profile
        server = self.servers.setdefault(profile.name, AuthorizationServer(profile))
        endpoint = self._add_endpoints(profile, authorization, grant, server)
        self._register_client(server, authorization, name if grant in HEADLESS_GRANTS else None)
        member = self.members[name] = Member(name, profile, server, authorization, grant, terms, endpoint)
        return member

    def connect(self, member: Member) -> None:
        """Connect the account, or connect it again: what `evergrant connect` and its owner's consent come to."""
        ports, now = self._ports, self._ports.clock.now()
        grant = member.server.begin(member.name, next(self._grants), member.terms, now)
        member.times += 1
        if member.grant in HEADLESS_GRANTS or ports.records.get(member.name) is None:
            operator_actions.begin(ports.records, member.authorization, member.grant, ports.clock)
        if member.grant in HEADLESS_GRANTS:
            return
        response = member.server.issue(grant, now)
        tokens = parse_token_response(member.profile, response, int(now), None, member.authorization.variables)
        assert isinstance(tokens, TokenSet)
        current = ports.records.get(member.name)
        assert current is not None
        require_connected(current)
        data_key = ports.seal.prepare(member.name, current.generation + 1)
        save = GrantSave(ports.records, ports.seal, ports.queue, ports.clock, self._settings)
        entry = ports.vault.client(member.authorization.client)
        issuance = describe_issuance(member.profile, member.authorization, entry)
        save.save(current, NewGrant(member.authorization, member.grant, member.profile, tokens, issuance), data_key)
        ports.queue.send({"connection": member.name})

    def set_secret(self, client: str, secret: str, *, works: bool = True) -> None:
        """Store another secret of a client, as `evergrant client set` does; ``works``: its servers know it."""
        entry = self._clients[client]
        version = int(entry.version or 0) + 1
        self.corrected_at[client] = self._ports.clock.now()
        self._clients[client] = replace(entry, secrets=(Secret(secret),), version=str(version))
        for server in self.servers.values():
            for client_id, secrets in server.secrets.items():
                if works and client_id == entry.client_id:
                    secrets.add(secret)

    def _add_endpoints(
        self, profile: Profile, authorization: Authorization, grant: str, server: AuthorizationServer
    ) -> str:
        """Make the provider's endpoints known. Returns the one to which this grant's requests go."""
        urls = {}
        for phase in ("refresh", "client_credentials", "login", "revoke"):
            spec = getattr(profile, phase)
            if spec is not None:
                urls[phase] = fill_url(spec.url, authorization.variables, loopback=False)
                self._internet.add_endpoint(urls[phase], server, phase, spec)
        entry = self._clients.get(authorization.client) or _create_client(authorization.client)
        hosts = {urlsplit(url).netloc for url in urls.values()}
        self._clients[entry.name] = replace(entry, hosts=tuple(sorted({*entry.hosts, *hosts})))
        return urls.get("refresh" if grant == "authorization_code" else grant, "")

    def _register_client(self, server: AuthorizationServer, authorization: Authorization, headless: str | None) -> None:
        entry = self._clients[authorization.client]
        key_id, key = (entry.credentials[name].reveal() for name in ("access_key_id", "secret_access_key"))
        server.secrets.setdefault(entry.client_id or "", set()).update(secret.reveal() for secret in entry.secrets)
        server.secrets.setdefault(key_id, set()).add(key)
        if headless:
            server.headless |= {entry.client_id or "": headless, key_id: headless}


def _create_client(name: str) -> Client:
    credentials = {"access_key_id": Secret(f"key-of-{name}"), "secret_access_key": Secret("canary-key")}
    return Client(name, f"id-of-{name}", (Secret(f"canary-of-{name}"),), (), credentials, version="1")


def choose_variables(profile: Profile, number: int) -> dict[str, Any]:
    """Choose values for the variables that have no default."""
    chosen = {}
    for name, variable in profile.variables.items():
        if variable.default is None:
            examples = (example.format(number) for example in _EXAMPLES)
            chosen[name] = next(example for example in examples if re.fullmatch(variable.pattern, example))
    return cast(dict[str, Any], chosen)
