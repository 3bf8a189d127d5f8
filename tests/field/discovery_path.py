"""Put a server's published metadata through the real HTTP client, and build its profile."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import msgspec

from evergrant.adapters.http import GuardedHttp
from evergrant.errors import MetadataError
from evergrant.http_messages import HttpRequest, HttpResponse
from evergrant.profiles.discovery import build_profile
from evergrant.profiles.expiry import look_up
from evergrant.profiles.loader import load_profile
from evergrant.profiles.metadata import build_well_known_urls, merge_metadata
from evergrant.profiles.toml_writer import write_toml
from tests.field.case_format import Answer, DiscoveryCase
from tests.field.http_path import LoopbackProvider
from tests.field.placeholders import NOW
from tests.field.server import FieldServer

_NOT_FOUND = Answer(status="404 Not Found", headers=["Content-Type: text/html"], body="<html>Not Found</html>")


def discover(case: DiscoveryCase, server: FieldServer, http: GuardedHttp) -> dict[str, Any]:
    """Read the well-known addresses, and describe the values of the profile that the case names."""
    provider = LoopbackProvider(http, server.host)
    try:
        metadata = merge_metadata(case.issuer, _fetch(case, server, provider))
        profile = load_profile(write_toml(build_profile(metadata, "acme", NOW)))
    except MetadataError as error:
        return {"error": error.code, "profile": {}, "notes": []}
    values = msgspec.json.decode(msgspec.json.encode(profile))
    return {
        "error": None,
        "profile": {path: look_up(values, path) for path in case.expect.profile},
        "notes": [words for words in case.expect.notes if any(words in note for note in profile.notes)],
    }


def _fetch(
    case: DiscoveryCase, server: FieldServer, provider: LoopbackProvider
) -> Iterator[tuple[str, HttpResponse | None]]:
    for url in build_well_known_urls(case.issuer):
        server.play(case.documents.get(urlsplit(url).path, _NOT_FOUND))
        yield url, provider.send(HttpRequest("GET", url, {"accept": "application/json"}, b""), hosts=(), timeout=0)
