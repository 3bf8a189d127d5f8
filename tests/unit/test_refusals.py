"""Protects what a refusal changes: one connection, by what it can know. A person is asked for what a person can fix.

What other connections got meanwhile is given as their circuits' fields.
"""

from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergrant.oauth.error_codes import RefusalKind
from evergrant.oauth.error_response import Refusal
from evergrant.record import refusals
from evergrant.record.circuit import NO_SURROUNDINGS, VAGUE, Answer, Failure, Surroundings
from evergrant.record.connection import FIELDS, Connection, RecordChange
from evergrant.record.refusals import describe_to_client, describe_to_endpoint
from evergrant.record.status import INACTIVE_STATUSES, Status
from evergrant.times import DAY_SECONDS, HOUR_SECONDS
from tests.unit.samples import KEAP, NOW, connection, event_types, fields_of, surround

KINDS = tuple(kind for part in get_args(RefusalKind) for kind in (get_args(part) or (part,)))
PASSING: tuple[RefusalKind, ...] = ("transient", "rate_limited", "not_used", "not_reached", "unclear")
DEAD = Refusal("grant_rejected", 400, "invalid_grant", content_type="application/json")
BLANK = Refusal("rejected_unknown", 401)
UNAUTHORIZED = Refusal("client_unauthorized", 403, "unauthorized_client")
WRONG = Refusal("malformed", 400, "invalid_request")
EXPIRED = {"issued_at": NOW - DAY_SECONDS - 6 * HOUR_SECONDS, "expires_at": NOW - 6 * HOUR_SECONDS}


def attempting(**fields: Any) -> Connection:
    return connection(attempt_id="attempt-1", attempt_at=NOW, **fields)


def refused_before(seconds: int, refusal: Refusal, **fields: Any) -> Connection:
    """A connection that was first refused so, that many seconds ago."""
    code = refusal.code or refusal.kind
    rejected = {"rejected_at": NOW - seconds, "rejected_code": code, "last_error": code, "failures": 1}
    return attempting(**{"status": Status.DEGRADED, **rejected, **fields})


def refuse(current: Connection, refusal: Refusal, around: Surroundings = NO_SURROUNDINGS) -> RecordChange:
    return refusals.apply_refusal(current, KEAP, refusal, around, NOW)


# Every refusal


@given(
    st.sampled_from(KINDS),
    st.sampled_from(sorted({*Status} - INACTIVE_STATUSES)),
    st.sampled_from(["authorization_code", "client_credentials", "login"]),
    st.integers(0, 99),
    st.integers(-2 * DAY_SECONDS, 2 * DAY_SECONDS),
)
def test_every_refusal_has_a_next_try_and_deletes_no_credential(
    kind: RefusalKind, status: Status, grant: str, failures: int, left: int
) -> None:
    token = {"issued_at": NOW + left - DAY_SECONDS, "expires_at": NOW + left}
    current = attempting(status=status, grant=grant, failures=failures, rejected_at=NOW - 900, **token)
    changes = fields_of(refuse(current, Refusal(kind, 400)))
    assert changes["refresh_at"] == changes["due_at"] > NOW
    assert changes["due_shard"] is not None
    assert changes["attempt_id"] is None
    assert changes["failures"] == failures + 1
    assert not {"sealed", "generation", "expires_at", "published_generation"} & changes.keys()
    assert changes.keys() <= FIELDS


@pytest.mark.parametrize("kind", KINDS)
def test_code_status_and_media_type_of_every_refusal_are_recorded(kind: RefusalKind) -> None:
    refusal = Refusal(kind, 418, "invalid_scope", content_type="text/html")
    changes = fields_of(refuse(attempting(failing_since=None), refusal))
    assert (changes["last_error"], changes["last_status"], changes["last_detail"]) == (
        "invalid_scope",
        418,
        "text/html",
    )
    assert (changes["last_error_at"], changes["failing_since"]) == (NOW, NOW)
    assert fields_of(refuse(attempting(), Refusal(kind, 418)))["last_error"] == kind, "a refusal without a code"


