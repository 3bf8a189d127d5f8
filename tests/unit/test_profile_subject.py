"""Protects what a profile may say of whose account a grant is: what cannot be asked or checked is refused."""

from __future__ import annotations

import pytest

from evergrant.errors import InvalidProfile
from evergrant.profiles import built_in
from tests.unit.samples import acme

CAPTURE = '[response.capture]\nteam = "team.id"\n'
REVOKE = '[revoke]\nurl = "https://api.example.com/revoke"\n'


@pytest.mark.parametrize(
    "table",
    [
        '[subject]\nfrom = "id_token"\nissuers = ["https://login.example.com", "https://login.example.com/{tid}"]',
        '[subject]\nfrom = "userinfo"\npath = "user.id"\nurl = "https://api.example.com/me"',
        f'[subject]\nfrom = "capture"\npath = "team"\n{CAPTURE}',
    ],
)
def test_each_way_to_tell_an_account_is_understood(table: str) -> None:
    assert acme(table).subject


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ('[subject]\nfrom = "id_token"', "subject.issuers"),
        ('[subject]\nfrom = "userinfo"', "subject.url"),
        ('[subject]\nfrom = "userinfo"\nurl = "http://api.example.com/me"', "subject.url"),
        ('[subject]\nfrom = "userinfo"\nurl = "https://{tid}/me"', "subject.url"),
        ('[subject]\nfrom = "id_token"\nissuers = ["https://{sub}.example.com"]', "subject.issuers"),
        (f'[subject]\nfrom = "capture"\npath = "other"\n{CAPTURE}', "subject.path"),
        (f'[subject]\nfrom = "capture"\npath = "team"\nurl = "https://a.example/x"\n{CAPTURE}', "subject.url"),
        ('[subject]\nfrom = "guess"', "subject.from"),
    ],
)
def test_what_could_not_be_asked_or_checked_is_refused(table: str, problem: str) -> None:
    with pytest.raises(InvalidProfile, match=problem):
        acme(table)


def test_nothing_is_revoked_by_a_profile_that_does_not_say_what_ends() -> None:
    revoke = acme(REVOKE).revoke
    assert revoke
    assert revoke.scope == "grant"


def test_profiles_say_a_token_alone_ends_only_where_a_page_does() -> None:
    """Shipped profiles say that a token alone ends only where a page says so."""
    ending_tokens = {name for name, it in built_in.load_built_in().items() if it.revoke and it.revoke.scope == "token"}
    assert ending_tokens == {"salesforce"}
