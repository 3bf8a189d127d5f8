"""Protects the promise that no secret leaves in the clear: rotations and an authorization run whole, with the real
deployment, the real adapters and a provider on loopback, and all that left the process is searched for what may not.

A refresh token, a code, a verifier and a client secret go to the provider and nowhere else; an access token goes into
its ``tokens/`` secret and the answer of who asked for it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from evergrant.adapters.aws.profiles import StoredProfiles
from evergrant.connect import operator_actions
from evergrant.connect.authorization_flow import AuthorizationFlow
from evergrant.connect.imported_set import parse_token_set
from evergrant.connect.links import Authorization, issue_ticket
from evergrant.connect.token_import import TokenImport, parse_pasted_key
from evergrant.oauth.token_files import find_token_sets
from evergrant.ports import PortUnavailable
from evergrant.profiles import built_in
from evergrant.profiles.model import content_hash
from evergrant.rotation.refresh_demand import TokenDemand
from evergrant.wiring import deployment
from tests.adapters.canary_stage import (
    CANARIES,
    GOSSIP,
    GRANTED,
    PRIVATE,
    PUBLISHED,
    TALKATIVE,
    Stage,
    inactive,
    nothing_leaked,
    refuses,
    stage,
    watching,
)
from tests.adapters.hooks import failing, on
from tests.adapters.leaks import everything_in, find_secrets, forms_of
from tests.adapters.loopback import Behaviour, Server, answers, closes, sends
from tests.adapters.samples import NAME, NOW

# --- the search itself --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CANARIES)
def test_the_search_finds_what_it_looks_for(name: str) -> None:
    # Every test below passes if this does not.
    secret = CANARIES[name]
    for form in forms_of(secret):
        assert find_secrets(b"before " + form + b" after", CANARIES) == {name}
    assert find_secrets(json.dumps({"x": [secret]}), CANARIES) == {name}
    assert all(len(form) >= 12 for form in forms_of(secret))


# --- rotations ----------------------------------------------------------------------------------------------------


def test_a_rotation_publishes_the_access_token_and_nothing_else_leaks(environment: None) -> None:
    with stage(answers(json.dumps(GRANTED).encode())) as on_stage, watching() as outside:
        on_stage.work()
    assert on_stage.record.generation == on_stage.record.published_generation == 8
    request = on_stage.server.requests[0]
    assert find_secrets(request, PRIVATE) >= {"old refresh token"}  # the canaries really were on their way
    assert outside.calls("GenerateDataKey")
    assert outside.calls("PutEvents")
    assert outside.logged.getvalue()
    nothing_leaked(outside)
    assert find_secrets(inactive()["secrets"], CANARIES) == {"new access token"}


def test_who_asks_gets_the_access_token_and_no_other_secret(environment: None) -> None:
    with stage(answers(json.dumps(GRANTED).encode())) as on_stage, watching() as outside:
        fresh = on_stage.ask()
        assert find_secrets(json.dumps(fresh), CANARIES) == {"old access token"}
        forced = on_stage.ask(force=True)
    assert find_secrets(json.dumps(forced), CANARIES) == {"new access token"}
    nothing_leaked(outside)


@pytest.mark.parametrize(
    ("behave", "expected"),
    [
        (refuses("invalid_grant"), "invalid_grant"),
        (refuses("invalid_client"), "invalid_client"),
        (refuses(PRIVATE["old refresh token"]), "rejected_unknown"),
        (answers(TALKATIVE, "500 Oh"), "unclear"),
        (answers(TALKATIVE), "unclear"),
        (answers(json.dumps({**GOSSIP, "token": GRANTED["access_token"]}).encode()), "unreadable_response"),
        (answers(TALKATIVE, "302 Found", f"location: /?t={PUBLISHED['new access token']}\r\n"), "not_reached"),
        (sends(b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n" + TALKATIVE), "lost_response"),
        (sends(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + TALKATIVE + b"\r\n"), "lost_response"),
        (sends(TALKATIVE + b"\r\n\r\n"), "lost_response"),
        (closes, "lost_response"),
    ],
    ids=[
        "grant-refused", "client-refused", "token-as-code", "server-error", "no-token", "unreadable", "redirect", "cut",
        "garbled", "no-http", "closed",
    ],
)  # fmt: skip
def test_a_failed_rotation_leaks_nothing_that_the_provider_says(
    environment: None, behave: Behaviour, expected: str
) -> None:
    with stage(behave) as on_stage, watching() as outside:
        on_stage.work()
        found = on_stage.ask(min_ttl=10_000)
    assert on_stage.server.requests
    assert on_stage.record.last_error == expected
    assert find_secrets(json.dumps(found), PRIVATE) == set()
    nothing_leaked(outside)


def test_an_answer_that_is_read_again_leaks_nothing_of_what_it_holds(environment: None) -> None:
    odd = {"renamed": GRANTED["access_token"], **{name: GRANTED[name] for name in ("refresh_token", "expires_in")}}
    keap = built_in.load_built_in()["keap"]
    response = msgspec.structs.replace(keap.response, access_token=("renamed",))
    with stage(answers(json.dumps(odd).encode())) as on_stage, watching() as outside:
        on_stage.work()
        assert on_stage.record.unreadable_response is not None
        again = on_stage.ask(reparse=content_hash(keap))
        assert again["error"]["code"] == "unreadable_response"
        assert find_secrets(json.dumps(again), CANARIES) == set()
        nothing_leaked(outside)
        corrected = StoredProfiles("records").keep(msgspec.structs.replace(keap, response=response))
        on_stage.clock.sleep(60)  # until the first worker's lease has run out
        found = on_stage.ask(reparse=corrected)
        assert find_secrets(json.dumps(found), CANARIES) == {"new access token"}
    assert on_stage.record.expires_at == NOW + 86_400, "from the moment at which the request was sent"
    assert len(on_stage.server.requests) == 1
    nothing_leaked(outside)
    assert find_secrets(inactive()["secrets"], CANARIES) == {"new access token"}


def test_a_refused_client_leaves_nothing_of_its_secrets_in_its_item(environment: None) -> None:
    with stage(refuses("invalid_client")) as on_stage, watching() as outside:
        on_stage.ports.circuits.change("client#keap", {"accepted_version": "another entry"}, only_if={})
        on_stage.work()
        on_stage.ask(force=True)
    circuit = on_stage.ports.circuits.get_many(("client#keap",))["client#keap"]
    assert circuit.is_open
    assert circuit.version
    nothing_leaked(outside)


@contextmanager
def table_gone_after_the_attempt(server: Server) -> Iterator[None]:
    def refuse(**_: Any) -> None:
        if server.requests:
            raise PortUnavailable("the table is gone")

    with on("dynamodb", "provide-client-params.dynamodb.UpdateItem", refuse):
        yield


def test_a_token_set_the_table_rejects_goes_sealed_into_the_queue(environment: None) -> None:
    """A token set that the table does not take goes into the queue sealed."""
    with stage(answers(json.dumps(GRANTED).encode())) as on_stage, watching() as outside:
        with table_gone_after_the_attempt(on_stage.server):
            on_stage.work()
        assert on_stage.record.generation == 7
        [sent] = outside.calls("SendMessage")
        assert b"change" in sent
        nothing_leaked(outside)
        body = json.loads(parse_message(sent))
        on_stage.work(**body)
        assert on_stage.record.generation == 8
        on_stage.clock.sleep(60)  # until the first worker's lease has run out
        on_stage.work()
    assert find_secrets(inactive()["secrets"], CANARIES) == {"new access token"}
    nothing_leaked(outside)


def parse_message(sent: bytes) -> str:
    return str(json.loads(sent.splitlines()[-1])["MessageBody"])


@pytest.mark.parametrize(
    ("service", "operation"),
    [
        ("dynamodb", "GetItem"),
        ("dynamodb", "UpdateItem"),
        ("kms", "Decrypt"),
        ("kms", "GenerateDataKey"),
        ("secretsmanager", "GetSecretValue"),
        ("secretsmanager", "PutSecretValue"),
        ("secretsmanager", "CreateSecret"),
        ("events", "PutEvents"),
    ],
)
def test_no_exception_carries_a_secret_when_a_service_fails(environment: None, service: str, operation: str) -> None:
    raised: list[str] = []
    with stage(answers(json.dumps(GRANTED).encode())) as on_stage, watching() as outside:
        with failing(service, operation):
            for ask in (TokenDemand(NAME), TokenDemand(NAME, caller_waits=True, force=True)):
                _caught(lambda ask=ask: on_stage.rotation().run(ask), raised)  # type: ignore[misc]
            on_stage.work()
            found = on_stage.ask(force=True)
        assert find_secrets(json.dumps(found), PRIVATE) == set()
        nothing_leaked(outside)
    assert find_secrets("\n".join(raised), CANARIES) == set()


def test_no_exception_carries_a_secret_when_the_clients_entry_is_broken(environment: None) -> None:
    raised: list[str] = []
    with stage(closes) as on_stage, watching() as outside:
        for text in (PRIVATE["client secret"], json.dumps({"client_secrets": PRIVATE["client secret"]})):
            outside.aws.clear()
            with on("secretsmanager", "after-call.secretsmanager.GetSecretValue", _replacing("SecretString", text)):
                _caught(lambda: on_stage.ports.vault.client("keap"), raised)
                on_stage.work()
                on_stage.ask(force=True)
            nothing_leaked(outside)
    assert len(raised) == 2
    assert on_stage.record.last_error == "invalid_client_entry"
    assert find_secrets("\n".join(raised), CANARIES) == set()


def _caught(call: Callable[[], object], raised: list[str]) -> None:
    try:
        call()
    except Exception as error:  # noqa: BLE001 - any error is searched
        raised.append(everything_in(error))


def _replacing(name: str, value: str) -> Callable[..., None]:
    def replace_it(parsed: dict[str, Any], **_: Any) -> None:
        parsed[name] = value

    return replace_it


# --- a pasted key -------------------------------------------------------------------------------------------------


_GIVEN = ("access_token", "refresh_token", "expires_in")


def paste(on_stage: Stage, key: str) -> None:
    ports, keap = on_stage.ports, built_in.load_built_in()["keap"]
    importing = TokenImport(ports.records, ports.seal, ports.queue, on_stage.clock, deployment.load_settings())
    authorization, grant = operator_actions.plan(keap, NAME, grant="static")
    importing.keep(authorization, grant, keap, parse_pasted_key(keap, key, NOW, NOW + 86_400), None)


def test_a_pasted_key_goes_into_its_secret_and_nowhere_else(environment: None) -> None:
    with stage(closes) as on_stage, watching() as outside:
        paste(on_stage, PUBLISHED["new access token"])
        assert outside.calls("Decrypt") == []  # who seals need not be able to open
        assert find_secrets(inactive()["secrets"], CANARIES) == set()
        nothing_leaked(outside)
        on_stage.work()
    assert on_stage.record.generation == on_stage.record.published_generation == 8
    assert on_stage.server.requests == []
    nothing_leaked(outside)
    assert find_secrets(inactive()["secrets"], CANARIES) == {"new access token"}


@pytest.mark.parametrize(
    ("service", "operation"), [("dynamodb", "UpdateItem"), ("kms", "GenerateDataKey"), ("sqs", "SendMessage")]
)
def test_no_exception_carries_a_pasted_key(environment: None, service: str, operation: str) -> None:
    raised: list[str] = []
    key = PUBLISHED["new access token"]
    with stage(closes) as on_stage, watching() as outside:
        with failing(service, operation):
            _caught(lambda: paste(on_stage, key), raised)
        for wrong in (f"{key} {key}", f"{key}\n"):
            _caught(lambda wrong=wrong: paste(on_stage, wrong), raised)  # type: ignore[misc]
        nothing_leaked(outside)
    assert len(raised) >= 2
    assert find_secrets("\n".join(raised), CANARIES) == set()


def test_another_systems_token_set_leaks_only_its_access_token(environment: None) -> None:
    """Of a token set imported from another system, nothing but the access token reaches the secret."""
    keap = built_in.load_built_in()["keap"]
    with stage(closes) as on_stage, watching() as outside:
        ports = on_stage.ports
        importing = TokenImport(ports.records, ports.seal, ports.queue, on_stage.clock, deployment.load_settings())
        authorization, grant = operator_actions.plan(keap, NAME)
        [found] = find_token_sets(json.dumps({name: GRANTED[name] for name in _GIVEN}))
        imported = parse_token_set(keap, found, NOW, authorization.variables)
        assert find_secrets(repr((found, imported)), CANARIES) == set()
        importing.keep(authorization, grant, keap, imported.tokens, ports.vault.client("keap"))
        on_stage.work()
    assert on_stage.record.published_generation == 8
    assert on_stage.server.requests == []
    nothing_leaked(outside)
    assert find_secrets(inactive()["secrets"], CANARIES) == {"new access token"}


# --- an authorization ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "behave",
    [
        answers(json.dumps(GRANTED).encode()),
        refuses("invalid_grant"),
        answers(TALKATIVE),
        closes,
    ],
    ids=["granted", "refused", "unreadable", "closed"],
)
def test_connecting_an_account_leaks_nothing(environment: None, behave: Behaviour) -> None:
    raised: list[str] = []
    with stage(behave) as on_stage:
        ports = replace(deployment.build_connect_ports(), clock=on_stage.clock)
        flow, record = AuthorizationFlow(ports, deployment.load_settings()), on_stage.record
        authorization = Authorization(
            NAME, "keap", record.profile_hash, record.variables, "full", "https://grants.example.com/callback/keap"
        )
        with watching() as outside:
            ticket = issue_ticket(ports.authorizations, authorization, NOW)
            started = flow.start_authorization(ticket, flow.describe_landing(ticket, None).cookie)
            state = parse_qs(urlsplit(started.url).query)["state"][0]
            _caught(
                lambda: flow.handle_callback({"state": state, "code": PRIVATE["code"]}, started.cookie, "keap"), raised
            )
        nothing_leaked(outside)
        sent = on_stage.server.requests[0]
        assert find_secrets(sent, PRIVATE) >= {"code"}
        verifier = parse_qs(sent.partition(b"\r\n\r\n")[2].decode())["code_verifier"][0]
        mine = {"ticket": ticket, "state": state, "cookie": started.cookie, "code verifier": verifier}
        for name, left in outside.aws:
            assert find_secrets(left, mine) == set(), name
        assert find_secrets("\n".join(raised), {**CANARIES, **mine}) == set()
        assert find_secrets(started.url, CANARIES) == set()
        assert outside.calls("Decrypt") == []  # who seals cannot open
        assert outside.calls("PutSecretValue") == outside.calls("CreateSecret") == []
