"""Protects the arithmetic of expiry: for any answer of a provider a token's life is right or unknown, never absurd."""

from __future__ import annotations

import json
import math
import time
from base64 import urlsafe_b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergrant.oauth.token_set import TokenSet
from evergrant.profiles.expiry import MAX_LIFETIME_SECONDS, compute_expiry, look_up, measure_jwt, name_rule
from evergrant.profiles.response_specs import ExpiryRule
from evergrant.secret import Secret
from tests.unit.samples import ISSUANCE, NOW, tokens

SECONDS = ExpiryRule(path="expires_in")
JWT = ExpiryRule(jwt="access_token")
DEFAULT = ExpiryRule(default=3600)
FORMATS = ("seconds", "milliseconds", "epoch", "epoch_milliseconds", "iso8601")

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.from_regex(r"-?[0-9]{1,40}(\.[0-9]+)?"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def jwt(claims: Any) -> str:
    payload = urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"eyJhbGciOiJub25lIn0.{payload}.signature"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (3600, 3600),
        ("3600", 3600),
        (3600.9, 3600),
        ("3600.0", 3600),
        ("1e3", 1000),
        (1, 1),
        (MAX_LIFETIME_SECONDS,) * 2,
    ],
)
def test_a_number_of_seconds_counts_from_the_sending_of_the_request(value: Any, seconds: int) -> None:
    assert compute_expiry((SECONDS,), {"expires_in": value}, NOW) == (NOW + seconds, "expires_in:seconds")


@pytest.mark.parametrize(
    "value",
    [
        *(None, "", "soon", True, False, [], {}, [3600]),
        *(math.nan, math.inf, -math.inf, "nan", "inf", "Infinity", 1e300, 10**400, "9" * 33),
        MAX_LIFETIME_SECONDS + 1,
        NOW * 1000,  # an epoch time in milliseconds where a duration is promised
    ],
)
def test_an_absurd_lifetime_is_no_lifetime_and_the_next_rule_is_asked(value: Any) -> None:
    assert compute_expiry((SECONDS,), {"expires_in": value}, NOW) is None
    assert compute_expiry((SECONDS, DEFAULT), {"expires_in": value}, NOW) == (NOW + 3600, "default")


@pytest.mark.parametrize("value", [0, "0", 1e-7, -1, "-3600", -(10**400)])
@pytest.mark.parametrize("spelling", ["seconds", "milliseconds", "days", "epoch", "epoch_milliseconds"])
def test_zero_and_below_mean_expired_now_in_any_format(value: Any, spelling: Any) -> None:
    rule = ExpiryRule(path="t", format=spelling)
    assert compute_expiry((rule, DEFAULT), {"t": value}, NOW) == (NOW, f"t:{spelling}")


@pytest.mark.parametrize("value", [0, "0", -1])
def test_zero_means_never_where_the_profile_says_so(value: Any) -> None:
    rule = ExpiryRule(path="expires_in", zero="never")
    found = compute_expiry((rule, DEFAULT), {"expires_in": value}, NOW)
    assert found == (NOW + MAX_LIFETIME_SECONDS, "expires_in:seconds:never")
    assert compute_expiry((rule, DEFAULT), {"expires_in": 60}, NOW) == (NOW + 60, "expires_in:seconds")
    assert compute_expiry((rule, DEFAULT), {}, NOW) == (NOW + 3600, "default")


@pytest.mark.parametrize("spelling", ["epoch", "iso8601"])
def test_a_moment_that_is_past_means_expired_now(spelling: Any) -> None:
    value = "2026-11-22T09:59:00Z" if spelling == "iso8601" else NOW - 60
    rule = ExpiryRule(path="t", format=spelling)
    assert compute_expiry((rule, DEFAULT), {"t": value}, NOW) == (NOW, f"t:{spelling}")


@pytest.mark.parametrize(("skew", "lifetime"), [(900, 3600), (-900, 2700), (-7200, 3600), (0, 3600)])
def test_a_moment_counts_by_the_clock_that_leaves_less_time(skew: int, lifetime: int) -> None:
    """The server's clock is wrong by ``skew``, as its Date shows, and the token lives for an hour."""
    rule = ExpiryRule(path="t", format="epoch")
    found = compute_expiry((rule,), {"t": NOW + skew + 3600}, NOW, answered_at=NOW + skew)
    assert found == (NOW + lifetime, "t:epoch")


