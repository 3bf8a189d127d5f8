"""Protects the errors' contract: the tree as it is drawn, one stable code each, and what to do about it."""

from __future__ import annotations

import re
from types import ModuleType

import pytest

from evergrant import errors, link_errors
from evergrant.errors import (
    AuthorizationRequired,
    ClientRefused,
    Conflict,
    ConnectionProblem,
    Disconnected,
    EvergrantError,
    InvalidName,
    InvalidRequest,
    NotSent,
    Paused,
    ProviderUnreachable,
    TemporarilyUnavailable,
    UnknownClient,
    UnknownConnection,
)
from evergrant.link_errors import LinkError

EVERY = {
    name: kind
    for module in (errors, link_errors)
    for name, kind in vars(module).items()
    if isinstance(kind, type) and issubclass(kind, EvergrantError)
}


def read_drawn_tree(module: ModuleType, above: str) -> dict[str, tuple[str, str | None]]:
    """Name to parent and code, as a module's docstring draws them; ``above`` is the parent of the root."""
    tree: dict[str, tuple[str, str | None]] = {}
    parents: list[str] = []
    for line in (module.__doc__ or "").splitlines():
        found = re.match(r"^    ([│├└─ ]*)([A-Z]\w+)(?: +([a-z]+_[a-z_]+|conflict)\b)?", line)
        if found:
            depth = len(found[1]) // 4
            parents[depth:] = [found[2]]
            tree[found[2]] = (parents[depth - 1] if depth else above, found[3])
    return tree


def test_the_tree_is_drawn_as_it_is() -> None:
    tree = read_drawn_tree(errors, "Exception") | read_drawn_tree(link_errors, "EvergrantError")
    assert tree.keys() == EVERY.keys()
    for name, (parent, code) in tree.items():
        assert [base.__name__ for base in EVERY[name].__bases__] == [parent], name
        if code is not None:
            assert EVERY[name].code == code, name


def test_every_error_that_is_raised_has_a_code_of_its_own() -> None:
    leaves = [kind for kind in EVERY.values() if not kind.__subclasses__()]
    codes = [kind.code for kind in leaves]
    assert len(set(codes)) == len(codes)
    assert EvergrantError.code not in codes


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UnknownConnection("keap/main"), "unknown_connection"),
        (AuthorizationRequired("keap/main"), "authorization_required"),
        (ClientRefused("keap/main", "keap"), "client_refused"),
        (Paused("keap/main"), "paused"),
        (Disconnected("keap/main"), "disconnected"),
    ],
)
def test_a_problem_of_a_connection_names_it_and_the_command_that_helps(error: ConnectionProblem, code: str) -> None:
    described = error.as_dict()
    assert described["code"] == code
    assert "keap/main" in described["message"]
    assert re.search(r"`evergrant [a-z]+ [^`]*keap", described["hint"])
    assert "{" not in described["hint"]
    assert str(error) == described["message"]


def test_a_refused_client_requires_no_new_authorization() -> None:
    described = ClientRefused("keap/main", "keap-eu").as_dict()
    assert "`evergrant client set keap-eu`" in described["hint"]
    assert "No account's owner needs to authorize" in described["hint"]


def test_an_unavailable_token_says_when_to_try_again() -> None:
    described = TemporarilyUnavailable("No token now.", 7).as_dict()
    assert described == {
        "code": "temporarily_unavailable",
        "message": "No token now.",
        "hint": "Try again in 7 seconds.",
        "retry_after": 7,
    }


def test_a_hint_may_be_given_left_to_the_class_or_absent() -> None:
    assert UnknownClient("keap").as_dict()["hint"] == "Store its credentials with `evergrant client set keap`."
    assert "hint" not in InvalidRequest("What is this?").as_dict()
    assert InvalidName("Bad.", "Better so.").as_dict()["hint"] == "Better so."
    assert errors.UnknownProfile("None such.").hint.startswith("List the providers")


def test_catching_a_kind_of_error_catches_its_subclasses() -> None:
    assert isinstance(InvalidName("x"), InvalidRequest)
    assert isinstance(NotSent("x"), ProviderUnreachable)
    assert not isinstance(NotSent("x"), errors.LostResponse)
    assert not isinstance(UnknownConnection("a/b"), InvalidRequest)


def test_an_unreachable_provider_has_a_reason_of_its_kind() -> None:
    assert (NotSent("x").reason, NotSent("x", reason="dns").reason) == ("connect", "dns")
    assert (errors.LostResponse("x").reason, errors.LostResponse("x", reason="timeout").reason) == ("reset", "timeout")


def test_every_refusal_of_a_link_has_a_status_that_says_refusal() -> None:
    statuses = {kind.code: kind.status for kind in EVERY.values() if issubclass(kind, LinkError)}
    assert all(400 <= status < 600 for status in statuses.values())
    assert (statuses["link_invalid"], statuses["link_expired"], statuses["wrong_browser"]) == (404, 410, 403)


def test_a_conflict_brings_the_record_as_it_is_and_does_not_print_it() -> None:
    conflict = Conflict("keap/main", {"status": "active"})
    assert conflict.current == {"status": "active"}
    assert str(conflict) == "keap/main changed meanwhile."
    assert Conflict("keap/main").current is None
