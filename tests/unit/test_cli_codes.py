"""Protects the words for what went wrong: no code stands alone, and an unknown one is shown too."""

from __future__ import annotations

import pytest

from evergrant_cli.codes import describe_code, describe_link_problem


@pytest.mark.parametrize(
    "code",
    [
        *(
            "lost_response",
            "not_sent",
            "unreadable_response",
            "rate_limited",
            "transient",
            "malformed",
            *("rejected_unknown", "client_unauthorized", "not_reached", "unclear", "expired_on_arrival"),
        ),
        *("service_unavailable", "no_refresh_token", "unknown_client", "unknown_profile", "invalid_variable"),
        *("invalid_client_entry", "seal_broken", "invalid_grant", "invalid_client", "unauthorized_client"),
    ],
)
def test_each_code_follows_a_sentence(code: str) -> None:
    said = describe_code(code)
    assert said.endswith(f" ({code})")
    assert "words of its own" not in said


def test_a_lost_response_leaves_open_what_became_of_the_refresh_token() -> None:
    assert describe_code("lost_response") == (
        "the provider's response was lost, or it failed (timeout, reset or 5xx); "
        "whether it used the refresh token is unknown (lost_response)"
    )


def test_a_providers_own_code_and_a_missing_code_are_shown_as_such() -> None:
    assert describe_code("odd_thing") == "the provider refused, in words of its own (odd_thing)"
    assert describe_code(None) == "no reason is recorded"


def test_a_step_at_the_connect_pages_names_the_client_it_wants() -> None:
    assert "client keap" in describe_link_problem("unknown_client", "keap")
    assert "(wrong_browser)" in describe_link_problem("wrong_browser", "keap")
