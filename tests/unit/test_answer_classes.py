"""Protects the table of answer classes: each answer has the class of the first row that holds, in code and in docs."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from evergrant.oauth.answer import filter_error_code
from evergrant.oauth.answer_classes import ANSWER_TABLE, CLASS_BY_KIND, AnswerClass
from evergrant.oauth.error_codes import REGISTERED_ERRORS
from evergrant.oauth.error_response import Refusal
from evergrant.oauth.token_response import parse_token_response
from evergrant.profiles.response_specs import ErrorRule
from scripts import answer_table
from tests.unit.samples import NOW, acme, respond, tokens

PAGE = b"<!DOCTYPE html><html><title>Just a moment...</title></html>"
JSON, HTML, FORM, TEXT = "application/json", "text/html", "application/x-www-form-urlencoded", "text/plain"
SET = {"access_token": "a", "refresh_token": "r", "expires_in": 60}
NOTHING: dict[str, Any] = {}
VAGUE: list[Any] = [b"", b" ", NOTHING, {"status": 400, "error": "Bad Request"}, {"error": {}}]
UNKNOWN = {"status": 400, "error": "Bad Request"}
DEAD = {"error": "invalid_grant"}
DEAD_FORM = b"error=invalid_grant&error_description=gone"


def classify(status: int, body: Any, content_type: str = JSON, **headers: str) -> str:
    answer = parse_token_response(acme(), respond(status, body, content_type=content_type, **headers), NOW, tokens())
    return answer.answer_class if isinstance(answer, Refusal) else "token_set"


@pytest.mark.parametrize(
    ("expected", "status", "body", "content_type"),
    [
        *(("token_set", status, SET, kind) for status in (200, 201) for kind in (JSON, HTML, TEXT, "")),
        *(("not_acted_upon", 429, body, HTML) for body in (PAGE, b"", DEAD)),
        *(("refusal", status, DEAD, kind) for status in (200, 400, 401, 403, 404, 422) for kind in (JSON, HTML, "")),
        *(("refusal", status, DEAD_FORM, kind) for status in (200, 400, 403) for kind in (FORM, TEXT, JSON, HTML)),
        *(("vague", status, body, JSON) for status in (400, 401) for body in VAGUE),
        *(("vague", 400, body, HTML) for body in (b"", UNKNOWN)),
        *(
            ("not_reached", status, body, JSON)
            for status in (402, 403, 404, 405, 408, 413, 499)
            for body in (b"", NOTHING)
        ),
        *(("not_reached", status, PAGE, HTML) for status in (301, 302, 307, 400, 401, 403, 404)),
        *(("not_reached", status, DEAD, JSON) for status in (300, 302, 399)),
        ("not_reached", 400, b"invalid token", TEXT),
        *(("unclear", status, body, JSON) for status in (500, 502, 503, 504, 520, 599) for body in (b"", PAGE, DEAD)),
        *(("unclear", 200, body, HTML) for body in (b"", PAGE, b"OK", NOTHING, UNKNOWN)),
        *(("unclear", status, SET, JSON) for status in (100, 199, 500, 600)),
    ],
)
def test_each_answer_has_the_class_of_its_row(expected: str, status: int, body: Any, content_type: str) -> None:
    assert classify(status, body, content_type) == expected


def test_a_503_that_names_a_time_was_not_acted_upon() -> None:
    assert classify(503, PAGE, retry_after="30") == "not_acted_upon"
    assert classify(502, PAGE, retry_after="30") == "unclear"


@pytest.mark.parametrize("code", REGISTERED_ERRORS)
def test_a_registered_code_has_its_meaning_in_any_case_and_status(code: str) -> None:
    for status, spelling in ((400, code), (401, code.upper()), (403, f" {code.title()} "), (200, code)):
        answer = parse_token_response(acme(), respond(status, {"error": spelling}), NOW)
        assert answer == Refusal(REGISTERED_ERRORS[code], status, code)


def test_the_codes_of_rfc_6749_mean_what_section_5_2_says() -> None:
    assert [REGISTERED_ERRORS[code] for code in ("invalid_grant", "invalid_client", "unauthorized_client")] == [
        *("grant_rejected", "client_rejected", "client_unauthorized"),
    ]
    malformed = ("invalid_request", "unsupported_grant_type", "invalid_scope")
    assert {REGISTERED_ERRORS[code] for code in malformed} == {"malformed"}
    not_now = ("temporarily_unavailable", "server_error", "slow_down")
    assert {CLASS_BY_KIND[REGISTERED_ERRORS[code]] for code in not_now} == {"not_acted_upon"}


@pytest.mark.parametrize(
    ("rule", "status", "body"),
    [
        ('status = 429\nas = "not_used"', 429, b""),
        ('status = 503\nas = "not_used"', 503, b""),
        ('code = "invalid_grant"\nas = "not_used"', 400, DEAD),
        ('code = "INVALID_GRANT"\nas = "not_used"', 400, DEAD),
        ('status = 403\nas = "not_used"', 403, PAGE),
        ('status = 200\nas = "not_used"', 200, PAGE),
    ],
)
def test_a_profiles_rule_comes_before_the_table(rule: str, status: int, body: Any) -> None:
    profile = acme(f"[[errors]]\n{rule}")
    answer = parse_token_response(profile, respond(status, body), NOW)
    assert isinstance(answer, Refusal)
    assert (answer.kind, answer.rule) == ("not_used", "errors[0]")


def test_a_complete_set_comes_before_a_profiles_rule() -> None:
    profile = acme('[[errors]]\nstatus = 200\nas = "transient"\n[[errors]]\ncode = "odd"\nas = "transient"')
    for error in (None, "odd", "invalid_grant"):
        assert not isinstance(parse_token_response(profile, respond(200, {**SET, "error": error}), NOW), Refusal)


def test_a_code_that_the_profile_names_elsewhere_is_vague_at_any_status() -> None:
    profile = acme('[[errors]]\ncode = "Odd"\nstatus = 400\nas = "grant_rejected"')
    answers = [parse_token_response(profile, respond(status, {"error": "odd"}), NOW) for status in (400, 403)]
    assert answers == [Refusal("grant_rejected", 400, "Odd"), Refusal("rejected_unknown", 403, "Odd")]


@pytest.mark.parametrize(
    ("part", "description", "matched"),
    [
        ("AADSTS7000222:", "AADSTS7000222: The secret of app 1 is expired. Trace ID: 2", True),
        ("aadsts7000222:", "AADSTS7000222: The secret", True),
        ("AADSTS700:", "AADSTS7000222: The secret", False),
        ("secret", None, False),
        ("secret", {"text": "secret"}, False),
    ],
)
def test_a_rule_matches_a_part_of_a_description(part: str, description: Any, matched: bool) -> None:
    profile = acme(f'[[errors]]\ndescription_contains = "{part}"\nas = "client_rejected"')
    answer = parse_token_response(profile, respond(400, {"error_description": description}), NOW)
    assert isinstance(answer, Refusal)
    assert (answer.kind == "client_rejected") is matched


def test_a_description_in_full_is_not_matched_by_a_part() -> None:
    assert ErrorRule(kind="transient").description_contains is None
    profile = acme('[[errors]]\ndescription = "Invalid"\nas = "grant_rejected"')
    answer = parse_token_response(profile, respond(400, {"error_description": "Invalid token"}), NOW)
    assert isinstance(answer, Refusal)
    assert answer.kind == "rejected_unknown"


def test_a_code_is_shown_as_the_profile_or_the_standard_spells_it() -> None:
    profile = acme('[[errors]]\ncode = "BAD_Hub"\nas = "grant_rejected"')
    assert filter_error_code(profile, "bad_hub") == "BAD_Hub"
    assert filter_error_code(profile, "Invalid_Grant") == "invalid_grant"
    assert filter_error_code(profile, "canary") is None


@pytest.mark.parametrize(
    ("content_type", "shown"),
    [
        *(("text/html; charset=utf-8", "text/html"), ("Application/JSON", "application/json"), ("", None)),
        *(("text/canary", "other"), ("application/json, application/json", "other"), ("é", "other")),
    ],
)
def test_of_a_content_type_only_a_usual_one_is_shown(content_type: str, shown: str | None) -> None:
    answer = parse_token_response(acme(), respond(403, PAGE, content_type=content_type), NOW)
    assert isinstance(answer, Refusal)
    assert answer.content_type == shown


def test_the_table_has_a_row_for_every_class() -> None:
    assert {row.answer_class for row in ANSWER_TABLE} == set(get_args(AnswerClass))
    assert set(CLASS_BY_KIND.values()) < set(get_args(AnswerClass))


def test_the_table_in_the_docs_is_the_one_of_the_code() -> None:
    page = answer_table.PAGE.read_text("utf-8")
    assert answer_table.BEGIN in page
    assert answer_table.insert(page) == page, "run make answer-table"
