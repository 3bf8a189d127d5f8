"""Put a callback through the real code: the browser's three steps, and the code's exchange by the real HTTP client."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from evergrant.adapters.http import GuardedHttp
from evergrant.connect import operator_actions
from evergrant.connect.authorization_flow import AuthorizationFlow
from evergrant.connect.links import issue_ticket
from evergrant.link_errors import LinkError
from evergrant.oauth.client import Client
from evergrant.oauth.token_set import TokenSet
from evergrant.ports import ConnectPorts
from evergrant.profiles.model import Profile
from evergrant.profiles.templates import fill_url
from evergrant.settings import Settings
from tests.field.case_format import CallbackCase
from tests.field.http_path import LoopbackProvider
from tests.field.placeholders import NOW
from tests.field.server import FieldServer
from tests.unit.memory import (
    CLIENT,
    FakeClock,
    Faults,
    MemoryAuthorizations,
    MemoryProfiles,
    MemoryQueue,
    MemoryRecords,
    MemorySeal,
    MemoryVault,
    unseal,
)

_REDIRECT_URI = "https://grants.example.com/callback"


def come_back(case: CallbackCase, server: FieldServer, http: GuardedHttp) -> dict[str, Any]:
    """Walk the browser's way, come back with the case's parameters, and describe the outcome."""
    profile = case.load_profile()
    name = f"{profile.name}/main"
    faults, clock = Faults(), FakeClock(NOW)
    records, authorizations, vault = MemoryRecords(faults), MemoryAuthorizations(), MemoryVault(faults)
    authorization, grant = operator_actions.plan(
        profile,
        name,
        variables=case.bind_variables(profile),
        scopes=case.scope,
        redirect_uri=_REDIRECT_URI,
    )
    vault.clients[profile.name] = _build_client(profile, authorization.variables)
    operator_actions.begin(records, authorization, grant, clock)
    flow = AuthorizationFlow(
        ConnectPorts(
            records,
            MemoryProfiles(profile),
            vault,
            MemorySeal(faults),
            LoopbackProvider(http, server.host),
            MemoryQueue(faults),
            clock,
            authorizations,
        ),
        Settings(),
    )
    ticket = issue_ticket(authorizations, authorization, NOW)
    started = flow.start_authorization(ticket, flow.describe_landing(ticket, None).cookie)
    params = dict(case.params)
    if case.with_state:
        params["state"] = dict(parse_qsl(urlsplit(started.url).query))["state"]
    server.play(*([case.answer] if case.answer else []))
    try:
        flow.handle_callback(params, started.cookie)
    except LinkError as error:
        return {"outcome": error.code, "missing_scope": None, "captured": {}}
    record = records.items[name]
    assert record.sealed
    tokens = TokenSet.decode(unseal(record.sealed))
    return {"outcome": "connected", "missing_scope": record.missing_scope, "captured": dict(tokens.captured)}


def _build_client(profile: Profile, variables: Mapping[str, str]) -> Client:
    """Build a client whose credentials may be sent to the token endpoint's host."""
    assert profile.exchange
    url = urlsplit(fill_url(profile.exchange.url, variables, loopback=False))
    return replace(CLIENT, name=profile.name, hosts=(url.netloc,))
