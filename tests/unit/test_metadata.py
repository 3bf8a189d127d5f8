"""Protects how a server's metadata are read: where they are looked for, what is believed, and what is never used."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergrant.errors import InvalidIssuer, InvalidMetadata, IssuerMismatch, MetadataError, NoMetadata
from evergrant.http_messages import HttpResponse
from evergrant.names import check_provider
from evergrant.profiles.discovery import build_profile, suggest_name
from evergrant.profiles.loader import load_profile
from evergrant.profiles.metadata import ENDPOINTS, Metadata, build_well_known_urls, merge_metadata
from evergrant.profiles.toml_writer import write_toml
from tests.unit.samples import NOW

ISSUER = "https://login.acme.example"
SOUND = {"issuer": ISSUER, "token_endpoint": f"{ISSUER}/token", "authorization_endpoint": f"{ISSUER}/authorize"}


def serve_document(document: Any, status: int = 200) -> HttpResponse:
    return HttpResponse(status, {}, document if isinstance(document, bytes) else json.dumps(document).encode())


def merge_documents(*documents: Any, issuer: str = ISSUER) -> Metadata:
    return merge_metadata(
        issuer, list(zip(build_well_known_urls(issuer), map(serve_document, documents), strict=False))
    )


def expect_refusal(kind: type[MetadataError], *answers: HttpResponse | None, issuer: str = ISSUER) -> MetadataError:
    with pytest.raises(kind) as refusal:
        merge_metadata(issuer, list(zip(build_well_known_urls(issuer), answers, strict=False)))
    return refusal.value


def test_without_a_path_there_are_two_addresses() -> None:
    assert build_well_known_urls(ISSUER) == (
        f"{ISSUER}/.well-known/oauth-authorization-server",
        f"{ISSUER}/.well-known/openid-configuration",
    )


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_path_is_inserted_for_rfc_8414_and_appended_for_openid(slash: str) -> None:
    """A path is inserted as RFC 8414 says, and appended to as OpenID Connect Discovery says."""
    assert build_well_known_urls(f"https://acme.example:8443/realms/eu{slash}") == (
        "https://acme.example:8443/.well-known/oauth-authorization-server/realms/eu",
        "https://acme.example:8443/realms/eu/.well-known/openid-configuration",
        "https://acme.example:8443/.well-known/openid-configuration/realms/eu",
    )


@pytest.mark.parametrize(
    "issuer",
    [
        *("login.acme.example", "http://login.acme.example", "https://", "https://a b", "https://ann@acme.example"),
        *("https://acme.example?x=1", "https://acme.example#x", "https://acme.example?", "https://acme.example:99999"),
        *("https://10.0.0.1", "https://169.254.169.254/latest", "https://[::1]", "ftp://acme.example", ""),
        *("https://x.localhost", "https://acme.example\\@evil.example", "https://[", f"https://a.example/{'x' * 1000}"),
    ],
)
def test_what_is_no_issuer_is_refused(issuer: str) -> None:
    with pytest.raises(InvalidIssuer):
        build_well_known_urls(issuer)


def test_each_document_may_hold_what_the_other_lacks() -> None:
    found = merge_documents(
        {"issuer": ISSUER, "token_endpoint": f"{ISSUER}/token", "grant_types_supported": ["client_credentials"]},
        {
            **SOUND,
            "scopes_supported": ["openid"],
            "grant_types_supported": ["authorization_code", "client_credentials"],
        },
    )
    assert found.endpoints == {
        "authorization_endpoint": f"{ISSUER}/authorize",
        "token_endpoint": f"{ISSUER}/token",
    }
    assert found.lists["scopes_supported"] == ("openid",)
    assert found.lists["grant_types_supported"] == ("client_credentials", "authorization_code")
    assert found.lists["code_challenge_methods_supported"] is None
    assert found.disagreements == ()
    assert [source.used for source in found.sources] == [True, True]


def test_where_the_documents_differ_rfc_8414s_is_used_and_the_other_shown() -> None:
    found = merge_documents(SOUND, {**SOUND, "token_endpoint": f"{ISSUER}/other"})
    assert found.endpoints["token_endpoint"] == f"{ISSUER}/token"
    [difference] = found.disagreements
    assert (difference.field, difference.passed_over) == ("token_endpoint", f"{ISSUER}/other")


def test_an_address_without_a_document_is_passed_over() -> None:
    found = merge_metadata(
        ISSUER, zip(build_well_known_urls(ISSUER), [serve_document(b"", 404), serve_document(SOUND)], strict=True)
    )
    assert [(source.used, source.detail) for source in found.sources] == [
        (False, "It responded with status 404."),
        (True, ""),
    ]


@pytest.mark.parametrize(
    "body",
    [b"<html>Welcome</html>", b"", b"[]", b"{}", b'{"issuer": 7}', b"7", b"\xff", b"[" * 100_000, b'{"issuer": ["x"]}'],
)
def test_a_200_without_metadata_is_an_error_and_hides_no_valid_document(body: bytes) -> None:
    """A 200 that holds no metadata is an error, and never hides a valid document."""
    assert "no metadata" in expect_refusal(InvalidMetadata, serve_document(body), serve_document(b"", 404)).message
    found = merge_metadata(
        ISSUER, zip(build_well_known_urls(ISSUER), [serve_document(body), serve_document(SOUND)], strict=True)
    )
    assert [source.used for source in found.sources] == [False, True]


def test_metadata_of_another_issuer_are_never_used() -> None:
    other = {**SOUND, "issuer": f"{ISSUER}/", "token_endpoint": "https://evil.example/token"}
    error = expect_refusal(IssuerMismatch, serve_document(other), serve_document(b"", 404))
    assert f"{ISSUER}/." in error.message
    assert error.hint.endswith(f"--issuer {ISSUER}/")
    found = merge_documents(other, SOUND)
    assert (found.endpoints["token_endpoint"], found.disagreements) == (f"{ISSUER}/token", ())


def test_an_issuer_that_is_no_url_is_not_repeated() -> None:
    error = expect_refusal(IssuerMismatch, serve_document({**SOUND, "issuer": "canary \x1b[31m"}))
    assert "canary" not in f"{error.message} {error.hint}"


def test_nothing_published_says_what_was_answered_and_what_to_do_instead() -> None:
    error = expect_refusal(NoMetadata, serve_document(b"", 301), None)
    assert "redirects are not followed" in error.message
    assert "No complete response" in error.message
    assert "evergrant provider check" in error.hint


@pytest.mark.parametrize("name", ENDPOINTS)
@pytest.mark.parametrize(
    "url",
    [
        *("http://login.acme.example/x", "//login.acme.example/x", "/x", "https://ann:pw@acme.example/x", "https:///x"),
        *("https://127.0.0.1/x", "https://localhost/x", "https://10.1.2.3/x", "https://169.254.169.254/x"),
        *("https://[fd00::1]/x", "https://acme.example/x?y=1", "https://acme.example/x#y", "https://acme.example/x?"),
        *(
            "https://acme.example/ x",
            "https://acme.example/\u00e9",
            "https://acme.example:0x1/x",
            7,
            ["https://a.example"],
        ),
    ],
)
def test_an_endpoint_that_no_secret_may_go_to_is_refused_by_its_name(name: str, url: Any) -> None:
    error = expect_refusal(InvalidMetadata, serve_document({**SOUND, name: url}))
    assert error.message.startswith(f"{name} cannot be used: ")
    assert str(url) not in error.message


def test_endpoints_on_loopback_are_for_an_issuer_on_loopback() -> None:
    issuer = "http://127.0.0.1:8080"
    own = {"issuer": issuer, "token_endpoint": f"{issuer}/token"}
    assert merge_documents(own, issuer=issuer).endpoints == {"token_endpoint": f"{issuer}/token"}
    expect_refusal(InvalidMetadata, serve_document({**SOUND, "token_endpoint": f"{issuer}/token"}))


@pytest.mark.parametrize("value", ["authorization_code", [7], ["two words"], {"a": 1}, 7, ["\x1b[31m"]])
def test_a_list_that_is_none_says_nothing_and_is_named(value: Any) -> None:
    found = merge_documents({**SOUND, "grant_types_supported": value})
    assert found.lists["grant_types_supported"] is None
    assert found.unreadable == ("grant_types_supported",)


_TEXTS = st.text(max_size=20) | st.sampled_from(
    [
        f"{ISSUER}/token",
        f"{ISSUER}/{{x}}",
        "https://10.0.0.1/x",
        "http://x",
        "https://[",
        "S256",
        "none",
        "offline_access",
    ]
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXTS, inner, max_size=4),
    max_leaves=8,
)
_LISTS = st.lists(
    st.sampled_from(
        [
            *("authorization_code", "refresh_token", "client_credentials", "S256", "plain", "offline_access", "RS256"),
            *("client_secret_basic", "client_secret_post", "private_key_jwt", "none", "tls_client_auth"),
        ]
    ),
    max_size=5,
)
_WORDY = (
    *("grant_types_supported", "token_endpoint_auth_methods_supported", "scopes_supported"),
    *("code_challenge_methods_supported", "revocation_endpoint_auth_methods_supported"),
    *("token_endpoint_auth_signing_alg_values_supported", "authorization_response_iss_parameter_supported"),
)
_URLS = st.sampled_from([f"{ISSUER}/token", f"{ISSUER}/a/{{b}}", ISSUER, "https://a.example:8443/%7B"])
_DOCUMENTS = _JSON | st.fixed_dictionaries(
    {"issuer": st.just(ISSUER)},
    optional={**dict.fromkeys(ENDPOINTS, _URLS | _JSON), **dict.fromkeys(_WORDY, _LISTS | _JSON)},
)


@given(st.lists(_DOCUMENTS, max_size=3))
def test_any_documents_make_a_profile_that_holds_or_an_error_of_the_tree(documents: list[Any]) -> None:
    try:
        profile = build_profile(merge_documents(*documents), "acme", NOW)
    except MetadataError:
        return
    assert load_profile(write_toml(profile)) == profile


_SOUND_DOCUMENTS = st.fixed_dictionaries(
    {"issuer": st.just(ISSUER), "token_endpoint": _URLS},
    optional={
        **dict.fromkeys(("authorization_endpoint", "revocation_endpoint"), _URLS),
        **dict.fromkeys(_WORDY, _LISTS),
    },
)


@given(st.lists(_SOUND_DOCUMENTS, min_size=1, max_size=3), st.integers(min_value=0, max_value=4_000_000_000))
def test_valid_documents_make_a_valid_profile_unless_they_offer_nothing(
    documents: list[dict[str, Any]], now: int
) -> None:
    """Any valid documents make a profile that holds, unless they offer nothing."""
    metadata = merge_documents(*documents)
    try:
        profile = build_profile(metadata, "acme", now)
    except InvalidMetadata:
        methods, grants = (
            metadata.lists[name] for name in ("token_endpoint_auth_methods_supported", "grant_types_supported")
        )
        assert methods is not None or grants is not None
        return
    assert load_profile(write_toml(profile)) == profile


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    expect_refusal(InvalidMetadata, serve_document(body))


@given(st.from_regex(r"https://[a-z0-9][a-z0-9.-]{0,60}[a-z0-9](/[a-z]{1,5})?", fullmatch=True))
def test_every_issuer_gives_a_name_that_a_provider_may_have(issuer: str) -> None:
    check_provider(suggest_name(issuer))
