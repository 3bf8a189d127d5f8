"""Protects the errors for a profile's author: the file, the key, what is allowed there, and what was probably meant."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergrant.errors import InvalidProfile
from evergrant.http_messages import HttpResponse
from evergrant.oauth.token_response import parse_token_response
from evergrant.oauth.token_set import TokenSet
from evergrant.profiles import built_in
from evergrant.profiles.loader import load_profile
from evergrant.profiles.model import Profile, content_hash, decode, encode
from evergrant.profiles.request_specs import REQUESTS
from evergrant.profiles.validation import NAMES_BY_PHASE
from tests.unit.samples import acme

HEAD = 'name = "acme"\ntitle = "Acme"\n'
URL = 'url = "https://api.example.com/token"\n'
CLIENT = f"{HEAD}[client_credentials]\n{URL}"
EXPIRES = "[response]\nexpires = [{}]\n"
DIGITS = "[variables.x]\npattern = '[0-9]+'\ndefault = '9'\n"
LETTERS = "[variables.x]\npattern = '[0-9a]+'\ndefault = '9'\n"
NEEDED = "[variables.x]\npattern = '[1-9][0-9]{0,3}'\n"
LOGIN = f'{HEAD}[login]\n{URL}credentials = [["user", "password"]]\n'
BEARER = f'{HEAD}[jwt_bearer]\n{URL}claims = {{ iss = "{{client_id}}", aud = "{{url}}" }}\n'
CODE = f'{HEAD}[authorize]\nurl = "https://x.example/a"\n[exchange]\n{URL}'


def message_of(text: str) -> str:
    with pytest.raises(InvalidProfile) as refused:
        load_profile(text, "acme.toml")
    assert refused.value.message.startswith("acme.toml: ")
    return refused.value.message.removeprefix("acme.toml: ")


@pytest.mark.parametrize(
    ("text", "place", "meant"),
    [
        (CLIENT + "[rotatoin]\nlead = 7", "rotatoin", "rotation"),
        (CLIENT + "[rotation]\nleed = 7", "rotation.leed", "lead"),
        (CLIENT + 'client_auth = "basik"', "client_credentials.client_auth", "basic"),
        (CLIENT + '[response]\nexpires = [{ paht = "x" }]', "response.expires[0].paht", "path"),
        (CLIENT + '[[errors]]\nas = "transient"\n[[errors]]\nas = "grant_reject"', "errors[1].as", "grant_rejected"),
        (CLIENT + "[variables.x]\npatern = '.'", "variables.x.patern", "pattern"),
    ],
)
def test_what_was_probably_meant_is_said(text: str, place: str, meant: str) -> None:
    message = message_of(text)
    assert message.startswith(f"{place}: ")
    assert message.endswith(f"Did you mean {meant}?")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (CLIENT + "[variables.x]\ndescribe = 'y'", "variables.x.pattern: it is missing"),
        (CLIENT + "[variables.x]\npattern = 7", "variables.x.pattern: Expected"),
        (CLIENT + "[variables.scope]\npattern = '.'", "variables.scope: this name is reserved"),
        (CLIENT + "[variables.X]\npattern = '.'", "variables.X: use lower-case letters"),
        (CLIENT + "[variables.x]\npattern = 'a'\ndefault = 'b'", "variables.x.default: it does not match"),
        (CLIENT + "[[errors]]\nstatus = 1000\nas = 'transient'", "errors[0].status: Expected"),
        (CLIENT + "[response]\nexpires = []", "response.expires: it needs a rule"),
        (CLIENT + "[static]\nheaders = { A = '{access_token}' }", "static.describe: it is missing"),
        (CLIENT + "[static]\ndescribe = 'x'\nlifetime = 0", "static.lifetime: Expected"),
        (
            CLIENT + "[static]\ndescribe = 'x'\nheaders = { A = '{client_secret}' }",
            "static.headers.A: {client_secret} has",
        ),
        (
            CLIENT + "[static]\ndescribe = 'x'\nheaders = { 'A b' = 'x' }",
            "static.headers: 'A b' is not a header's name",
        ),
        (CLIENT + "[rotation]\nrefresh = 'on_demnd'", "rotation.refresh: 'on_demnd' is none of always, on_demand. Did"),
        (CLIENT + EXPIRES.format("{default = 9, format = 'epoch'}"), "response.expires[0].format: a default is a d"),
        (CLIENT + EXPIRES.format("{default = '{life}'}"), "response.expires[0].default: write a number, or one var"),
        (CLIENT + EXPIRES.format("{default = '1{x}'}") + DIGITS, "response.expires[0].default: write a number, or"),
        (CLIENT + EXPIRES.format("{default = '{x}'}") + LETTERS, "variables.x.pattern: response.expires[0].default"),
        (CLIENT + EXPIRES.format("{default = '{x}'}") + NEEDED, "variables.x.default: response.expires[0].default"),
        (CLIENT + "[response]\nexpires = [{default = -1}]", "response.expires[0].default: "),
        (
            CLIENT + 'params = { x = "{bas64(scope)}" }',
            "client_credentials.params.x: there is no function bas64",
        ),
        (CLIENT + "[response]\nexpires = [{}]", "response.expires[0]: an expiry rule has exactly one"),
        (CLIENT + "[response]\nrefresh_expires = [{ path = 'x', default = 1 }]", "response.refresh_expires[0]: "),
        (CLIENT + "[rotation]\nrate = { requests = 1, seconds = 3600 }", "rotation.rate: a rate of less than one"),
        (CLIENT + "[rotation]\nfall_back_to_login = true", "rotation.fall_back_to_login: there is no [login]"),
        (CLIENT + f"[refresh]\n{URL}", "[refresh] is for grants"),
        (CODE, "[refresh] is missing"),
        (CODE + "[response]\nexpires = [{ default = 86400 }]", "[refresh] is missing"),
        (
            CODE + f"[refresh]\n{URL}[callback]\ncapture = {{ x = 'x' }}\n[response]\ncapture = {{ x = 'y' }}",
            "callback.",
        ),
        (LOGIN.replace('[["user", "password"]]', "[]"), "login.credentials: Expected"),
        (LOGIN.replace('"user", "password"', ""), "login.credentials[0]: a set names at least one"),
        (LOGIN.replace('"user"', '"User"'), "login.credentials[0]: 'User' is not a name"),
        (LOGIN.replace('"user"', '"client_secret"'), "login.credentials[0]: client_secret has another meaning"),
        (LOGIN.replace('"user"', '"password"'), "login.credentials[0]: a credential is named twice"),
        (LOGIN + f"[refresh]\n{URL}", "rotation.fall_back_to_login: a [login] with [refresh]"),
        (LOGIN + "[consumer.headers]\nx = '{password}'", "consumer.headers.x: {password} has no value here"),
        (LOGIN.replace("com/token", "com/{user}"), "login.url: {user} has no value here"),
        (BEARER.replace('iss = "{client_id}", ', ""), "jwt_bearer.claims: it needs at least iss and aud"),
        (BEARER.replace("iss =", "iat ="), "jwt_bearer.claims.iat: Evergrant adds it"),
        (BEARER.replace("{client_id}", "{client_secret}"), "jwt_bearer.claims.iss: {client_secret} has no value"),
        (BEARER + "lifetime = 0", "jwt_bearer.lifetime: "),
        (CLIENT + "client_auth = 'private_key_jwt'\nparams = { client_assertion = 'x' }", "client_credentials.params."),
        (CLIENT + "headers = { 'a b' = 'x' }", "client_credentials.headers: 'a b' is not a header's name"),
        (CLIENT + "headers = { Host = 'x' }", "client_credentials.headers.Host: HTTP itself"),
        (CLIENT + "headers = { x = 'é' }", "client_credentials.headers.x: a header holds ASCII"),
        (CLIENT + "headers = { x = 'y ' }", "client_credentials.headers.x: a header holds ASCII only, no space at"),
        (CLIENT + '[consumer.headers]\nx = "{access_token}\\u0000"', "consumer.headers.x: a header holds"),
        (CLIENT.replace("/token", "/t\\u0000"), "client_credentials.url: write https://host/path"),
        (CLIENT.replace("/token", "/é"), "client_credentials.url: write https://host/path"),
        (CLIENT.replace("api.example.com", "user@example.com"), "client_credentials.url: write https://host/path"),
    ],
)
def test_what_does_not_fit_together_is_reported_with_its_place(text: str, place: str) -> None:
    assert message_of(text).startswith(place)


def test_a_captured_value_chooses_no_host() -> None:
    more = "[callback]\ncapture = { site = 'site' }\n[client_credentials]\nurl = 'https://{site}/token'"
    with pytest.raises(InvalidProfile, match=r"client_credentials\.url: \{site\} has no value here"):
        acme(more)


def test_only_listed_fields_reach_a_browser_or_a_consumer() -> None:
    """An allow-list keeps every secret out of what a browser or a consumer sees."""
    assert not NAMES_BY_PHASE["authorize"] & {"client_secret", "code_verifier", "refresh_token", "access_token"}
    assert NAMES_BY_PHASE["consumer"] == {"access_token", "token_type"}
    assert NAMES_BY_PHASE.keys() == {*REQUESTS, "authorize", "consumer", "static"}


def test_no_function_carries_a_secret_to_where_it_may_not_go() -> None:
    text = CODE.replace('url = "https://x.example/a"', 'url = "https://x.example/a"\nparams = {{ x = "{}" }}')
    message = message_of(text.format("{base64(client_id, client_secret)}") + f"[refresh]\n{URL}")
    assert message.startswith("authorize.params.x: {client_secret} has no value here")


def test_a_documented_lifetime_of_days_may_be_a_variable_of_the_connection() -> None:
    profile = load_profile(
        CODE + "[response]\nexpires = [{ default = '{x}', format = 'days' }]\n" + NEEDED + "default = '45'"
    )
    answer = HttpResponse(200, {}, b'{"access_token": "a"}')
    lives = [parse_token_response(profile, answer, 0, None, given) for given in ({}, {"x": "180"})]
    assert [tokens.expires_at for tokens in lives if isinstance(tokens, TokenSet)] == [45 * 86_400, 180 * 86_400]


def test_long_lived_tokens_need_no_refresh() -> None:
    profile = load_profile(CODE + "[response]\nexpires = [{ path = 'expires_in' }, { default = 5184000 }]")
    assert profile.grants == ("authorization_code",)


def test_each_phase_is_a_grant() -> None:
    assert load_profile(LOGIN).grants == ("login",)
    assert load_profile(BEARER).grants == ("jwt_bearer",)


# Anything


@given(st.text())
def test_no_text_raises_anything_but_an_invalid_profile(text: str) -> None:
    with pytest.raises(InvalidProfile):
        load_profile(text)


tables = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
KEYS = [*Profile.__struct_fields__, "rotation.lead", "login.url", "variables.x", "response.expires", "consumer.headers"]


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(key)}={toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(toml, value)) + "]"
    return json.dumps(value)


@given(key=st.sampled_from(KEYS), value=tables)
def test_no_value_anywhere_raises_anything_but_an_invalid_profile(key: str, value: Any) -> None:
    try:
        profile = load_profile(f"{key} = {toml(value)}\n{'' if key == 'name' else CLIENT}")
    except InvalidProfile:
        return
    assert decode(encode(profile)) == profile


@given(pattern=st.text(max_size=12), template=st.text(max_size=12))
def test_no_pattern_and_no_template_raises_anything_else(pattern: str, template: str) -> None:
    try:
        load_profile(
            f"{CLIENT}params = {{ p = {json.dumps(template)} }}\n[variables.x]\npattern = {json.dumps(pattern)}"
        )
    except InvalidProfile:
        return


# Storing


@pytest.mark.parametrize("profile", built_in.load_built_in().values(), ids=built_in.load_built_in().keys())
def test_each_shipped_profile_is_stored_and_read_back_the_same(profile: Profile) -> None:
    again = decode(encode(profile))
    assert again == profile
    assert content_hash(again) == content_hash(profile)


def test_what_is_written_out_and_is_the_default_anyway_changes_no_hash() -> None:
    said = CLIENT + 'method = "POST"\nformat = "form"\n[rotation]\nlead = 0\n[consumer]\nreject_statuses = [401]'
    assert content_hash(load_profile(said)) == content_hash(load_profile(CLIENT))
    assert b"POST" not in encode(load_profile(said))