@pytest.mark.parametrize(
    ("claims", "date", "lifetime"),
    [
        ({"iat": 0, "exp": 3600}, 0, 3600),
        ({"iat": 0, "exp": 3600}, None, 3600),
        ({"exp": 3600}, None, 3600),
        ({"exp": 3600}, 60, 3540),
        ({"iat": 7200, "exp": 10800}, 7200, 3600),  # the server's clock is ahead
        ({"iat": 7200, "exp": 10800}, 0, 3600),  # and a CDN writes the Date
        ({"iat": -7200, "exp": -3600}, -7200, 3600),  # it is behind
        ({"iat": -7200, "exp": -3600}, None, 3600),
        ({"iat": -900, "exp": 2700}, 0, 2700),  # the token was made before
        ({"iat": -900, "exp": 2700}, -900, 2700),  # or a cache has kept the response
        ({"iat": 0, "exp": 3600}, -7200, 3600),  # a cache has kept the Date alone
        ({"iat": -7200, "exp": -3600}, 0, -3600),
        ({"exp": -5}, None, 0),
        ({"iat": 0}, 0, None),
        ({"iat": "soon", "exp": "later"}, 0, None),
    ],
)
def test_a_jwt_says_how_long_it_lives_by_any_clock(
    claims: dict[str, Any], date: int | None, lifetime: int | None
) -> None:
    stated = {name: NOW + value if isinstance(value, int) else value for name, value in claims.items()}
    assert measure_jwt(jwt(stated), NOW, None if date is None else NOW + date) == lifetime


def test_a_missing_lifetime_falls_back_to_the_declared_one() -> None:
    assert compute_expiry((SECONDS, DEFAULT), {}, NOW) == (NOW + 3600, "default")
    assert compute_expiry((SECONDS,), {}, NOW) is None
    assert compute_expiry((), {"expires_in": 3600}, NOW) is None


def test_the_first_rule_that_holds_wins() -> None:
    rules = (ExpiryRule(path="expiresIn"), SECONDS, DEFAULT)
    assert compute_expiry(rules, {"expires_in": 60, "expiresIn": 120}, NOW) == (NOW + 120, "expiresIn:seconds")
    assert compute_expiry(rules, {"expires_in": 60}, NOW) == (NOW + 60, "expires_in:seconds")


def test_a_duration_under_the_name_of_a_date_is_a_duration() -> None:
    """`expires_at: 300` read as an epoch time is 1970: the client would refresh on every call."""
    answer = {"expires_at": 300}
    assert compute_expiry((ExpiryRule(path="expires_at", format="seconds"),), answer, NOW) == (
        NOW + 300,
        "expires_at:seconds",
    )
    # And where a profile says epoch and is wrong, 1970 is not believed.
    assert compute_expiry((ExpiryRule(path="expires_at", format="epoch"), DEFAULT), answer, NOW) == (
        NOW + 3600,
        "default",
    )


@pytest.mark.parametrize(
    ("rule", "answer"),
    [
        (ExpiryRule(path="t", format="milliseconds"), {"t": 300_000}),
        (ExpiryRule(path="t", format="milliseconds"), {"t": "300000"}),
        (ExpiryRule(path="t", format="epoch"), {"t": NOW + 300}),
        (ExpiryRule(path="t", format="epoch"), {"t": str(NOW + 300)}),
        (ExpiryRule(path="t", format="epoch_milliseconds"), {"t": (NOW + 300) * 1000 + 999}),
        (ExpiryRule(path="t", format="iso8601"), {"t": "2026-11-22T10:05:00Z"}),
        (ExpiryRule(path="t", format="iso8601"), {"t": "2026-11-22T11:05:00+01:00"}),
        (ExpiryRule(path="t", format="iso8601"), {"t": "2026-11-22T10:05:00.987654+00:00"}),
        (ExpiryRule(path="t", format="iso8601"), {"t": "2026-11-22T10:05:00"}),
        (ExpiryRule(path="t", format="iso8601"), {"t": "2026-11-22 10:05:00"}),
        (ExpiryRule(jwt="t"), {"t": jwt({"exp": NOW + 300})}),
        (ExpiryRule(jwt="t"), {"t": jwt({"exp": float(NOW + 300)})}),
        (ExpiryRule(jwt="data.token"), {"data": {"token": jwt({"exp": NOW + 300})}}),
        (ExpiryRule(path="data.0.t"), {"data": [{"t": 300}]}),
    ],
)
def test_every_spelling_of_five_minutes_is_five_minutes(rule: ExpiryRule, answer: dict[str, Any]) -> None:
    assert compute_expiry((rule,), answer, NOW) == (NOW + 300, name_rule(rule))


def test_a_date_without_a_zone_is_utc_wherever_we_run(monkeypatch: pytest.MonkeyPatch) -> None:
    rule = ExpiryRule(path="t", format="iso8601")
    try:
        with monkeypatch.context() as elsewhere:
            elsewhere.setenv("TZ", "America/New_York")
            time.tzset()
            assert compute_expiry((rule,), {"t": "2026-11-22T10:05:00"}, NOW) == (NOW + 300, "t:iso8601")
    finally:
        time.tzset()


