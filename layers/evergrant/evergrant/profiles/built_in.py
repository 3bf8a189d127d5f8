"""The profiles that ship with Evergrant, one file each under ``catalogue/``."""

from __future__ import annotations

from functools import cache
from importlib import resources

from .loader import load_profile
from .model import Profile, content_hash


@cache
def load_built_in() -> dict[str, Profile]:
    """Load every shipped profile, by its name."""
    folder = resources.files(__package__) / "catalogue"
    profiles = (
        load_profile(file.read_text("utf-8"), file.name) for file in folder.iterdir() if file.name.endswith(".toml")
    )
    return {profile.name: profile for profile in sorted(profiles, key=lambda profile: profile.name)}


@cache
def load_by_hash() -> dict[str, Profile]:
    """Load every shipped profile, by the content hash by which connections pin it."""
    return {content_hash(profile): profile for profile in load_built_in().values()}