def test_the_first_failure_in_a_row_stays_the_first() -> None:
    assert fields_of(refuse(attempting(failing_since=NOW - 60, failures=1), BLANK))["failing_since"] == NOW - 60


@pytest.mark.parametrize("kind", [*PASSING, "rejected_unknown"])
def test_a_failure_while_the_endpoints_circuit_is_open_waits_for_it(kind: RefusalKind) -> None:
    """The connection stays due, and the tick passes it over until it is its turn to probe."""
    around = surround(endpoint={"opened_at": NOW - 60})
    changes = fields_of(refuse(attempting(**EXPIRED), Refusal(kind, 503, retry_after=600), around))
    assert (changes["refresh_at"], changes["due_at"]) == (NOW, NOW)


@pytest.mark.parametrize("kind", PASSING)
def test_a_third_failure_in_a_row_degrades(kind: RefusalKind) -> None:
    for failures, degrades in ((0, False), (1, False), (2, True), (7, True)):
        changes = refuse(attempting(failures=failures, refresh_expires_at=None), Refusal(kind, 503))
        assert (changes.status == Status.DEGRADED) is degrades
        assert event_types(changes) == (["Connection Degraded"] if degrades else [])
    assert event_types(refuse(attempting(failures=9, status=Status.DEGRADED), Refusal(kind, 503))) == []


@pytest.mark.parametrize("kind", ["transient", "rate_limited", "not_used", "not_reached"])
def test_what_used_nothing_up_is_tried_again_soon(kind: RefusalKind) -> None:
    changes = fields_of(refuse(attempting(), Refusal(kind, 503)))
    assert NOW < changes["refresh_at"] <= NOW + 10
    assert changes.get("unclear_at") is None


@pytest.mark.parametrize(
    "status", [Status.AUTHORIZATION_REQUIRED, Status.CLIENT_REFUSED, Status.AWAITING_AUTHORIZATION]
)
@pytest.mark.parametrize("kind", ["transient", "unclear", "not_reached"])
def test_a_passing_failure_does_not_make_a_worse_state_look_better(kind: RefusalKind, status: Status) -> None:
    changes = refuse(attempting(status=status, failures=9), Refusal(kind, 503))
    if status is Status.CLIENT_REFUSED:
        assert changes.status is Status.DEGRADED, "its own trouble, and no longer the client's"
    else:
        assert changes.status is None
        assert event_types(changes) == []


def test_a_provider_that_names_its_wait_is_given_it() -> None:
    refusal = Refusal("rate_limited", 429, retry_after=3600)
    assert refuse(attempting(), refusal).fields["refresh_at"] == NOW + 3600


def test_a_request_that_never_left_costs_nothing_but_time() -> None:
    changes = refuse(attempting(), refusals.NOT_SENT)
    recorded = [fields_of(changes)[name] for name in ("attempt_id", "last_error", "last_status", "failures")]
    assert recorded == [None, "not_sent", None, 1]
    assert changes.status is None


# The grant is refused


def test_one_rejection_degrades_and_is_asked_again_after_ten_minutes() -> None:
    changes = refuse(attempting(), DEAD)
    assert changes.status is Status.DEGRADED
    assert event_types(changes) == ["Connection Degraded"]
    recorded = [fields_of(changes)[name] for name in ("rejected_at", "rejected_code", "refresh_at", "due_at")]
    assert recorded == [NOW, "invalid_grant", NOW + 600, NOW + 600]


def test_a_second_rejection_too_soon_changes_nothing_but_waits() -> None:
    changes = refuse(refused_before(599, DEAD), DEAD)
    assert (changes.status, event_types(changes)) == (None, [])
    assert (fields_of(changes)["rejected_at"], fields_of(changes)["refresh_at"]) == (NOW - 599, NOW + 1)


def test_a_second_rejection_ten_minutes_later_calls_for_a_person() -> None:
    changes = refuse(refused_before(600, DEAD), DEAD)
    assert changes.status is Status.AUTHORIZATION_REQUIRED
    assert event_types(changes) == ["Authorization Required"]
    assert 21 * HOUR_SECONDS <= fields_of(changes)["refresh_at"] - NOW <= 27 * HOUR_SECONDS, "some providers heal"


