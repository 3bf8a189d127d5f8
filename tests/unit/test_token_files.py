"""Protects taking over the files that people have: each tool's file is recognized and read with its form of dates.

The shapes are those of the tools' own documentation (the sources in evergrant.oauth.token_file_shapes).
"""

from __future__ import annotations

import json
import random
from typing import Any

import msgspec
import pytest

from evergrant.connect.imported_set import ImportedSet, parse_token_set
from evergrant.errors import InvalidRequest
from evergrant.oauth.moments import Moment, parse_moment
from evergrant.oauth.token_file_choice import choose_set
from evergrant.oauth.token_file_shapes import SHAPES
from evergrant.oauth.token_files import find_token_sets
from evergrant.profiles import built_in
from evergrant.profiles.model import Profile
from evergrant.secret import Secret
from tests.unit.samples import KEAP

NOW = 1_800_000_000  # 2027-01-15T08:00:00Z
#: An hour later in the forms of the tools.
ISO, SECONDS, MILLISECONDS = "2027-01-15T09:00:00Z", NOW + 3600, (NOW + 3600) * 1000
QUICKBOOKS, SLACK = (built_in.load_built_in()[name] for name in ("quickbooks", "slack"))

GOOGLE = {
    "token": "a-1",
    "refresh_token": "r-1",
    "token_uri": "https://oauth2.googleapis.com/token",
    "client_id": "c",
    "client_secret": "s",
    "scopes": ["full", "more"],
    "universe_domain": "googleapis.com",
    "expiry": "2027-01-15T09:00:00.123456Z",
}
OAUTH2CLIENT = {
    "access_token": "a-1",
    "client_id": "c",
    "client_secret": "s",
    "refresh_token": "r-1",
    "token_expiry": ISO,
    "token_uri": "https://accounts.google.com/o/oauth2/token",
    "user_agent": None,
    "invalid": False,
    "token_response": {"access_token": "a-1", "expires_in": 99, "token_type": "Bearer"},
    "_class": "OAuth2Credentials",
}
RCLONE = {
    "access_token": "a-1",
    "token_type": "Bearer",
    "refresh_token": "r-1",
    "expiry": "2027-01-15T10:00:00.955387075+01:00",
}
N8N = [
    {
        "id": "7",
        "name": "Books",
        "type": "quickBooksOAuth2Api",
        "data": {
            "clientId": "c",
            "clientSecret": "s",
            "accessTokenUrl": "https://x/token",
            "oauthTokenData": {
                "access_token": "a-1",
                "refresh_token": "r-1",
                "expires_in": 3600,
                "callbackQueryString": {"realmId": "9130"},
            },
        },
    }
]
NANGO = {
    "id": 1,
    "connection_id": "conn-1",
    "provider_config_key": "keap",
    "created_at": "2020-01-01T00:00:00.000Z",
    "credentials": {
        "type": "OAUTH2",
        "access_token": "a-1",
        "refresh_token": "r-1",
        "expires_at": "2027-01-15T09:00:00.000Z",
        "raw": {"access_token": "a-1", "expires_in": 5, "scope": "full more"},
    },
    "connection_config": {},
}
MSAL = {
    "AccessToken": {
        "k": {
            "credential_type": "AccessToken",
            "secret": "a-1",
            "home_account_id": "u.t",
            "environment": "e",
            "client_id": "c",
            "realm": "t",
            "target": "full more",
            "token_type": "Bearer",
            "cached_at": str(NOW),
            "expires_on": str(SECONDS),
            "extended_expires_on": str(SECONDS + 9),
        }
    },
    "RefreshToken": {
        "k": {
            "credential_type": "RefreshToken",
            "secret": "r-1",
            "home_account_id": "u.t",
            "environment": "e",
            "client_id": "c",
        }
    },
    "Account": {"u.t": {"home_account_id": "u.t", "username": "ann@example.com"}},
    "IdToken": {},
    "AppMetadata": {},
}
SPRING = {
    "principalName": "ann", "accessToken": {"tokenValue": "a-1", "issuedAt": NOW, "expiresAt": ISO, "scopes": ["full"],
        "tokenType": {"value": "Bearer"}}, "refreshToken": {"tokenValue": "r-1", "issuedAt": NOW},
}  # fmt: skip
PAIR = {"access_token": "a-1", "refresh_token": "r-1"}
FILES: dict[str, tuple[Any, str]] = {
    "google": (GOOGLE, "a Google authorized-user file"),
    "oauth2client": (OAUTH2CLIENT, "an oauth2client file"),
    "rclone": (RCLONE, "a token of rclone or of Go's oauth2"),
    "rclone config": (f"[work]\ntype = drive\ntoken = {json.dumps(RCLONE)}\n", "a token of rclone or of Go's oauth2"),
    "rclone dump": ({"work": {"type": "drive", "token": json.dumps(RCLONE)}}, "a token of rclone or of Go's oauth2"),
    "n8n": (N8N, "a credential of n8n"),
    "nango": (NANGO, "a connection of Nango"),
    "msal": (MSAL, "a cache of MSAL"),
    "spring": (SPRING, "an authorized client of Spring Security"),
    "node": ({**PAIR, "expiry_date": MILLISECONDS}, "a token of Google's library for Node.js"),
    "php": ({**PAIR, "expires_in": 4600, "created": NOW - 1000}, "a token of Google's library for PHP"),
    "adal": (
        [{"tokenType": "Bearer", "expiresOn": "2027-01-15 09:00:00.123456", "accessToken": "a-1", "refreshToken": "r-1",
          "isMRRT": True, "_clientId": "c", "userId": "ann@example.com"}],
        "an ADAL cache",
    ),
    "auth.js": (
        {**PAIR, "provider": "keap", "providerAccountId": "1", "expires_at": SECONDS, "token_type": "bearer"},
        "an account of Auth.js",
    ),
    "allauth": ({"token": "a-1", "token_secret": "r-1", "expires_at": ISO}, "a token of django-allauth"),
    "socialite": (
        {"token": "a-1", "refreshToken": "r-1", "expiresIn": 3600, "approvedScopes": ["full"], "id": "1", "user": {}},
        "a user of Laravel Socialite",
    ),
    "social-auth": ({**PAIR, "auth_time": NOW - 400, "expires": 4000}, "a token of python-social-auth"),
    "league": ({**PAIR, "expires": SECONDS}, "a token of League's OAuth client for PHP"),
    "airbyte": (
        {"credentials": {"auth_type": "oauth2.0", "client_id": "c", **PAIR, "token_expiry_date": ISO}},
        "an Airbyte configuration",
    ),
    "intuit": (
        {**PAIR, "expires_in": 3600, "x_refresh_token_expires_in": 8640000, "createdAt": NOW * 1000, "realmId": "9130"},
        "a token of Intuit's SDK",
    ),
    "xero": (
        {"AccessToken": "a-1", "RefreshToken": "r-1", "ExpiresAtUtc": "2027-01-15T09:00:00"},
        "a token of Xero's SDK",
    ),
    "requests": ({**PAIR, "expires_in": 3600, "expires_at": SECONDS + 0.7, "scope": ["full"]}, SHAPES[-1].title),
    "simple-oauth2": ({"token": {**PAIR, "expires_in": 1, "expires_at": "2027-01-15T09:00:00.000Z"}}, SHAPES[-1].title),
    "form": ("access_token=a-1&refresh_token=r-1&expires_in=3600&token_type=bearer", "a token response"),
    "environment": (f"export ACCESS_TOKEN='a-1'\nREFRESH_TOKEN=r-1\nEXPIRES_AT={ISO}\n", SHAPES[-1].title),
    "secret": ({"SecretString": json.dumps({**PAIR, "expires_in": "3600"})}, "a token response"),
    "issued": ({**PAIR, "expires_in": "4600", "issued_at": str((NOW - 1000) * 1000)}, "a token response"),
}  # fmt: skip


