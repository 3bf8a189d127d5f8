"""Protects the corpus: a wrong rule about any class of answers is found by at least three of its cases.

The responses are fetched once. A wrong rule is planted into the table of classes, or into what decides before it. A
mistake of the HTTP client is planted as what it would have delivered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from evergrant.adapters.http import GuardedHttp
from evergrant.errors import LostResponse, NotSent
from evergrant.http_messages import HttpResponse
from evergrant.oauth import answer, answer_classes, error_codes, error_response, token_response
from evergrant.oauth.answer import Answer
from evergrant.oauth.answer_classes import AnswerClass, AnswerRow
from evergrant.oauth.retry_after import parse_retry_after
from evergrant.profiles import expiry
from tests.field.case_format import AnswerCase, list_cases, read_case
from tests.field.http_path import Fetched, fetch, find_differences, read
from tests.field.server import encode_body, serving

MIN_FOUND = 3
Responses = Mapping[str, tuple[AnswerCase, Fetched]]
Plant = Callable[[pytest.MonkeyPatch], None]
Damage = Callable[[AnswerCase, Fetched], Fetched]


@pytest.fixture(scope="module")
def responses() -> Iterator[Responses]:
    with serving() as server:
        http = GuardedHttp(allow_loopback=True)
        cases = {file.stem: read_case(file) for file in list_cases("answers")}
        yield {name: (case, fetch(case, server, http)) for name, case in cases.items()}


def find_failing(responses: Responses, damage: Damage = lambda _, fetched: fetched) -> set[str]:
    """Return the names of the cases that fail."""
    return {name for name, (case, fetched) in responses.items() if is_failing(case, damage(case, fetched))}


def is_failing(case: AnswerCase, fetched: Fetched) -> bool:
    try:
        return find_differences(case.expect, read(case, fetched)) != {}
    except (AssertionError, LookupError, TypeError, ValueError):
        return True


# --- wrong rules of the table -----------------------------------------------------------------------------------------


def change_row(answer_class: AnswerClass, /, **changes: Any) -> Plant:
    """Change the first row of a class."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        table: list[AnswerRow] = list(answer_classes.ANSWER_TABLE)
        number = next(number for number, row in enumerate(table) if row.answer_class == answer_class)
        table[number] = table[number]._replace(**changes)
        patch.setattr(answer_classes, "ANSWER_TABLE", tuple(table))

    return plant


def look_otherwise(change: Callable[[Answer], Answer]) -> Plant:
    """Look at each response in a wrong way."""
    look = answer.read_answer
    return lambda patch: patch.setattr(token_response, "read_answer", lambda *asked: change(look(*asked)))


def take_code_for(code: str, kind: str) -> Plant:
    """Give a registered code another meaning."""
    wrong = {**error_codes.REGISTERED_ERRORS, code: kind}
    return lambda patch: patch.setattr(error_response, "REGISTERED_ERRORS", wrong)


def ignore_what_is_not_positive(patch: pytest.MonkeyPatch) -> None:
    parse = expiry._parse_number

    def parse_positive(*asked: Any) -> int | None:
        number = parse(*asked)
        return None if number is None or number <= 0 else number

    patch.setattr(expiry, "_parse_number", parse_positive)


def believe_the_content_type(patch: pytest.MonkeyPatch) -> None:
    decode = answer.decode_body

    def decode_json_only(response: HttpResponse) -> Any:
        return decode(response) if response.headers.get("content-type", "").startswith("application/json") else None

    for module in (answer, token_response):
        patch.setattr(module, "decode_body", decode_json_only)