def test_a_rejection_by_another_code_is_a_first_one() -> None:
    changes = refuse(refused_before(DAY_SECONDS, BLANK), DEAD)
    assert changes.status is None
    assert (fields_of(changes)["rejected_at"], fields_of(changes)["rejected_code"]) == (NOW, "invalid_grant")


def test_a_person_is_called_once_and_probed_for_daily() -> None:
    changes = refuse(refused_before(DAY_SECONDS, DEAD, status=Status.AUTHORIZATION_REQUIRED), DEAD)
    assert (changes.status, event_types(changes)) == (None, [])
    assert fields_of(changes)["refresh_at"] - NOW > 20 * HOUR_SECONDS


def test_a_refused_grant_no_longer_blames_the_client() -> None:
    changes = refuse(connection(status=Status.CLIENT_REFUSED), DEAD)
    assert changes.status is Status.DEGRADED


@pytest.mark.parametrize(("began_before", "asks"), [(0, False), (7199, False), (7200, True)])
def test_second_strikes_of_an_incident_wait_two_hours(began_before: int, asks: bool) -> None:
    """Where many grants are refused at once no owner is asked for two hours; a try is made every ten minutes."""
    around = surround(client={"incident_at": NOW - began_before})
    changes = refuse(refused_before(DAY_SECONDS, DEAD), DEAD, around)
    assert (changes.status is Status.AUTHORIZATION_REQUIRED) is asks
    if not asks:
        assert fields_of(changes)["refresh_at"] == NOW + 600
        assert fields_of(changes)["rejected_at"] == NOW - DAY_SECONDS, "so that it counts when the two hours are over"


# The client is refused


def test_a_refused_client_requires_no_authorization() -> None:
    changes = refuse(refused_before(DAY_SECONDS, DEAD), Refusal("client_rejected", 401, "invalid_client"))
    assert changes.status is Status.CLIENT_REFUSED
    assert event_types(changes) == ["Client Refused"]
    assert (fields_of(changes)["rejected_at"], fields_of(changes)["rejected_code"]) == (None, None)
    assert NOW < fields_of(changes)["refresh_at"] <= NOW + 20, "the next try at the times of its own record"
    assert event_types(refuse(attempting(status=Status.CLIENT_REFUSED), Refusal("client_rejected", 401))) == []


@pytest.mark.parametrize(
    ("alerted_at", "alerts"), [(None, True), (NOW - DAY_SECONDS + 1, False), (NOW - DAY_SECONDS, True)]
)
def test_one_refused_client_is_one_alert_a_day(alerted_at: int | None, alerts: bool) -> None:
    around = surround(client={"alerted_at": alerted_at})
    changes = refuse(attempting(), Refusal("client_rejected", 401), around)
    assert [body["detail"]["alert"] for body in changes.events.values() if body] == [alerts]


@pytest.mark.parametrize("kind", ["grant_rejected", "rejected_unknown", "client_rejected"])
def test_without_a_grant_only_the_client_can_be_to_blame(kind: RefusalKind) -> None:
    headless = attempting(name="wealthyhood/main", grant="client_credentials")
    changes = refuse(headless, Refusal(kind, 401))
    assert changes.status is Status.CLIENT_REFUSED
    assert fields_of(changes)["rejected_at"] is None


# A refusal without a reason


def test_a_first_refusal_without_a_reason_asks_no_person() -> None:
    changes = refuse(attempting(), BLANK, surround(endpoint={"answered_at": NOW - 1}))
    assert changes.status is Status.DEGRADED
    assert fields_of(changes)["refresh_at"] == NOW + 600
    assert (fields_of(changes)["rejected_at"], fields_of(changes)["rejected_code"]) == (NOW, VAGUE)


