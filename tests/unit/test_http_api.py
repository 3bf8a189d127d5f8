"""Protects the edge of the connect pages: cookies, parameters and origins, read without trust and without raising."""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergrant.connect.http_api import (
    build_page,
    parse_query,
    read_method,
    read_path,
    read_ticket,
    require_form,
    require_same_origin,
)
from evergrant.connect.state_cookie import COOKIE, build_cookie, read_cookie
from evergrant.link_errors import BadRequest, CrossSite, LinkInvalid, WrongContentType

V = "v-1_" + "A" * 39

# Cookies


@pytest.mark.parametrize(
    "event",
    [
        {"cookies": [f"{COOKIE}={V}"]},
        {"cookies": ["a=b", f"{COOKIE}={V}"]},
        {"cookies": [f" {COOKIE}={V}"]},
        {"cookies": [f"{COOKIE}={V}"], "headers": {"cookie": f"{COOKIE}={V}"}},
        {"headers": {"cookie": f"{COOKIE}={V}"}},
        {"headers": {"cookie": f"a=b; {COOKIE}={V}; c=d"}},
    ],
)
def test_our_cookie_is_found_in_the_list_and_in_the_header(event: dict[str, Any]) -> None:
    assert read_cookie(event) == V


@pytest.mark.parametrize("space", ["\u00a0", "\u2003", "\u3000", "\x0b", "\x1f", "\x85", "\t", "  "])
@pytest.mark.parametrize("pair", ["{space}{name}={value}", "{name}{space}={value}", "{name}={value}{space}"])
def test_a_name_with_white_space_is_another_name(space: str, pair: str) -> None:
    """A browser lets any page of the domain set it, since it does not begin with ``__Host-``."""
    cookie = pair.format(space=space, name=COOKIE, value=V)
    assert read_cookie({"cookies": [cookie]}) is None
    assert read_cookie({"headers": {"cookie": f"a=b; {cookie}"}}) is None


@pytest.mark.parametrize("other", [V, "w" * 43, "", "x"])
def test_two_cookies_of_the_name_are_none(other: str) -> None:
    pair = [f"{COOKIE}={V}", f"{COOKIE}={other}"]
    for cookies in (pair, pair[::-1]):
        assert read_cookie({"cookies": cookies}) is None
        assert read_cookie({"headers": {"cookie": "; ".join(cookies)}}) is None


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"cookies": []},
        {"headers": {}},
        {"headers": {"cookie": ""}},
        {"cookies": [COOKIE, f"{COOKIE}=", f"evergrant={V}", f"x{COOKIE}={V}", f"{COOKIE}x={V}", f"a={COOKIE}={V}"]},
    ],
)
def test_no_other_cookie_is_taken_for_ours(event: dict[str, Any]) -> None:
    assert read_cookie(event) is None


@pytest.mark.parametrize(
    "value", ["v-1", V + "A", V[:-1] + "=", V[:-1] + "\u00e9", V[:-2] + "\r\n", "a" * 16_384, V + "\n"]
)
def test_what_we_cannot_have_set_is_no_cookie_of_ours_and_never_sent_back(value: str) -> None:
    assert read_cookie({"cookies": [f"{COOKIE}={value}"]}) is None or value.strip() == V


def test_the_cookie_we_set_is_the_cookie_we_find() -> None:
    assert read_cookie({"cookies": [build_cookie(V).partition(";")[0]]}) == V


def test_the_cookie_is_host_bound_hidden_from_scripts_and_sent_back() -> None:
    """The cookie is bound to this host, hidden from scripts, and sent on the way back.

    RFC 6265bis section 4.1.3.2: `__Host-` demands Secure and Path=/, and forbids Domain.
    """
    pair, *attributes = build_cookie(V).split("; ")
    assert pair == f"__Host-evergrant={V}"
    assert {"Path=/", "Secure", "HttpOnly", "SameSite=Lax"} <= set(attributes)
    assert not [attribute for attribute in attributes if attribute.lower().startswith("domain")]


# Parameters


def test_parameters_are_decoded_and_blank_ones_kept() -> None:
    assert parse_query({"rawQueryString": "code=a%2Fb&state=x+y&iss="}) == {"code": "a/b", "state": "x y", "iss": ""}
    assert parse_query({}) == parse_query({"rawQueryString": ""}) == {}


@pytest.mark.parametrize("raw", ["code=a&code=a", "code=a&state=b&code=c", "code=&code=a", "c%6Fde=a&code=b"])
def test_a_parameter_that_comes_twice_is_refused(raw: str) -> None:
    with pytest.raises(BadRequest):
        parse_query({"rawQueryString": raw})


