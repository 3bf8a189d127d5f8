"""The classes of responses of a token endpoint: which there are, what each means and what follows. One table.

The first row whose condition holds decides. docs/rotation.md shows the table, made from it by `make answer-table`. An
error rule of the profile comes before the table, but for a complete token set, which is never thrown away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

from .answer import Answer
from .error_codes import RefusalKind

AnswerClass = Literal["token_set", "not_acted_upon", "refusal", "vague", "not_reached", "unclear", "lost"]

#: The class that each kind of refusal belongs to.
CLASS_BY_KIND: Mapping[RefusalKind, AnswerClass] = {
    "transient": "not_acted_upon",
    "rate_limited": "not_acted_upon",
    "not_used": "not_acted_upon",
    "grant_rejected": "refusal",
    "client_rejected": "refusal",
    "client_unauthorized": "refusal",
    "malformed": "refusal",
    "rejected_unknown": "vague",
    "not_reached": "not_reached",
    "unclear": "unclear",
}


class AnswerRow(NamedTuple):
    """One row of the table: a condition in words and in code, what it means and what follows, in words."""

    answer_class: AnswerClass
    condition: str
    meaning: str
    consequence: str
    holds: Callable[[Answer], bool]


ANSWER_TABLE: tuple[AnswerRow, ...] = (
    AnswerRow(
        "token_set",
        "2xx with a complete token set, unless the profile's `success_when` is against it. Complete means: an access "
        "token, an expiry, and a new refresh token where the profile rotates. An `error` field beside it, the content "
        "type and unreadable other fields do not matter. Without an `error` that is a code, the new refresh token may "
        "be missing: the old one stays (RFC 6749 section 6).",
        "granted",
        "saved, sealed, and published",
        lambda answer: answer.holds_token_set,
    ),
    AnswerRow(
        "not_acted_upon",
        "429, and 503 with `Retry-After`",
        "the server did not act upon the request",
        "The refresh token is as good as before. Retried when `Retry-After` says, at most an hour later unless the "
        "profile's `rotation.max_retry_after` says more; otherwise after a backoff.",
        lambda answer: answer.status == 429 or (answer.status == 503 and answer.has_retry_after),
    ),
    AnswerRow(
        "refusal",
        "any 4xx, and a 2xx without a complete token set, whose error is a registered OAuth code or one that the "
        "profile names, in a body of JSON or a form, under any content type",
        "the authorization server refused the request, for the reason that the code states",
        "By its code. *The grant* (`invalid_grant` and others): degraded; a second time at least ten minutes later "
        "`authorization_required`. *The client* (`invalid_client`): older secrets are tried; then the connection is "
        "`client_refused`, and the client's circuit decides about the others. *The client for this grant* "
        "(`unauthorized_client`): the grant's once another connection of the client was accepted since. *Malformed* "
        "(`invalid_request` and others): degraded, with backoff. *Not now* (`temporarily_unavailable`, `slow_down`): "
        "as not acted upon.",
        lambda answer: answer.code is not None and (answer.is_client_error or answer.is_success),
    ),
    AnswerRow(
        "vague",
        "400 or 401 that is empty, or JSON without such a code; a response that the profile's `success_when` calls no "
        "success, without such a code",
        "refused, for an unknown reason: the grant, the client, or a framework in front of the server",
        "Degraded, with backoff. It becomes `authorization_required` when another connection of the endpoint was "
        "answered properly in between and this one was refused again at least ten minutes later; alone at its "
        "endpoint, six hours after its token expired. Where all connections of the endpoint get it, the operator is "
        "asked and no owner.",
        lambda answer: (answer.status in (400, 401) and (answer.is_empty or answer.is_document)) or answer.is_denied,
    ),
    AnswerRow(
        "not_reached",
        "3xx, and every other 4xx, such as a page of HTML",
        "something in front of the authorization server spoke: a CDN, a load balancer, a proxy",
        "The refresh token is as good as before. Retried after a backoff; it is the operator's trouble. It counts "
        "towards the endpoint's circuit.",
        lambda answer: 300 <= answer.status < 400 or answer.is_client_error,
    ),
    AnswerRow(
        "token_set",
        "2xx that may hold tokens where the profile does not look, or in a coding that is not known",
        "granted, and not readable",
        "Kept, sealed, with all its headers: no further refresh is attempted, and the operator gets an alert. "
        "`evergrant reparse` reads it with a corrected profile.",
        lambda answer: answer.is_success and answer.may_hold_tokens,
    ),
    AnswerRow(
        "unclear",
        "other 5xx; 2xx that holds no token, such as a page of HTML or an empty body",
        "perhaps acted upon; but the response is whole, so that no other worker can still receive a token set",
        "While the old access token lives, the refresh token of a rotating provider is spared: its last attempt is "
        "30 seconds before the token expires. After that attempts go on. It counts towards the endpoint's circuit.",
        lambda answer: True,
    ),
    AnswerRow(
        "lost",
        "reset, timeout after the request was sent, truncated",
        "perhaps acted upon, and the response may still be on its way to another worker",
        "As [above](#the-one-way-to-lose-a-grant): the attempt is in doubt, and nothing is sent for a quarter of an "
        "hour, unless the provider has a reuse grace.",
        lambda answer: False,
    ),
)


def find_row(answer: Answer) -> AnswerRow:
    """Return the first row whose condition holds."""
    return next(row for row in ANSWER_TABLE if row.holds(answer))