@pytest.mark.parametrize("token", [{}, EXPIRED], ids=["token lives", "token expired"])
@pytest.mark.parametrize(
    ("first", "answered", "asks"),
    [
        (600, 300, True),
        (599, 300, False),
        (600, 600, False),
        (600, 601, False),
        (600, None, False),
        (DAY_SECONDS, DAY_SECONDS - 1, True),
    ],
)
def test_it_is_the_grants_where_another_was_answered_in_between(
    first: int, answered: int | None, asks: bool, token: dict[str, Any]
) -> None:
    """Another connection's proper answer after the first refusal, and a second one at least ten minutes later."""
    endpoint = {
        "answered_at": None if answered is None else NOW - answered,
        "failures": {"keap/other": Failure(NOW - 1, VAGUE)},
    }
    changes = refuse(refused_before(first, BLANK, **token), BLANK, surround(endpoint=endpoint))
    assert (changes.status is Status.AUTHORIZATION_REQUIRED) is asks


@pytest.mark.parametrize(("expired_for", "asks"), [(6 * HOUR_SECONDS - 1, False), (6 * HOUR_SECONDS, True)])
def test_one_that_is_alone_is_the_owners_six_hours_after_expiry(expired_for: int, asks: bool) -> None:
    token = {"issued_at": NOW - expired_for - DAY_SECONDS, "expires_at": NOW - expired_for}
    own = {"failures": {"keap/main": Failure(NOW, VAGUE)}}
    changes = refuse(refused_before(7 * HOUR_SECONDS, BLANK, **token), BLANK, surround(endpoint=own))
    assert (changes.status is Status.AUTHORIZATION_REQUIRED) is asks


@pytest.mark.parametrize("hours", [1, 7, 24 * 30])
def test_where_all_of_an_endpoint_get_it_no_owner_is_asked(hours: int) -> None:
    token = {"issued_at": NOW - (hours + 24) * HOUR_SECONDS, "expires_at": NOW - hours * HOUR_SECONDS}
    others = {"failures": {"keap/main": Failure(NOW, VAGUE), "keap/other": Failure(NOW - 500, VAGUE)}}
    changes = refuse(refused_before(hours * HOUR_SECONDS, BLANK, **token), BLANK, surround(endpoint=others))
    assert changes.status is None
    assert fields_of(changes)["refresh_at"] > NOW


def test_a_connection_that_never_had_a_token_is_not_asked_for_again() -> None:
    around = surround(endpoint={"answered_at": NOW - 1})
    assert refuse(refused_before(DAY_SECONDS, BLANK, generation=0), BLANK, around).status is None


@pytest.mark.parametrize("refusal", [BLANK, UNAUTHORIZED], ids=lambda refusal: refusal.kind)
def test_what_may_be_no_fault_of_the_grant_is_tried_often_after_expiry(refusal: Refusal) -> None:
    """While the token lives a second try before ten minutes says nothing; then each minute without a token counts."""
    assert fields_of(refuse(attempting(), refusal))["refresh_at"] == NOW + 600
    assert fields_of(refuse(attempting(**EXPIRED, failures=20), refusal))["refresh_at"] <= NOW + 300
    assert fields_of(refuse(attempting(**EXPIRED), DEAD))["refresh_at"] == NOW + 600


# unauthorized_client (RFC 6749 section 5.2)


def test_unauthorized_client_is_the_grants_if_others_were_accepted_since() -> None:
    around = surround(client={"accepted_at": NOW - 300})
    assert refuse(attempting(), UNAUTHORIZED, around).status is Status.DEGRADED, "accepted before, not since"
    assert refuse(refused_before(599, UNAUTHORIZED), UNAUTHORIZED, around).status is None
    changes = refuse(refused_before(600, UNAUTHORIZED), UNAUTHORIZED, around)
    assert changes.status is Status.AUTHORIZATION_REQUIRED
    assert event_types(changes) == ["Authorization Required"]


def test_unauthorized_client_is_the_clients_while_its_circuit_is_open() -> None:
    around = surround(client={"opened_at": NOW, "accepted_at": NOW - 300})
    assert refuse(refused_before(600, UNAUTHORIZED), UNAUTHORIZED, around).status is Status.CLIENT_REFUSED