def read(given: Any, profile: Profile = KEAP, entry: str | None = None, **more: Any) -> ImportedSet:
    text = given if isinstance(given, str) else json.dumps(given)
    return parse_token_set(profile, choose_set(profile, text, entry), NOW, profile.defaults, **more)


@pytest.mark.parametrize("name", FILES)
def test_each_tools_file_is_recognized_and_read(name: str) -> None:
    given, title = FILES[name]
    imported = read(given)
    tokens = imported.tokens
    assert imported.title == title
    assert (tokens.access_token, tokens.refresh_token) == (Secret("a-1"), Secret("r-1"))
    assert tokens.expires_at == NOW + 3600
    assert tokens.expiry_rule == "given"


@pytest.mark.parametrize("shape", SHAPES, ids=[shape.title for shape in SHAPES])
def test_each_shape_is_marked_by_names_as_they_are_compared(shape: Any) -> None:
    assert all(mark == mark.lower().replace("_", "") for mark in shape.marks)
    assert shape.source.startswith("https://")


@pytest.mark.parametrize("name", ["google", "nango", "msal"])
def test_scopes_are_read_in_each_form(name: str) -> None:
    assert read(FILES[name][0]).tokens.scope == "full more"


def test_gclouds_credentials_have_a_refresh_token_alone() -> None:
    imported = read({"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r-1"})
    assert imported.title == "gcloud's application-default credentials"
    assert not imported.has_access_token
    assert imported.tokens.expires_at <= NOW
    assert imported.tokens.issued_at < imported.tokens.expires_at


