"""``evergrant provider add --issuer URL``: make a profile from what a server publishes about itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .output import Output
from .problems import CommandFailed, Problem

if TYPE_CHECKING:
    from evergrant.http_messages import HttpResponse
    from evergrant.profiles.metadata import Metadata
    from evergrant.profiles.model import Profile

#: For each of the well-known addresses.
_TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Discovery:
    """A server's metadata, the profile made of them, and its TOML."""

    metadata: Metadata
    profile: Profile
    text: str


def discover(issuer: str, name: str | None) -> Discovery:
    """Read a server's metadata and make a profile of them.

    Raises
    ------
    InvalidIssuer, MetadataError, InvalidName
    InvalidProfile
        A built-in provider has this name.
    NotSent
        The server cannot be reached.
    """
    from evergrant.adapters.clock import SystemClock
    from evergrant.errors import InvalidProfile
    from evergrant.names import check_provider
    from evergrant.profiles import built_in
    from evergrant.profiles.discovery import build_profile, suggest_name
    from evergrant.profiles.loader import load_profile
    from evergrant.profiles.metadata import check_issuer, merge_metadata
    from evergrant.profiles.toml_writer import write_toml

    check_issuer(issuer)
    name = check_provider(name or suggest_name(issuer))
    if name in built_in.load_built_in():
        raise InvalidProfile(
            f"{name} ships with Evergrant, and cannot be shadowed.",
            f"Look at it with `evergrant provider show {name}`, or give yours another name with --name.",
        )
    metadata = merge_metadata(issuer, _fetch_metadata(issuer))
    text = write_toml(build_profile(metadata, name, int(SystemClock().now())))
    # Parse the text again, so that the stored profile is checked like any file.
    return Discovery(metadata, load_profile(text, "the profile made of the metadata"), text)


def _fetch_metadata(issuer: str) -> Iterator[tuple[str, HttpResponse | None]]:
    from evergrant.adapters.http import GuardedHttp
    from evergrant.errors import LostResponse, NotSent
    from evergrant.http_messages import HttpRequest
    from evergrant.profiles.metadata import build_well_known_urls, check_issuer, is_loopback

    parts = check_issuer(issuer)
    http = GuardedHttp(allow_loopback=is_loopback(parts.hostname))
    for url in build_well_known_urls(issuer):
        request = HttpRequest("GET", url, {"accept": "application/json"}, b"")
        try:
            yield url, http.send(request, hosts=(parts.netloc.lower(),), timeout=_TIMEOUT_SECONDS)
        except LostResponse:
            yield url, None
        except NotSent as error:
            raise NotSent(f"{issuer}: {error.message}", "Check the host; only public addresses are allowed.") from error


def write_profile(file: Path, text: str) -> None:
    """Write the profile to a new file; an existing one may hold edits."""
    try:
        with file.open("x", encoding="utf-8") as opened:
            opened.write(text)
    except FileExistsError as error:
        raise CommandFailed(
            Problem("file_exists", f"{file} exists already.", "Give --write another name, or remove it.")
        ) from error
    except OSError as error:
        raise CommandFailed(Problem("file_not_written", f"{file} cannot be written: {error.strerror}.")) from error


def build_document(discovery: Discovery) -> dict[str, Any]:
    """Build the JSON of what was found."""
    import msgspec

    metadata = discovery.metadata
    return {
        "issuer": metadata.issuer,
        "sources": [
            {"url": source.url, "used": source.used, "detail": source.detail or None} for source in metadata.sources
        ],
        "disagreements": [
            {"field": item.field, "used": item.used, "passed_over": item.passed_over} for item in metadata.disagreements
        ],
        "unreadable": list(metadata.unreadable),
        "stated": {name: values if values is None else list(values) for name, values in metadata.lists.items()},
        "announces_iss": metadata.announces_iss,
        "notes": list(discovery.profile.notes),
        "profile": msgspec.to_builtins(discovery.profile),
        "toml": discovery.text,
    }


def write_sources(output: Output, metadata: Metadata) -> None:
    """Write which addresses were read, and where their documents contradict each other."""
    output.write("Read what the server publishes about itself:")
    for source in metadata.sources:
        output.write(f"  {source.url}")
        output.write("    used" if source.used else f"    not used: {source.detail}", "green" if source.used else "dim")
    for item in metadata.disagreements:
        output.write()
        output.write(f"The documents differ in {item.field}. The first one's is used:", "yellow")
        output.write(f"  used         {item.used}")
        output.write(f"  passed over  {item.passed_over}")
    for name in metadata.unreadable:
        output.write()
        output.write(f"{name} should be a list of words, and is ignored.", "yellow")
    output.write()


def list_facts(metadata: Metadata, profile: Profile) -> Iterator[tuple[str, str]]:
    """List what the metadata say beyond what every profile shows."""
    if profile.authorize is None:
        return
    challenges = metadata.lists["code_challenge_methods_supported"]
    stated = "not stated" if challenges is None else f"the server supports {', '.join(challenges) or 'none'}"
    yield "code challenge", f"{'S256' if profile.authorize.pkce else 'not sent'} ({stated})"
    announced = "announced" if metadata.announces_iss else "not announced, checked where it comes"
    yield "iss of responses", f"{profile.authorize.issuer} ({announced})" if profile.authorize.issuer else ""
    scopes = metadata.lists["scopes_supported"]
    yield "known scopes", "" if scopes is None else f"{len(scopes)} (--json lists them)"


def write_notes(output: Output, profile: Profile) -> None:
    """Write what the metadata do not say, one item each."""
    output.write()
    output.write("What the metadata do not say, and what is assumed:")
    for note in profile.notes:
        output.write(f"  - {note}")
    output.write()