@pytest.mark.parametrize("accepted_at", [None, NOW - DAY_SECONDS])
def test_unauthorized_client_of_a_connection_alone_asks_no_owner(accepted_at: int | None) -> None:
    """Nothing shows which of the two readings is right: the operator sees it degraded, with both in words."""
    around = surround(client={"accepted_at": accepted_at})
    changes = refuse(refused_before(DAY_SECONDS, UNAUTHORIZED, **EXPIRED), UNAUTHORIZED, around)
    assert changes.status is None
    assert (fields_of(changes)["last_error"], fields_of(changes)["rejected_code"]) == ("unauthorized_client",) * 2
    assert fields_of(changes)["refresh_at"] > NOW


def test_unauthorized_client_without_a_grant_asks_no_owner() -> None:
    around = surround(client={"accepted_at": NOW - 300})
    current = refused_before(600, UNAUTHORIZED, grant="client_credentials")
    assert refuse(current, UNAUTHORIZED, around).status is None


# A request that is called wrong


def test_a_request_that_is_called_wrong_degrades_and_is_tried_again() -> None:
    changes = refuse(attempting(), WRONG)
    assert (changes.status, fields_of(changes)["last_error"]) == (Status.DEGRADED, "invalid_request")
    assert NOW < fields_of(changes)["refresh_at"] <= NOW + 10


@pytest.mark.parametrize(
    ("first", "expired_for", "asks"),
    [
        (2 * HOUR_SECONDS, HOUR_SECONDS, True),
        (2 * HOUR_SECONDS, HOUR_SECONDS - 1, False),
        (599, HOUR_SECONDS, False),
        (DAY_SECONDS - 1, -HOUR_SECONDS, False),
        (DAY_SECONDS, -HOUR_SECONDS, True),
    ],
)
def test_it_is_the_owners_an_hour_after_expiry_or_after_a_day(first: int, expired_for: int, asks: bool) -> None:
    """A request that worked before, while other connections of the client are accepted."""
    token = {"issued_at": NOW - expired_for - DAY_SECONDS, "expires_at": NOW - expired_for}
    around = surround(client={"accepted_at": NOW - 60})
    changes = refuse(refused_before(first, WRONG, **token), WRONG, around)
    assert (changes.status is Status.AUTHORIZATION_REQUIRED) is asks
    if asks:
        assert fields_of(changes)["last_error"] == "invalid_request"


@pytest.mark.parametrize(
    ("accepted_at", "fields"),
    [
        (None, {}),
        (NOW - 3 * DAY_SECONDS, {}),
        (NOW - 60, {"generation": 0}),
        (NOW - 60, {"grant": "client_credentials"}),
    ],
    ids=["none accepted", "accepted before", "never worked", "no grant"],
)
def test_a_wrong_request_is_the_operators_in_all_other_cases(accepted_at: int | None, fields: dict[str, Any]) -> None:
    around = surround(client={"accepted_at": accepted_at})
    changes = refuse(refused_before(2 * DAY_SECONDS, WRONG, **EXPIRED, **fields), WRONG, around)
    assert changes.status is None
    assert fields_of(changes)["refresh_at"] > NOW


# A failure of one connection alone


@pytest.mark.parametrize("kind", PASSING)
def test_others_that_succeed_while_it_fails_are_noted(kind: RefusalKind) -> None:
    current = attempting(failing_since=NOW - 600, failures=3)
    succeeded = surround(endpoint={"accepted_at": NOW - 300})
    assert fields_of(refuse(current, Refusal(kind, 500), succeeded))["alone_since"] == NOW
    before = surround(endpoint={"accepted_at": NOW - 900})
    assert fields_of(refuse(current, Refusal(kind, 500), before)).get("alone_since") is None
    again = attempting(failing_since=NOW - 600, alone_since=NOW - 100)
    assert "alone_since" not in fields_of(refuse(again, Refusal(kind, 500), succeeded)), "the first time counts"