def test_the_first_refresh_waits_for_no_minimum_age() -> None:
    exact = built_in.load_built_in()["exact-online"]
    assert exact.rotation.minimum_age > 0
    tokens = read({"refresh_token": "r-1"}, exact).tokens
    assert tokens.issued_at + exact.rotation.minimum_age < NOW


def test_what_the_callback_brought_is_found_in_the_file() -> None:
    assert read(N8N, QUICKBOOKS).tokens.captured == {"realm_id": "9130"}
    assert read(FILES["intuit"][0], QUICKBOOKS).tokens.captured == {"realm_id": "9130"}
    assert read(N8N, QUICKBOOKS, captured={"realm_id": "42"}).tokens.captured == {"realm_id": "42"}


def test_a_raw_response_is_read_at_the_profiles_own_paths() -> None:
    response = {"ok": True, "access_token": "bot", "authed_user": {"access_token": "a-1", "refresh_token": "r-1",
                "expires_in": 3600, "token_type": "user", "scope": "full"}}  # fmt: skip
    paths = msgspec.structs.replace(KEAP.response, access_token=("authed_user.access_token",))
    imported = read(response, msgspec.structs.replace(KEAP, response=paths))
    assert imported.tokens.access_token == Secret("a-1")
    assert imported.title == "a token response of Keap (Infusionsoft)"


@pytest.mark.parametrize("name", ["refresh_expires_in", "refresh_token_expires_in", "x_refresh_token_expires_in"])
def test_the_life_of_the_refresh_token_is_read_under_each_usual_name(name: str) -> None:
    assert read({**PAIR, "expires_in": 60, name: "86400"}).tokens.refresh_expires_at == NOW + 86_400


def test_the_life_of_the_refresh_token_counts_from_when_it_was_obtained() -> None:
    old = {**PAIR, "expires_in": 3600, "created_at": NOW - 10_000, "refresh_token_expires_in": 86_400}
    tokens = read(old).tokens
    assert (tokens.expires_at, tokens.refresh_expires_at) == (NOW, NOW + 76_400)
    over = read({**old, "refresh_token_expires_in": 9_000})
    assert over.remarks == (
        "The refresh token has expired, as refresh_token_expires_in says. It is tried all the same.",
    )


def test_an_endless_refresh_token_is_one_without_a_known_end() -> None:
    keycloak = built_in.load_built_in()["keycloak"]
    assert read({**PAIR, "expires_in": 60, "refresh_expires_in": 0}, keycloak).tokens.refresh_token == Secret("r-1")