def follow_any_retry_after(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(error_response, "parse_retry_after", lambda response, now, _: parse_retry_after(response, now, 10**9))


RULES: dict[str, Plant] = {
    "token_set: an error field beside tokens is a refusal": look_otherwise(
        lambda seen: replace(seen, is_denied=seen.is_denied or bool(seen.is_success and seen.codes))
    ),
    "token_set: an expiry of zero is absent": ignore_what_is_not_positive,
    "token_set: only application/json is read": believe_the_content_type,
    "not_acted_upon: a 429 is vague": change_row(
        "not_acted_upon", holds=lambda seen: seen.status == 503 and seen.has_retry_after
    ),
    "not_acted_upon: a 503 never is": change_row("not_acted_upon", holds=lambda seen: seen.status == 429),
    "not_acted_upon: Retry-After has no bound": follow_any_retry_after,
    "refusal: a 5xx with a code is one": change_row("refusal", holds=lambda seen: seen.code is not None),
    "refusal: only a 400 is one": change_row(
        "refusal", holds=lambda seen: seen.code is not None and seen.status == 400
    ),
    "refusal: unauthorized_client is the client's": take_code_for("unauthorized_client", "client_rejected"),
    "refusal: invalid_request is the grant's": take_code_for("invalid_request", "grant_rejected"),
    "vague: it is not reached": change_row("vague", answer_class="not_reached"),
    "vague: every 4xx is": change_row("vague", holds=lambda seen: seen.is_client_error or seen.is_denied),
    "not_reached: it is unclear": change_row("not_reached", answer_class="unclear"),
    "not_reached: a redirect is unclear": change_row("not_reached", holds=lambda seen: seen.is_client_error),
    "unclear: it is not acted upon": change_row("unclear", answer_class="not_acted_upon"),
    "unclear: every 2xx is kept": look_otherwise(lambda seen: replace(seen, may_hold_tokens=True)),
    "unclear: it is a refusal": change_row("unclear", answer_class="vague"),
}


@pytest.mark.parametrize("rule", RULES)
def test_three_cases_find_a_wrong_rule(rule: str, responses: Responses, monkeypatch: pytest.MonkeyPatch) -> None:
    RULES[rule](monkeypatch)
    assert len(find_failing(responses)) >= MIN_FOUND


# --- mistakes of the HTTP client --------------------------------------------------------------------------------------


def drop_the_coding(case: AnswerCase, fetched: Fetched) -> Fetched:
    return replace(fetched, body=encode_body(case.answer)) if isinstance(fetched, HttpResponse) else fetched


def lose_errors(case: AnswerCase, fetched: Fetched) -> Fetched:
    is_error = isinstance(fetched, HttpResponse) and fetched.status >= 400
    return LostResponse("made to fail", reason="too_large") if is_error else fetched


def take_for_whole(case: AnswerCase, fetched: Fetched) -> Fetched:
    return HttpResponse(200, {}, b"") if isinstance(fetched, LostResponse) else fetched


def take_for_unsent(case: AnswerCase, fetched: Fetched) -> Fetched:
    return NotSent("made to fail", reason="connect") if isinstance(fetched, LostResponse) else fetched


def drop_headers(*names: str) -> Damage:
    def drop(_: AnswerCase, fetched: Fetched) -> Fetched:
        if not isinstance(fetched, HttpResponse):
            return fetched
        return replace(fetched, headers={name: text for name, text in fetched.headers.items() if name not in names})

    return drop


MISTAKES: dict[str, Damage] = {
    "token_set: a content coding is left in the body": drop_the_coding,
    "not_acted_upon: Retry-After is dropped": drop_headers("retry-after"),
    "not_reached: an error page is lost": lose_errors,
    "lost: it is an empty response": take_for_whole,
    "lost: it was not sent": take_for_unsent,
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_three_cases_find_a_mistake_of_the_client(mistake: str, responses: Responses) -> None:
    assert len(find_failing(responses, MISTAKES[mistake])) >= MIN_FOUND


def test_each_class_has_a_planted_mistake() -> None:
    planted = {name.partition(":")[0] for name in (*RULES, *MISTAKES)}
    assert planted == {row.answer_class for row in answer_classes.ANSWER_TABLE}
