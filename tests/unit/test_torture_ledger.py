"""Protects the torture's own arithmetic: which responses were lost, and which reuse of a refresh token is a failure."""

from __future__ import annotations

import pytest

from local.torture.ledger import Commit, Ledger, Presentation, measure_windows


def log(*entries: tuple[float, str | None, str | None], lifetime: float = 3600) -> list[Presentation]:
    return [Presentation(*entry, lifetime) for entry in entries]


def test_a_chain_of_tokens_is_named_after_the_connection_that_stored_it() -> None:
    ledger = Ledger(log((0, None, "a1"), (0, None, "b1"), (9, "a1", "a2"), (9, "b1", "b2")), 0, {"a2": "keap/a"})

    assert ledger.find_connection("a1") == ledger.find_connection("a2") == "keap/a"
    assert ledger.find_connection("b1") is None
    assert [commit.connection for commit in ledger.list_commits()] == ["keap/a", "?"]


def test_a_response_is_lost_if_its_token_was_neither_presented_nor_stored() -> None:
    entries = log((0, None, "t1"), (1, "t1", "t2"), (2, "t2", "t3"), (3, "t3", "t4"))

    assert [commit.issued for commit in Ledger(entries, 0, {"t1": "keap/a"}).find_lost_responses()] == ["t4"]
    assert Ledger(entries, 0, {"t4": "keap/a"}).find_lost_responses() == []


def test_a_later_response_for_the_same_token_replaces_a_lost_one() -> None:
    entries = log((0, None, "t1"), (1, "t1", "t2"), (2, "t1", "t3"), (9, "t3", "t4"))
    ledger = Ledger(entries, 10, {"t1": "keap/a"})

    assert [commit.issued for commit in ledger.find_lost_responses()] == ["t2", "t4"]
    assert [commit.issued for commit in ledger.find_unrecovered()] == ["t4"]


def test_one_last_attempt_after_a_lost_response_is_no_mistake() -> None:
    ledger = Ledger(log((0, None, "t1"), (1, "t1", "t2"), (20, "t1", None)), 0, {"t1": "keap/a"})

    assert ledger.find_reuses() == []


def test_a_second_attempt_outside_the_grace_is_a_mistake() -> None:
    ledger = Ledger(log((0, None, "t1"), (1, "t1", "t2"), (20, "t1", None), (30, "t1", None)), 0, {"t1": "keap/a"})

    assert len(ledger.find_reuses()) == 1


TWICE = log((0, None, "t1"), (1, "t1", "t2"), (20, "t1", None), (30, "t1", None))


def test_a_probe_after_a_lost_replay_is_no_mistake() -> None:
    assert Ledger(TWICE, 0, {"t1": "keap/a"}).find_reuses({"t1": [29.5]}) == []


@pytest.mark.parametrize("probes", [{"t1": [30.5]}, {"t1": [19.5]}, {"t2": [29.5]}])
def test_a_second_attempt_before_its_probe_is_due_is_a_mistake(probes: dict[str, list[float]]) -> None:
    assert len(Ledger(TWICE, 0, {"t1": "keap/a"}).find_reuses(probes)) == 1


@pytest.mark.parametrize(("lifetime", "mistakes"), [(30, 0), (31, 1)])
def test_attempts_go_on_once_the_access_token_has_expired(lifetime: int, mistakes: int) -> None:
    entries = log((0, None, "t1"), (1, "t1", "t2"), (20, "t1", None), (30, "t1", None), lifetime=lifetime)

    assert len(Ledger(entries, 0, {"t1": "keap/a"}).find_reuses()) == mistakes


def test_each_probe_made_due_allows_one_attempt() -> None:
    ledger = Ledger([*TWICE, Presentation(40, "t1", None)], 0, {"t1": "keap/a"})

    assert ledger.find_reuses({"t1": [28.5, 29.5, 39.5]}) == []
    assert len(ledger.find_reuses({"t1": [28.5, 29.5]})) == 1


def test_presenting_a_token_whose_response_was_saved_is_a_mistake() -> None:
    ledger = Ledger(log((0, None, "t1"), (1, "t1", "t2"), (20, "t1", None)), 0, {"t2": "keap/a"})

    assert ["response had been saved" in found for found in ledger.find_reuses()] == [True]


def test_within_the_grace_a_token_may_be_presented_as_often_as_it_takes() -> None:
    entries = log((0, None, "t1"), (1, "t1", "t2"), (2, "t1", "t3"), (9, "t1", "t4"), (15, "t4", "t5"))

    assert Ledger(entries, 10, {"t5": "keap/a"}).find_reuses() == []


def test_a_window_lasts_from_the_commit_to_the_save_that_followed_it() -> None:
    commits = [Commit("keap/a", 1.0, "t1", "t2"), Commit("keap/a", 5.0, "t2", "t3"), Commit("keap/b", 5.0, "u1", "u2")]

    found = measure_windows(commits, {"keap/a": [(1.25, 1.5), (6.0, 7.0)]})

    assert [(commit.issued, length) for commit, length in found] == [("t2", 0.5), ("t3", 2.0)]