def test_several_sets_are_listed_and_one_is_chosen() -> None:
    accounts = json.loads(json.dumps(MSAL))
    accounts["AccessToken"]["k2"] = {**MSAL["AccessToken"]["k"], "secret": "a-2", "target": "mail"}
    with pytest.raises(InvalidRequest, match="2 token sets") as several:
        read(accounts)
    assert several.value.hint == "They are 1: ann@example.com t full more; 2: ann@example.com t mail."
    assert read(accounts, entry="2").tokens.access_token == Secret("a-2")
    for unknown in ("3", "0", "ann"):
        with pytest.raises(InvalidRequest):
            read(accounts, entry=unknown)


def test_the_same_set_twice_is_one() -> None:
    assert len(find_token_sets(json.dumps({"old": {**PAIR}, "new": {**PAIR}}))) == 1


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        (SECONDS, Moment(SECONDS)),
        (float(SECONDS) + 0.9, Moment(SECONDS)),
        (str(SECONDS), Moment(SECONDS)),
        (MILLISECONDS, Moment(SECONDS)),
        (MILLISECONDS * 1000, Moment(SECONDS)),
        ("2027-01-15T09:00:00+00:00", Moment(SECONDS)),
        ("2027-01-15 04:00:00-05:00", Moment(SECONDS)),
        ("2027-01-15T09:00:00.1234567Z", Moment(SECONDS)),
        ("2027-01-15T09:00:00", Moment(SECONDS, is_zoneless=True)),
        ("2027-01-15", Moment(NOW - 8 * 3600, is_zoneless=True)),
        ("Fri, 15 Jan 2027 09:00:00 GMT", Moment(SECONDS)),
        ("Fri Jan 15 2027 10:00:00 GMT+0100 (Central European Standard Time)", Moment(SECONDS)),
        ("/Date(1800003600000)/", Moment(SECONDS)),
        ("/Date(1800003600000+0100)/", Moment(SECONDS)),
        ("0001-01-01T00:00:00Z", None),
        (0, Moment(0)),
    ],
)
def test_each_form_of_a_moment_is_read(value: Any, moment: Moment | None) -> None:
    assert parse_moment(value) == moment


@pytest.mark.parametrize("value", ["", "soon", 3600, "3600", -1, float("nan"), float("inf"), "9" * 81, None, True, {}])
def test_what_is_no_moment_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="no moment"):
        parse_moment(value)


def test_a_time_without_a_zone_is_said_to_be_read_as_utc() -> None:
    assert read({**PAIR, "expires_at": "2027-01-15T09:00:00"}).remarks == (
        "expires_at names no time zone, and was read as UTC.",
    )


@pytest.mark.parametrize("text", ["[" * 5000, "{" * 5000, "x", "a=b", "{}", "[1]", '{"token": {}}', "\x00", "=&="])
def test_any_other_text_is_refused_in_words(text: str) -> None:
    with pytest.raises(InvalidRequest):
        choose_set(KEAP, text, None)


MANGLED: tuple[Any, ...] = (
    *(
        None,
        True,
        0,
        -1,
        1e300,
        float("nan"),
        10**400,
        "",
        "x",
        "9" * 400,
        "{",
        "[1",
        "Bearer ",
        "0001-01-01T00:00:00Z",
    ),
    *([], {}, [{}], {"a": 1}, "9999-12-31T23:59:59+14:00", "\ud800"),
)


def mangle(value: Any, chance: random.Random) -> Any:
    if chance.random() < 0.12:
        return chance.choice(MANGLED)
    if isinstance(value, dict):
        return {name: mangle(item, chance) for name, item in value.items()}
    return [mangle(item, chance) for item in value] if isinstance(value, list) else value


def test_a_mangled_file_is_read_or_refused_in_words() -> None:
    chance, read_sets = random.Random(7), 0
    files = [given for given, _ in FILES.values() if not isinstance(given, str)]
    for _ in range(3000):
        try:
            tokens = read(mangle(chance.choice(files), chance), chance.choice((KEAP, QUICKBOOKS))).tokens
        except InvalidRequest:
            continue
        assert tokens.issued_at < tokens.expires_at
        read_sets += 1
    assert 300 < read_sets < 2700
