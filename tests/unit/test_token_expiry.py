"""Protects when an access token is taken to expire: a number from outside is compared with all else that says so."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergrant.oauth.token_response import parse_token_response
from evergrant.oauth.token_set import TokenSet
from evergrant.profiles import built_in
from evergrant.profiles.model import Profile
from evergrant.secret import Secret
from tests.unit.samples import ISSUANCE, NOW, acme, respond, tokens

HOUR, DAY, YEAR = 3600, 86_400, 31_536_000
#: NOW as HTTP writes it.
DATE = "Sun, 22 Nov 2026 10:00:00 GMT"
HOURLY = '[response]\nexpires = [{ path = "expires_in" }, { default = 3600 }]\n'
ENDLESS = '[response]\nexpires = [{ path = "expires_in" }, { default = 315360000 }]\n'


def jwt(**claims: int) -> str:
    payload = urlsafe_b64encode(json.dumps({name: NOW + at for name, at in claims.items()}).encode()).rstrip(b"=")
    return f"eyJhbGciOiJub25lIn0.{payload.decode()}.c2ln"


def read(profile: Profile, previous: TokenSet | None = None, date: str = DATE, **body: Any) -> TokenSet:
    whole = {"access_token": "a", "refresh_token": "r", **body}
    answer = parse_token_response(profile, respond(200, whole, date=date), NOW, previous)
    assert isinstance(answer, TokenSet)
    return answer


def judge(profile: Profile, previous: TokenSet | None = None, **body: Any) -> tuple[int, str, str | None]:
    found = read(profile, previous, **body)
    return found.lifetime, found.expiry_rule, found.expiry_doubt


# Zero and below


@pytest.mark.parametrize("stated", [0, "0", -5, "-5", -0.1])
def test_zero_or_below_means_expired_now_and_never_the_default(stated: Any) -> None:
    assert judge(acme(HOURLY), expires_in=stated) == (0, "expires_in:seconds", "expired")


def test_zero_means_never_where_the_profile_says_so() -> None:
    profile = acme('[response]\nexpires = [{ path = "expires_in", zero = "never" }, { default = 3600 }]')
    assert judge(profile, expires_in=0) == (100 * YEAR, "expires_in:seconds:never", None)


def test_a_refresh_token_of_zero_ends_now_or_never_as_the_profile_says() -> None:
    body: dict[str, Any] = {"expires_in": 60, "refresh_expires_in": 0}
    for zero, ends_at in (("expired", NOW), ("never", None)):
        rule = f'{{ path = "refresh_expires_in", zero = "{zero}" }}'
        profile = acme(f"[response]\nrefresh_expires = [{rule}, {{ default = 1000 }}]")
        assert read(profile, **body).refresh_expires_at == ends_at
    keycloak = built_in.load_built_in()["keycloak"]
    assert read(keycloak, **body).refresh_expires_at is None


def test_the_third_arrival_in_a_row_that_has_expired_lives_by_default() -> None:
    profile, current = acme(HOURLY), tokens(HOUR)
    seen = []
    for number in range(5):
        current = read(profile, current, access_token=f"token-{number}", expires_in=0)
        seen.append((current.lifetime, current.expiry_rule, current.expiry_doubt))
    assert seen[:2] == [(0, "expires_in:seconds", "expired")] * 2
    assert seen[2:] == [(HOUR, "default", "expired")] * 3
    current = read(profile, current, expires_in=60)
    assert (current.lifetime, current.expired_arrivals, current.expiry_doubt) == (60, 0, None)


def test_a_repeated_token_that_counts_down_to_zero_is_no_expired_arrival() -> None:
    profile, current = acme(HOURLY), tokens(2)
    current = read(profile, current, access_token="access-1", expires_in=0)
    assert (current.lifetime, current.expired_arrivals, current.expiry_doubt) == (0, 0, "expired")
    zero = respond(200, {"access_token": "access-1", "refresh_token": "r", "expires_in": 0})
    for arrivals in (1, 2, 3):
        answer = parse_token_response(profile, zero, NOW + 60 * arrivals, current)
        assert isinstance(answer, TokenSet)
        assert answer.expired_arrivals == arrivals, "but one that stays at zero is"
        current = answer
    assert (current.lifetime, current.expiry_rule) == (HOUR, "default")


def test_an_expired_arrival_without_a_default_lives_for_a_day_in_the_end() -> None:
    current = None
    for number in range(3):
        current = read(acme(), current, access_token=f"token-{number}", expires_in=0)
    assert current is not None
    assert (current.lifetime, current.expiry_rule) == (DAY, "unknown")


def test_the_same_expired_token_at_once_is_no_further_arrival() -> None:
    """Its server renews it a moment late."""
    current = None
    for _ in range(5):
        current = read(acme(HOURLY), current, expires_in=0)
    assert current is not None
    assert (current.lifetime, current.expired_arrivals) == (0, 1)


def test_the_same_token_with_a_full_lifetime_ends_when_it_did() -> None:
    first = read(acme(HOURLY), None, expires_in=HOUR)
    later = respond(200, {"access_token": first.access_token.reveal(), "expires_in": HOUR})
    again = parse_token_response(acme(HOURLY), later, NOW + HOUR // 2, first)
    assert isinstance(again, TokenSet)
    assert again.is_repeated
    assert again.expires_at == first.expires_at


# The access token's own claims


@pytest.mark.parametrize("profile", [acme(), acme(HOURLY), acme(ENDLESS), built_in.load_built_in()["zendesk"]])
def test_a_jwt_comes_before_any_default_in_every_profile(profile: Profile) -> None:
    assert judge(profile, access_token=jwt(iat=0, exp=1800)) == (1800, "jwt:access_token", None)
    assert judge(profile, access_token=jwt(exp=1800)) == (1800, "jwt:access_token", None)


@pytest.mark.parametrize(
    ("claims", "stated", "lifetime"),
    [
        ({"iat": 0, "exp": 1800}, 3600, 1800),
        ({"iat": 0, "exp": 3600}, 1800, 1800),
        ({"iat": -3000, "exp": 600}, 3600, 600),  # the same token again, and expires_in does not count down
        ({"iat": 7200, "exp": 10_800}, 3600, 3600),  # the server's clock is ahead
        ({"iat": -7200, "exp": -3600}, 3600, 3600),  # or behind
        ({"iat": 0, "exp": 3600}, 4_102_444_800, 3600),
    ],
)
def test_the_shorter_one_of_expires_in_and_the_jwt_counts(claims: dict[str, int], stated: int, lifetime: int) -> None:
    assert read(acme(), access_token=jwt(**claims), expires_in=stated).lifetime == lifetime


def test_a_jwt_that_supports_a_long_lifetime_makes_it_credible() -> None:
    month = 30 * DAY
    assert judge(acme(HOURLY), access_token=jwt(iat=0, exp=month), expires_in=month)[::2] == (month, None)


def test_a_jwt_that_says_a_century_is_no_more_credible_than_expires_in() -> None:
    assert judge(acme(HOURLY), access_token=jwt(iat=0, exp=73 * YEAR)) == (HOUR, "default", "not_credible")
    assert judge(acme(), access_token=jwt(exp=73 * YEAR)) == (DAY, "unknown", "not_credible")


# Numbers that nothing supports


@pytest.mark.parametrize("stated", [4_102_444_800, NOW + HOUR, (NOW + HOUR) * 1000, 3_600_000, 10**400, "1e15"])
def test_a_lifetime_that_nothing_supports_is_not_believed(stated: Any) -> None:
    assert judge(acme(HOURLY), expires_in=stated) == (HOUR, "default", "not_credible")
    before = tokens(HOUR // 2)
    assert judge(acme(), before, expires_in=stated) == (HOUR // 2, "previous", "not_credible")
    assert judge(acme(HOURLY), before, expires_in=stated) == (HOUR // 2, "previous", "not_credible")


@pytest.mark.parametrize("stated", [4_102_444_800, NOW + HOUR, 10**400])
def test_an_epoch_as_a_lifetime_is_a_day_where_nothing_else_is_known(stated: Any) -> None:
    assert judge(acme(), expires_in=stated) == (DAY, "unknown", "not_credible")
    assert judge(acme("[rotation]\nunknown_lifetime = 600"), expires_in=stated) == (600, "unknown", "not_credible")


@pytest.mark.parametrize("stated", [60, HOUR, 12 * HOUR, DAY, 3 * DAY])
def test_another_lifetime_than_documented_is_believed(stated: int) -> None:
    """Lifetimes are settings of an account or a client at many providers."""
    for previous in (None, tokens(60), tokens(DAY)):
        assert judge(acme(HOURLY), previous, expires_in=stated) == (stated, "expires_in:seconds", None)


def test_a_long_lifetime_is_believed_where_the_set_before_had_it() -> None:
    month = 30 * DAY
    assert judge(acme(HOURLY), tokens(month), expires_in=month) == (month, "expires_in:seconds", None)
    assert judge(acme(), expires_in=month) == (month, "expires_in:seconds", None)


def test_a_doubtful_lifetime_stays_doubtful_at_each_refresh() -> None:
    profile, current = acme(), tokens(HOUR)
    for name in ("b", "c", "d"):
        current = read(profile, current, access_token=name, expires_in=3_600_000)
        assert (current.lifetime, current.expiry_doubt) == (HOUR, "not_credible")


def test_what_a_repeated_token_has_left_is_no_measure_for_the_next() -> None:
    current = read(acme(), tokens(60), access_token="access-1", expires_in=5)
    assert current.is_repeated
    month = 30 * DAY
    assert judge(acme(), current, access_token="access-2", expires_in=month) == (month, "expires_in:seconds", None)


# Nothing stated


def test_a_default_of_years_is_not_taken_beside_a_refresh_token() -> None:
    assert judge(acme(ENDLESS)) == (DAY, "unknown", None)
    assert judge(acme(ENDLESS), tokens(HOUR)) == (HOUR, "previous", None)
    profile = acme(ENDLESS + "[rotation]\nunknown_lifetime = 43200")
    assert judge(profile) == (12 * HOUR, "unknown", None)


def test_a_default_of_years_stands_for_never_without_a_refresh_token() -> None:
    answer = parse_token_response(acme(ENDLESS), respond(200, {"access_token": "a"}), NOW)
    assert isinstance(answer, TokenSet)
    assert (answer.lifetime, answer.expiry_rule) == (10 * YEAR, "default")


def test_an_assumed_expiry_says_that_it_is_assumed() -> None:
    assert read(acme(ENDLESS)).is_expiry_assumed
    assert read(acme(HOURLY)).is_expiry_assumed
    assert read(acme(HOURLY), tokens(60)).is_expiry_assumed
    assert not read(acme(HOURLY), expires_in=60).is_expiry_assumed


def test_the_lifetime_of_the_set_before_is_taken_where_nothing_is_stated() -> None:
    assert judge(acme(), tokens(HOUR)) == (HOUR, "previous", None)
    assert judge(acme(HOURLY), tokens(60)) == (60, "previous", None)
    assert judge(acme(HOURLY), tokens(2 * HOUR)) == (HOUR, "default", None)
    assert judge(acme(HOURLY), tokens(60, expiry_rule="default")) == (HOUR, "default", None)


@given(
    stated=st.none() | st.integers() | st.floats() | st.text(max_size=12),
    lifetime=st.integers(0, 10**10),
    claims=st.dictionaries(st.sampled_from(["iat", "exp"]), st.integers(-(10**10), 10**10)),
    date=st.sampled_from(["", DATE, "Sun, 22 Nov 2026 02:00:00 GMT", "Mon, 22 Nov 2027 02:00:00 GMT"]),
)
def test_no_mix_of_statements_gives_an_absurd_expiry(
    stated: Any, lifetime: int, claims: dict[str, int], date: str
) -> None:
    body = {"access_token": jwt(**claims), "expires_in": stated}
    for profile in (acme(HOURLY), acme(ENDLESS)):
        for previous in (None, tokens(lifetime, access_token=Secret("b"))):
            assert 0 <= read(profile, previous, date=date, **body).lifetime <= 100 * YEAR


def test_a_set_without_a_life_of_its_own_does_not_hide_the_lives_before() -> None:
    """Of 60-second tokens, one has expired on arrival; of the next, the moment is stated in place of a lifetime."""
    profile, current = acme(HOURLY), tokens(60)
    for number in range(2):
        current = read(profile, current, access_token=f"token-{number}", expires_in=0)
    assert current.lifetime_before == 60
    assert TokenSet.decode(current.encode(ISSUANCE)) == current
    assert judge(profile, current, access_token="next", expires_in=NOW + HOUR) == (60, "previous", "not_credible")
    assert read(profile, current, access_token="next", expires_in=90).lifetime_before is None
