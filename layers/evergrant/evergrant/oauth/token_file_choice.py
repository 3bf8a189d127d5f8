"""Choose the token set of a file that may hold several. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import InvalidRequest
from ..profiles.expiry import look_up
from ..profiles.model import Profile
from .token_files import FoundSet, find_token_sets

#: How many sets an error lists.
_MAX_LISTED = 20


def choose_set(profile: Profile, text: str, entry: str | None) -> FoundSet:
    """Choose the token set of a file: that of the profile's own names, else the only one, else the one asked for.

    Parameters
    ----------
    entry
        The label or the number of one of several.

    Raises
    ------
    InvalidRequest
        There is none, or several. It lists their labels.
    """
    sets = find_token_sets(text)
    if not sets:
        raise InvalidRequest(
            "The token set's access_token is missing, and so is a refresh_token.", "Is it the right file?"
        )
    labels = [one.label for one in sets]
    if entry is not None:
        chosen = (
            sets[int(entry) - 1 :][:1]
            if entry.isascii() and entry.isdecimal() and len(entry) < 5 and int(entry)
            else []
        )
        chosen = [one for one in sets if one.label == entry] or chosen
        if len(chosen) == 1:
            return chosen[0]
    elif own := _find_by_profile(profile, sets[0].document):
        return own
    elif len(sets) == 1:
        return sets[0]
    listed = "; ".join(f"{number}: {label or 'without a name'}" for number, label in enumerate(labels[:_MAX_LISTED], 1))
    raise InvalidRequest(f"The file holds {len(sets)} token sets. Choose one with --entry.", f"They are {listed}.")


def _find_by_profile(profile: Profile, document: Any) -> FoundSet | None:
    """Find the set at the profile's own path, which is not at the top of the provider's response."""
    for path in profile.response.access_token:
        parent, dot, _ = path.rpartition(".")
        fields = look_up(document, parent) if dot else None
        if isinstance(fields, Mapping) and isinstance(look_up(document, path), str):
            return FoundSet("", f"a token response of {profile.title}", fields, document)
    return None