@pytest.mark.parametrize("kind", PASSING)
@pytest.mark.parametrize(
    ("alone_for", "expired_for", "asks"),
    [
        (6 * HOUR_SECONDS, 6 * HOUR_SECONDS, True),
        (6 * HOUR_SECONDS - 1, DAY_SECONDS, False),
        (DAY_SECONDS, 6 * HOUR_SECONDS - 1, False),
    ],
)
def test_failing_alone_for_six_hours_after_expiry_is_the_owners(
    kind: RefusalKind, alone_for: int, expired_for: int, asks: bool
) -> None:
    token = {"issued_at": NOW - expired_for - DAY_SECONDS, "expires_at": NOW - expired_for}
    current = attempting(alone_since=NOW - alone_for, failing_since=NOW - 2 * DAY_SECONDS, failures=9, **token)
    changes = refuse(current, Refusal(kind, 500))
    assert (changes.status is Status.AUTHORIZATION_REQUIRED) is asks
    assert (fields_of(changes)["last_error"] == "fails_for_this_account") is asks
    assert fields_of(changes)["refresh_at"] < NOW + DAY_SECONDS, "it is tried as before"


def test_that_it_fails_alone_stays_the_reason_after_further_failures() -> None:
    current = attempting(
        status=Status.AUTHORIZATION_REQUIRED, alone_since=NOW - DAY_SECONDS, failing_since=NOW - DAY_SECONDS, **EXPIRED
    )
    changes = refuse(current, Refusal("unclear", 500))
    assert (fields_of(changes)["last_error"], fields_of(changes)["last_status"]) == ("fails_for_this_account", 500)
    assert event_types(changes) == []


@pytest.mark.parametrize(
    "fields",
    [{"generation": 0}, {"status": Status.CLIENT_REFUSED}, {"grant": "client_credentials"}],
    ids=["never worked", "client refused", "headless"],
)
def test_one_that_no_owner_can_help_does_not_need_its_owner(fields: dict[str, Any]) -> None:
    current = attempting(alone_since=NOW - DAY_SECONDS, failing_since=NOW - DAY_SECONDS, **EXPIRED, **fields)
    assert refuse(current, Refusal("transient", 503)).status is not Status.AUTHORIZATION_REQUIRED


# What a refusal says of client and endpoint


@pytest.mark.parametrize(
    ("kind", "of_client", "of_endpoint"),
    [
        ("transient", None, "failed"),
        ("rate_limited", None, "failed"),
        ("not_used", None, "failed"),
        ("not_reached", None, "failed"),
        ("unclear", None, "failed"),
        ("rejected_unknown", None, "failed"),
        ("grant_rejected", "answered", "answered"),
        ("client_rejected", "failed", "answered"),
        ("client_unauthorized", "failed", "answered"),
        ("malformed", "neutral", "answered"),
    ],
)
def test_each_kind_says_its_part_of_client_and_endpoint(
    kind: RefusalKind, of_client: str | None, of_endpoint: str
) -> None:
    refusal = Refusal(kind, 400, "invalid_scope", 60, "text/html")
    client, endpoint = describe_to_client(attempting(), refusal), describe_to_endpoint(refusal)
    assert (client and client.kind, endpoint.kind) == (of_client, of_endpoint)
    if of_endpoint == "failed":
        code = VAGUE if kind == VAGUE else "invalid_scope"
        assert endpoint == Answer("failed", code, 400, "text/html", 60)


def test_without_a_grant_a_refusal_is_one_of_the_client() -> None:
    headless = attempting(grant="client_credentials")
    answer = describe_to_client(headless, DEAD)
    assert answer == Answer("failed", "invalid_grant", 400, "application/json")


def test_an_incident_names_the_client_and_its_refused_connections() -> None:
    refused = {f"keap/a{number:02}": Failure(NOW - number, "invalid_grant") for number in range(30)}
    around = surround(client={"incident_at": NOW, "refusals": {"keap/main": Failure(NOW, "invalid_grant"), **refused}})
    [event] = refusals.announce_incident(attempting(), around.client, NOW).events.values()
    assert event is not None
    assert (event["type"], event["detail"]["client"], event["detail"]["reason"]) == (
        "Grants Refused",
        "keap",
        "invalid_grant",
    )
    assert event["detail"]["alert"] is True
    assert event["detail"]["connections"] == sorted(refused)[:20], "an event holds 256 KB"