def test_a_query_beyond_reason_is_refused() -> None:
    assert parse_query({"rawQueryString": "state=" + "a" * 8000})
    with pytest.raises(BadRequest) as refused:
        parse_query({"rawQueryString": "state=" + "a" * 8192})
    assert "aaa" not in str(refused.value)


def test_many_parameters_are_no_error_of_ours() -> None:
    assert len(parse_query({"rawQueryString": urlencode({f"p{number}": "x" for number in range(200)})})) == 200


@given(st.text(max_size=200) | st.text(alphabet="a=&%;+0F", max_size=9000))
def test_no_query_raises_anything_but_a_refusal(raw: str) -> None:
    with suppress(BadRequest):
        assert all(isinstance(value, str) for value in parse_query({"rawQueryString": raw}).values())


def test_lines_of_an_unshown_description_do_not_refuse_a_response() -> None:
    """The lines of a description that is never shown are no reason to refuse the response.

    Microsoft's end in `\\r\\nTrace ID: …`.
    """
    raw = "error=access_denied&error_description=AADSTS65004%3a+declined.%0d%0aTrace+ID%3a+1&state=s"
    assert parse_query({"rawQueryString": raw}) == {"error": "access_denied", "state": "s"}


PRINTABLE = st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"))


@given(st.dictionaries(st.text(PRINTABLE, min_size=1, max_size=9), st.text(PRINTABLE, max_size=20), max_size=9))
def test_what_was_encoded_is_read_back(parameters: dict[str, str]) -> None:
    assert parse_query({"rawQueryString": urlencode(parameters)}) == parameters


@pytest.mark.parametrize(
    "raw", ["code=a%0d%0ax", "state=%0A", "x=%00", "code=%7f", "a%0d=b", "code=%C2%85", "code=%E2%80%A8", "code=%ff"]
)
def test_a_control_character_is_refused_in_any_parameter(raw: str) -> None:
    """A control character, or what is no text, is refused wherever it stands."""
    with pytest.raises(BadRequest) as refused:
        parse_query({"rawQueryString": raw})
    assert str(refused.value).isprintable()


# Tickets, methods, routes, content types


def test_a_ticket_that_we_can_have_made_is_taken_from_the_path() -> None:
    assert read_ticket({"pathParameters": {"ticket": V}}) == V


@pytest.mark.parametrize(
    "ticket", ["", "x", V + "x", V[:-1] + "/", V[:-1] + "\n", "x" * 16_384, "\ud800" * 43, "\u0661" * 43]
)
def test_no_other_ticket_is_looked_up(ticket: str) -> None:
    for event in ({"pathParameters": {"ticket": ticket}}, {"pathParameters": None}, {}):
        with pytest.raises(LinkInvalid):
            read_ticket(event)


def test_method_and_route_are_parsed_for_one_method_and_for_any() -> None:
    """Method and route are read alike, for a route that takes one method and for a route that takes any."""
    event = {"routeKey": "ANY /connect/{ticket}", "requestContext": {"http": {"method": "HEAD"}}}
    assert (read_method(event), read_path(event)) == ("HEAD", "/connect/{ticket}")
    assert (read_method({}), read_path({})) == ("", "")


@pytest.mark.parametrize(
    "kind", ["application/x-www-form-urlencoded", "Application/X-WWW-Form-Urlencoded; charset=utf-8", None, ""]
)
def test_what_our_button_sends_is_taken(kind: str | None) -> None:
    require_form({"headers": {} if kind is None else {"content-type": kind}})


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/json", "multipart/form-data; boundary=x", "text/html", "x"]
)
def test_no_other_body_is_taken(kind: str) -> None:
    with pytest.raises(WrongContentType):
        require_form({"headers": {"content-type": kind}})


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
    require_same_origin({"headers": headers})


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
        require_same_origin({"headers": headers})


def test_a_request_without_headers_is_nobodys() -> None:
    with pytest.raises(CrossSite):
        require_same_origin({})


@given(st.text(), st.text() | st.none())
def test_no_origin_raises_anything_but_a_refusal(origin: str, host: str | None) -> None:
    headers = {"origin": origin} | ({} if host is None else {"host": host})
    try:
        require_same_origin({"headers": headers})
    except CrossSite:
        return
    assert host
    assert origin.endswith(f"://{host}")


def test_an_answer_is_in_the_form_the_api_expects() -> None:
    assert build_page(405, "x", {"allow": "GET"}, ("a=b",)) == {
        "statusCode": 405,
        "headers": {"allow": "GET"},
        "body": "x",
        "cookies": ["a=b"],
    }
    assert build_page(200, "x", {})["cookies"] == []
