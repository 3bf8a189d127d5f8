"""Protects profiles as a format: what is wrong in one is refused when it is loaded, and a stored one never changes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergrant.errors import InvalidProfile, InvalidVariable
from evergrant.profiles.expiry import name_rule
from evergrant.profiles.loader import load_profile
from evergrant.profiles.model import Profile, content_hash, decode, encode
from evergrant.profiles.response_specs import ExpiryRule
from evergrant.profiles.templates import is_host
from tests.unit.samples import KEAP, WEALTHYHOOD, acme

_CLIENT_GRANT = """
name = "acme"
title = "Acme"
[client_credentials]
url = "https://api.example.com/token"
"""


def replace_in_profile(old: str, new: str) -> str:
    assert old in _CLIENT_GRANT
    return _CLIENT_GRANT.replace(old, new)


def test_the_least_profile_speaks_by_the_standard() -> None:
    profile = load_profile(_CLIENT_GRANT)
    request = profile.client_credentials
    assert request is not None
    assert (request.method, request.format, request.client_auth) == ("POST", "form", "post")
    assert profile.grants == ("client_credentials",)
    assert profile.consumer.headers == {"Authorization": "Bearer {access_token}"}
    assert profile.consumer.reject_statuses == (401,)
    assert profile.rotation.reuse_grace == 0
    assert profile.rotation.rotates


def test_a_code_grant_comes_first_where_a_profile_offers_both() -> None:
    both = acme('[client_credentials]\nurl = "https://api.example.com/token"')
    assert both.grants == ("authorization_code", "client_credentials")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name = ", "Invalid value"),
        ("", "name"),
        (replace_in_profile('name = "acme"', 'name = "Acme"'), "name: "),
        (replace_in_profile('name = "acme"', 'name = "a/b"'), "name: "),
        (replace_in_profile('title = "Acme"', ""), "title"),
        (replace_in_profile('title = "Acme"', "title = 7"), "title"),
        ('name = "acme"\ntitle = "Acme"', "client_credentials"),
        (_CLIENT_GRANT + 'tokn_url = "x"', "tokn_url"),
        (_CLIENT_GRANT + "[rotation]\nleed = 7", "leed"),
        (_CLIENT_GRANT + "[rotation]\nlead = -1", "rotation.lead"),
        (_CLIENT_GRANT + "[rotation]\nlead = 1.5", "rotation.lead"),
        (_CLIENT_GRANT + "[rotation]\nlead = 999999999999", "rotation.lead"),
        (_CLIENT_GRANT + 'client_auth = "digest"', "digest"),
        (_CLIENT_GRANT + 'method = "PUT"', "PUT"),
        (_CLIENT_GRANT + '[response]\nexpires = [{ path = "x", format = "fortnights" }]', "fortnights"),
        (_CLIENT_GRANT + '[response]\naccess_token = ["a", ""]', "access_token"),
        (_CLIENT_GRANT + '[[errors]]\nas = "annoyed"', "annoyed"),
        (_CLIENT_GRANT + "[[errors]]\nstatus = 400", "as"),
        (_CLIENT_GRANT + '[authorize]\nurl = "https://x.example/a"', "go together"),
        (_CLIENT_GRANT + '[exchange]\nurl = "https://x.example/a"', "go together"),
        (_CLIENT_GRANT + '[authorize]\nurl = "https://x/a"\n[exchange]\nurl = "https://x/a"', "[refresh] is missing"),
        (_CLIENT_GRANT + "[variables.x]\npattern = '('", "variables.x.pattern"),
        (_CLIENT_GRANT + "[client_credentials.params]\nx = '{nothing}'", "{nothing} has no value here"),
        (_CLIENT_GRANT + "[client_credentials.params]\nx = '{'", "client_credentials.params.x"),
        (_CLIENT_GRANT + '[client_credentials.headers]\nx = "a\\r\\nb"', "line break"),
        (_CLIENT_GRANT + '[consumer]\nheaders = { a = "b\\nc" }', "line break"),
    ],
)
def test_what_is_wrong_is_reported_with_its_source_and_place(text: str, said: str) -> None:
    with pytest.raises(InvalidProfile) as refused:
        load_profile(text, "acme.toml")
    assert refused.value.message.startswith("acme.toml: ")
    assert said in refused.value.message


@pytest.mark.parametrize(
    "url",
    [
        *("http://api.example.com/token", "api.example.com/token", "ftp://api.example.com", "", "https:/x/y"),
        *("https://api.example.com/token?a=b", "https://api.example.com/token#f", "https://api.example.com?x={v}"),
    ],
)
def test_a_token_url_is_https_and_has_no_query(url: str) -> None:
    with pytest.raises(InvalidProfile, match=r"client_credentials\.url"):
        load_profile(replace_in_profile("https://api.example.com/token", url))


@pytest.mark.parametrize("name", ["client_id", "client_secret", "access_token", "scope"])
def test_only_variables_go_into_a_url(name: str) -> None:
    """Nothing else is filled in there: the address would lose its path, or carry a secret."""
    with pytest.raises(InvalidProfile, match=f"client_credentials.url: {{{name}}} has no value here"):
        load_profile(replace_in_profile("com/token", f"com/{{{name}}}/token"))


def test_a_parameter_may_be_called_url() -> None:
    request = load_profile(_CLIENT_GRANT + '[client_credentials.params]\nurl = "{client_id}"').client_credentials
    assert request is not None
    assert request.params == {"url": "{client_id}"}


@pytest.mark.parametrize(
    ("table", "name"),
    [
        ("authorize.params", "client_secret"),
        ("authorize.params", "refresh_token"),
        ("authorize.params", "code_verifier"),
        ("exchange.params", "refresh_token"),
        ("exchange.headers", "access_token"),
        ("refresh.params", "code"),
        ("refresh.params", "access_token"),
        ("consumer.headers", "client_secret"),
        ("consumer.headers", "client_id"),
        ("consumer.headers", "refresh_token"),
    ],
)
def test_no_phase_may_name_a_secret_it_does_not_need(table: str, name: str) -> None:
    with pytest.raises(InvalidProfile, match=f"{table}.x: {{{name}}} has no value here"):
        acme(f"[{table}]\nx = '{{{name}}}'")


@given(st.text())
def test_no_text_raises_anything_but_an_invalid_profile(text: str) -> None:
    with pytest.raises(InvalidProfile):
        load_profile(text)


# Variables


def tenant(pattern: str = "[a-z]+", default: str | None = None) -> Profile:
    given_default = f'default = "{default}"' if default else ""
    return acme(f"[variables.tenant]\npattern = '{pattern}'\ndescribe = \"Your sub-domain.\"\n{given_default}")


def test_a_variable_is_what_was_given_or_else_its_default() -> None:
    assert tenant(default="home").bind({}) == {"tenant": "home"}
    assert tenant(default="home").bind({"tenant": "office"}) == {"tenant": "office"}


def test_a_variable_without_a_value_is_asked_for_by_name() -> None:
    with pytest.raises(InvalidVariable) as refused:
        tenant().bind({})
    assert refused.value.as_dict()["hint"] == "Give --var tenant=… Your sub-domain."


def test_a_variable_that_the_profile_does_not_have_is_refused() -> None:
    with pytest.raises(InvalidVariable, match="no variable region") as refused:
        tenant().bind({"tenant": "a", "region": "eu"})
    assert "tenant" in refused.value.hint


@pytest.mark.parametrize("value", ["", "A", "a1", "a b", "a.evil.com/", "a\n", "\na", "a\r\nx: y", " a"])
def test_a_variable_must_match_its_pattern_in_full(value: str) -> None:
    with pytest.raises(InvalidVariable) as refused:
        tenant().bind({"tenant": value})
    assert not value or value not in refused.value.message


def test_no_pattern_lets_a_control_character_through() -> None:
    with pytest.raises(InvalidVariable):
        tenant(r"(?s).*").bind({"tenant": "a\x00b"})


def test_a_default_that_breaks_its_pattern_is_refused_with_the_file() -> None:
    """A default that does not match its pattern is refused, and the message names the file."""
    with pytest.raises(InvalidProfile, match=r"variables\.tenant\.default"):
        tenant(default="Home7")


@pytest.mark.parametrize(
    ("value", "fits"),
    [
        ("api.example.com", True),
        ("api.example.com:8443", True),
        ("127.0.0.1:8080", True),
        ("a", True),
        ("", False),
        ("user@example.com", False),
        ("example.com/path", False),
        ("example.com#", False),
        ("example.com:", False),
        ("example.com:port", False),
        (".example.com", False),
        ("example.com.", False),
        ("-example.com", False),
        ("[::1]", False),
        ("exämple.com", False),
        ("example.com\n", False),
        ("a b", False),
        ("a" * 254, False),
    ],
)
def test_only_a_name_or_an_ipv4_address_stands_as_a_host(value: str, fits: bool) -> None:
    assert is_host(value) is fits


# Storing


@pytest.mark.parametrize("profile", [KEAP, WEALTHYHOOD], ids=lambda profile: profile.name)
def test_a_stored_profile_is_read_back_whole(profile: Profile) -> None:
    assert decode(encode(profile)) == profile
    assert content_hash(decode(encode(profile))) == content_hash(profile)


def test_a_profile_is_named_by_its_content_not_by_its_layout() -> None:
    reordered = """
    title = "Acme"   # a comment
    client_credentials = { url = "https://api.example.com/token" }
    name = "acme"
    """
    assert content_hash(load_profile(reordered)) == content_hash(load_profile(_CLIENT_GRANT))
    assert content_hash(load_profile(replace_in_profile("Acme", "Acme Ltd"))) != content_hash(
        load_profile(_CLIENT_GRANT)
    )
    one, other = (f"[client_credentials.params]\n{lines}" for lines in ('a = "1"\nb = "2"', 'b = "2"\na = "1"'))
    assert content_hash(load_profile(_CLIENT_GRANT + one)) == content_hash(load_profile(_CLIENT_GRANT + other))
    assert len(content_hash(KEAP)) == 64


def test_an_expiry_rule_is_named_after_what_it_reads() -> None:
    rules: dict[str, Any] = {"a.b:seconds": {"path": "a.b"}, "e:iso8601": {"path": "e", "format": "iso8601"}}
    rules |= {"jwt:access_token": {"jwt": "access_token"}, "default": {"default": 60}}
    for name, fields in rules.items():
        assert name_rule(ExpiryRule(**fields)) == name
