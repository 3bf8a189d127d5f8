"""Protects the words for what went wrong: no code stands alone, and an unknown one is shown too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import pytest

from evergrant import errors
from evergrant.link_errors import LinkError
from evergrant.oauth.answer_classes import CLASS_BY_KIND
from evergrant.oauth.error_codes import REGISTERED_ERRORS
from evergrant.record import failures, lost_response, refusals
from evergrant.record.connection import FAILS_ALONE, UNPUBLISHED, Connection
from evergrant.record.error_words import describe_code
from evergrant.record.status import Status
from evergrant_cli.codes import describe_last_error, describe_link_problem
from tests.unit.samples import NOW, connection

UNKNOWN_WORDS = "words of its own"


def list_classes(parent: type[errors.EvergrantError]) -> Iterator[type[errors.EvergrantError]]:
    for child in parent.__subclasses__():
        yield child
        yield from list_classes(child)


def list_preparation_codes() -> set[str]:
    """The errors that keep an attempt from being made: of the client's entry, the profile, the seal, the request."""
    elsewhere = (LinkError, errors.MetadataError, errors.ConnectionProblem, errors.TemporarilyUnavailable)
    others = {"provider_unreachable", "conflict", "record_broken", "invalid_name", "invalid_issuer"}
    return {kind.code for kind in list_classes(errors.EvergrantError) if not issubclass(kind, elsewhere)} - others


def list_codes_without_a_token() -> set[str]:
    """The codes of connections that nothing can refresh."""
    kinds = [connection(), connection(grant="static"), connection(grant="static", expires_at=NOW - 1)]
    return {str(failures.require_authorization(kind, NOW).fields["last_error"]) for kind in kinds}


def list_codes() -> list[str]:
    """Every code that the core can write as the last error of a record."""
    of_the_core = {
        *(lost_response.LOST, failures.UNREADABLE, failures.SERVICE_UNAVAILABLE, UNPUBLISHED),
        *(refusals.explain(refusals.NOT_SENT).code, FAILS_ALONE),
    }
    found = (
        of_the_core
        | set(REGISTERED_ERRORS)
        | set(CLASS_BY_KIND)
        | list_preparation_codes()
        | list_codes_without_a_token()
    )
    return sorted(found)


def test_the_codes_of_the_core_are_found() -> None:
    found = list_codes()
    assert {"invalid_grant", "not_reached", "fails_for_this_account", "seal_broken", "key_refused"} <= set(found)
    assert len(found) > 50


@pytest.mark.parametrize("code", list_codes())
def test_each_code_that_the_core_writes_follows_a_sentence(code: str) -> None:
    said = describe_code(code)
    assert said.endswith(f" ({code})")
    assert UNKNOWN_WORDS not in said


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        *(("lost_response", reason) for reason in get_args(errors.LostReason)),
        *(("not_sent", reason) for reason in get_args(errors.NotSentReason)),
    ],
)
def test_each_reason_for_a_missing_response_has_words_of_its_own(code: str, reason: str) -> None:
    said = describe_code(code, None, reason)
    assert said.endswith(f"({code}, {reason})")
    assert said.partition(" (")[0] != describe_code(code).partition(" (")[0]


def test_no_two_kinds_of_failure_share_their_words() -> None:
    """A timeout, a reset, no connection, a 5xx, a page of HTML, a refusal with a code and one without a reason."""
    facts: list[tuple[str, int | None, str | None]] = [
        *(("lost_response", None, reason) for reason in ("timeout", "reset")),
        *(("not_sent", None, reason) for reason in ("dns", "connect", "tls")),
        *(("unclear", 502, "application/json"), ("unclear", 502, "text/html"), ("not_reached", 403, "text/html")),
        *(("invalid_grant", 400, "application/json"), ("rejected_unknown", 400, None)),
        ("unclear", 200, "application/json"),
    ]
    said = [describe_code(*fact) for fact in facts]
    assert len({words.partition(" (")[0] for words in said}) == len(said)
    assert said[0].startswith("the provider did not respond in time")
    assert (
        said[6] == "the provider, or a server in front of it, failed with a page of HTML (unclear, HTTP 502, text/html)"
    )
    assert said[7].startswith("a page of HTML came instead")
    assert said[8] == "the provider no longer accepts the grant (invalid_grant, HTTP 400)"
    assert said[9] == "the provider refused, and gave no reason (rejected_unknown, HTTP 400)"


@pytest.mark.parametrize("code", sorted(set(list_codes()) - {"lost_response"}))
@pytest.mark.parametrize("detail", [None, "text/html", "timeout"])
def test_only_a_lost_response_is_called_lost(code: str, detail: str | None) -> None:
    assert "lost" not in describe_code(code, 503, detail, is_refusal=False)


def build_failed(**fields: Any) -> Connection:
    return connection(status=Status.DEGRADED, failures=1, **fields)


def test_a_5xx_that_names_a_code_is_a_failure_unless_the_profile_says_more() -> None:
    failed = build_failed(last_error="invalid_grant", last_status=500)
    assert describe_last_error(failed).startswith("the provider failed")
    refused = build_failed(last_error="invalid_grant", last_status=500, rejected_at=NOW, rejected_code="invalid_grant")
    assert describe_last_error(refused).startswith("the provider no longer accepts the grant")


@pytest.mark.parametrize("code", ["lost_response", "unclear", "server_error"])
def test_the_fate_of_a_refresh_token_is_mentioned_only_in_doubt(code: str) -> None:
    """What became of a refresh token is mentioned only where it may have been used: a headless grant has none."""
    doubt = "whether it used the refresh token is unknown"
    in_doubt = build_failed(last_error=code, **{"in_doubt_since" if code == "lost_response" else "unclear_at": NOW})
    assert doubt in describe_last_error(in_doubt)
    assert "refresh token" not in describe_last_error(build_failed(last_error=code, grant="client_credentials"))


def test_a_page_with_status_200_is_no_failure_of_the_provider() -> None:
    assert describe_code("unclear", 200, "text/html").startswith("a page of HTML came instead of the provider's")


def test_a_code_is_known_in_any_case() -> None:
    assert describe_code("INVALID_GRANT") == "the provider no longer accepts the grant (INVALID_GRANT)"


def test_no_status_of_an_earlier_response_stands_beside_a_code_of_ours() -> None:
    stale: dict[str, Any] = {"last_status": 503, "last_detail": "text/html"}
    assert describe_last_error(build_failed(last_error="unknown_client", **stale)) == (
        "the client's credentials are not stored (unknown_client)"
    )


def test_a_providers_own_code_and_a_missing_code_are_shown_as_such() -> None:
    assert describe_code("odd_thing") == "the provider refused, in words of its own (odd_thing)"
    assert describe_code(None) == "no reason is recorded"


def test_a_step_at_the_connect_pages_names_the_client_it_wants() -> None:
    assert "client keap" in describe_link_problem("unknown_client", "keap")
    assert "(wrong_browser)" in describe_link_problem("wrong_browser", "keap")
