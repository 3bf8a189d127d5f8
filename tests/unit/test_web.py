"""Protects the edge of the connect pages: cookies, parameters and origins, read without trust and without raising."""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergrant.errors import CrossSite, LinkInvalid
from evergrant.web import COOKIE, cookie_of, demand_same_origin, page, query_of, set_cookie

# Cookies


@pytest.mark.parametrize(
    "event",
    [
        {"cookies": [f"{COOKIE}=v-1"]},
        {"cookies": ["a=b", f"{COOKIE}=v-1"]},
        {"cookies": [f" {COOKIE}=v-1 "]},
        {"headers": {"cookie": f"{COOKIE}=v-1"}},
        {"headers": {"cookie": f"a=b; {COOKIE}=v-1; c=d"}},
        {"cookies": ["a=b"], "headers": {"cookie": f"{COOKIE}=v-1"}},
        {"cookies": [f"{COOKIE}="], "headers": {"cookie": f"{COOKIE}=v-1"}},
    ],
)
def test_our_cookie_is_found_in_the_list_and_in_the_header(event: dict[str, Any]) -> None:
    assert cookie_of(event) == "v-1"


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"cookies": []},
        {"headers": {}},
        {"headers": {"cookie": ""}},
        {"cookies": [COOKIE, f"{COOKIE}=", "evergrant=v-1", f"x{COOKIE}=v-1", f"{COOKIE}x=v-1", f"a={COOKIE}=v-1"]},
    ],
)
def test_no_other_cookie_is_taken_for_ours(event: dict[str, Any]) -> None:
    assert cookie_of(event) is None


def test_a_value_with_an_equals_sign_is_kept_whole() -> None:
    assert cookie_of({"cookies": [f"{COOKIE}=a=b=="]}) == "a=b=="


def test_the_cookie_we_set_is_the_cookie_we_find() -> None:
    assert cookie_of({"cookies": [set_cookie("v-1").partition(";")[0]]}) == "v-1"


def test_the_cookie_is_bound_to_this_host_hidden_from_scripts_and_sent_on_the_way_back() -> None:
    """RFC 6265bis section 4.1.3.2: `__Host-` demands Secure and Path=/, and forbids Domain."""
    pair, *attributes = set_cookie("v-1").split("; ")
    assert pair == "__Host-evergrant=v-1"
    assert {"Path=/", "Secure", "HttpOnly", "SameSite=Lax"} <= set(attributes)
    assert not [attribute for attribute in attributes if attribute.lower().startswith("domain")]


# Parameters


def test_parameters_are_decoded_and_blank_ones_kept() -> None:
    assert query_of({"rawQueryString": "code=a%2Fb&state=x+y&iss="}) == {"code": "a/b", "state": "x y", "iss": ""}
    assert query_of({}) == query_of({"rawQueryString": ""}) == {}


@pytest.mark.parametrize("raw", ["code=a&code=a", "code=a&state=b&code=c", "code=&code=a", "c%6Fde=a&code=b"])
def test_a_parameter_that_comes_twice_is_refused(raw: str) -> None:
    with pytest.raises(LinkInvalid):
        query_of({"rawQueryString": raw})


def test_a_query_beyond_reason_is_refused() -> None:
    assert query_of({"rawQueryString": "state=" + "a" * 8000})
    with pytest.raises(LinkInvalid) as refused:
        query_of({"rawQueryString": "state=" + "a" * 8192})
    assert "aaa" not in str(refused.value)


def test_many_parameters_are_no_error_of_ours() -> None:
    assert len(query_of({"rawQueryString": urlencode({f"p{number}": "x" for number in range(200)})})) == 200


@given(st.text(max_size=200) | st.text(alphabet="a=&%;+0F", max_size=9000))
def test_no_query_raises_anything_but_a_refusal(raw: str) -> None:
    with suppress(LinkInvalid):
        assert all(isinstance(value, str) for value in query_of({"rawQueryString": raw}).values())


@given(st.dictionaries(st.text(min_size=1, max_size=9), st.text(max_size=20), max_size=9))
def test_what_was_encoded_is_read_back(parameters: dict[str, str]) -> None:
    assert query_of({"rawQueryString": urlencode(parameters)}) == parameters


# Origins


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "same-origin", "origin": "null"},
        {"origin": "https://e.example.com", "host": "e.example.com"},
        {"origin": "http://localhost:4566", "host": "localhost:4566"},
    ],
)
def test_our_own_page_may_post(headers: dict[str, str]) -> None:
    demand_same_origin({"headers": headers})


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"host": "e.example.com"},
        {"sec-fetch-site": "none"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": ""},
        {"sec-fetch-site": "cross-site", "origin": "https://e.example.com", "host": "e.example.com"},
        {"origin": "null", "host": "e.example.com"},
        {"origin": "null", "host": ""},
        {"origin": ""},
        {"origin": "", "host": ""},
        {"origin": "https://", "host": ""},
        {"origin": "https://evil.example", "host": "e.example.com"},
        {"origin": "https://e.example.com.evil.example", "host": "e.example.com"},
        {"origin": "https://e.example.com:8443", "host": "e.example.com"},
        {"origin": "e.example.com", "host": "e.example.com"},
        {"origin": "https://[", "host": "e.example.com"},
        {"origin": "https://e.example.com"},
    ],
)
def test_no_other_page_may_post(headers: dict[str, str]) -> None:
    with pytest.raises(CrossSite):
        demand_same_origin({"headers": headers})


def test_a_request_without_headers_is_nobodys() -> None:
    with pytest.raises(CrossSite):
        demand_same_origin({})


@given(st.text(), st.text() | st.none())
def test_no_origin_raises_anything_but_a_refusal(origin: str, host: str | None) -> None:
    headers = {"origin": origin} | ({} if host is None else {"host": host})
    try:
        demand_same_origin({"headers": headers})
    except CrossSite:
        return
    assert host
    assert origin.endswith(f"://{host}")


def test_an_answer_is_in_the_form_the_api_expects() -> None:
    assert page(303, "", {"location": "/x"}, ("a=b",)) == {
        "statusCode": 303,
        "headers": {"location": "/x"},
        "body": "",
        "cookies": ["a=b"],
    }
    assert page(200, "x", {})["cookies"] == []
