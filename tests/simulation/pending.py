"""Rules that the simulation judges by and the code does not keep yet, each with what is missing.

A line goes with the change that keeps its rule: a test that passes although it is listed here fails.
"""

from __future__ import annotations

#: Invariants that random mixes do without, by name.
INVARIANTS: dict[str, str] = {
    "no_refresh_token_is_sent_twice": "an attempt in doubt is replayed long before its token expires",
    "one_alert_for_one_trouble": "each degraded connection sends an alert of its own",
    "a_connection_without_a_token_is_retried": "the backoff grows to a quarter of an hour",
    "an_owner_is_asked_with_a_reason": "a lost response becomes the owner's within minutes",
    "a_client_is_refused_by_its_provider": "vague refusals and one client's refusal open the client's circuit",
    "a_wait_is_kept": "a 503 is repeated at once although it names the time of the next request",
}
_OUTAGE = "an attempt in doubt waits a quarter of an hour, and a page counts as a refusal"
_PAGE = "a page is retried for ever, and each connection sends an alert of its own"
_REQUEST = "invalid_request is retried for ever"
_VAGUE = "two vague refusals are the client's"
_CLIENT = "one refusal opens the circuit of the client"
#: Tests of scenarios, by the name, with their parameters where only some of them wait.
TESTS: dict[str, str] = {
    "test_each_third_profile_recovers_from_an_outage": _OUTAGE,
    "test_each_profile_recovers_from_an_outage": _OUTAGE,
    "test_a_large_fleet_recovers_without_a_herd": "an endpoint has no circuit",
    "test_a_wait_of_milliseconds_does_not_cost_the_token": "Retry-After holds a connection for a day",
    "test_one_503_costs_a_short_lived_token_seconds": _OUTAGE,
    "test_a_500_in_the_same_second_costs_no_grant[60]": _OUTAGE,
    "test_a_500_in_the_same_second_costs_no_grant[300]": _OUTAGE,
    "test_refusals_of_a_mass_that_end_ask_no_owner": "the second refusal asks the owner",
    "test_refusals_of_a_mass_that_last_ask_owners_after_two_hours": "the second refusal asks the owner",
    "test_a_day_without_a_token_needs_someone": _PAGE,
    "test_one_that_fails_alone_for_six_hours_is_its_owners": _PAGE,
    "test_a_vague_refusal_of_all_is_the_operators": _VAGUE,
    "test_a_malformed_request_becomes_the_owners_after_an_hour": _REQUEST,
    "test_a_client_refused_for_all_recovers_with_its_entry": "a probe comes once an hour",
}
#: The same for the refused connections: the way of refusing, how many where only so many wait, and which lifetime.
REFUSALS: dict[str, str] = {
    "zoho": _CLIENT,
    "empty 400-5": _VAGUE,
    "a framework's 400-5": _VAGUE,
    "hourly empty 401-5": _VAGUE,
}