@pytest.mark.parametrize(
    "value",
    [
        None,
        7,
        "",
        "opaque",
        "a.b",
        "a.b.c",
        "a.!!!.c",
        "ä.ö.ü",
        jwt([1]),
        jwt({}),
        jwt({"exp": "soon"}),
        jwt({"exp": 1}),
    ],
)
def test_a_token_that_is_no_jwt_with_an_expiry_to_come_says_nothing(value: Any) -> None:
    assert compute_expiry((JWT,), {"access_token": value}, NOW) is None


def test_a_jwt_nested_beyond_reason_says_nothing() -> None:
    deep = urlsafe_b64encode(b'{"exp":' + b"[" * 100_000).decode()
    assert compute_expiry((JWT,), {"access_token": f"a.{deep}.c"}, NOW) is None


@given(
    value=anything,
    path=st.sampled_from(["v", "v.0", "v.0.v", "", "..", "w"]),
    spelling=st.sampled_from(FORMATS),
    sent_at=st.integers(min_value=0, max_value=4_000_000_000),
)
def test_no_answer_makes_an_expiry_before_now_or_beyond_a_hundred_years(
    value: Any, path: str, spelling: Any, sent_at: int
) -> None:
    for rule in (ExpiryRule(path=path, format=spelling), ExpiryRule(jwt=path)):
        found = compute_expiry((rule,), {"v": value}, sent_at)
        assert found is None or (
            sent_at <= found.at <= sent_at + MAX_LIFETIME_SECONDS and found.rule == name_rule(rule)
        )
        assert found is None or isinstance(found[0], int)


@given(st.datetimes().map(str) | st.datetimes(timezones=st.timezones()).map(lambda moment: moment.isoformat()))
def test_no_date_of_any_year_and_zone_raises(moment: str) -> None:
    compute_expiry((ExpiryRule(path="t", format="iso8601"),), {"t": moment}, NOW)


@given(anything)
def test_no_claims_of_a_jwt_raise(claims: Any) -> None:
    for content in (claims, {"exp": claims}):
        compute_expiry((JWT,), {"access_token": jwt(content)}, NOW)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("a", {"b": [10, {"c": "x"}]}),
        ("a.b.0", 10),
        ("a.b.1.c", "x"),
        ("a.b.2", None),
        ("a.b.-1", None),
        ("a.b.99999999999999999999", None),
        ("a.b.c", None),
        ("a.b.1.c.d", None),
        ("z", None),
        ("", None),
    ],
)
def test_a_dotted_path_leads_through_objects_and_lists(path: str, found: Any) -> None:
    assert look_up({"a": {"b": [10, {"c": "x"}]}}, path) == found


@pytest.mark.parametrize("answer", [None, 7, "text", [], True])
def test_a_path_into_what_is_no_object_finds_nothing(answer: Any) -> None:
    assert look_up(answer, "access_token") is None


def test_a_lifetime_counts_from_the_sending_of_the_request() -> None:
    assert tokens(3600).lifetime == 3600


@given(
    st.builds(
        TokenSet,
        access_token=st.builds(Secret, st.text()),
        issued_at=st.integers(),
        expires_at=st.integers(),
        expiry_rule=st.text(),
        refresh_token=st.none() | st.builds(Secret, st.text(min_size=1)),
        refresh_expires_at=st.none() | st.integers(),
        token_type=st.text(),
        scope=st.none() | st.text(),
        captured=st.dictionaries(st.text(), st.text()),
    )
)
def test_what_was_sealed_is_read_back_whole_and_always_as_the_same_bytes(held: TokenSet) -> None:
    plain = held.encode(ISSUANCE)
    assert TokenSet.decode(plain) == held
    read = TokenSet.decode(plain)
    assert read.issued_for == ISSUANCE
    assert read.encode(ISSUANCE) == plain


def test_a_set_sealed_by_an_earlier_release_is_read_still() -> None:
    plain = b'{"access_token":"a","expires_at":2,"expiry_rule":"default","issued_at":1,"refresh_token":null}'
    assert TokenSet.decode(plain) == TokenSet(Secret("a"), issued_at=1, expires_at=2, expiry_rule="default")


def test_a_default_in_days_and_one_that_a_variable_names() -> None:
    assert compute_expiry((ExpiryRule(default=45, format="days"),), {}, NOW) == (NOW + 45 * 86_400, "default")
    named = (ExpiryRule(default="{life}"),)
    assert compute_expiry(named, {}, NOW, {"life": "600"}) == (NOW + 600, "default")
    assert compute_expiry(named, {}, NOW) is None
