"""What a token set was issued for. It is sealed with the set, so that the set is sent nowhere else. Pure.

A refresh token belongs to the client that it was issued to (RFC 6749 section 10.4), and to the server that issued it.
Otherwise an operator who can write a record could point it at a client and a server of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Protocol

from ..errors import InvalidVariable, RecordTampered
from ..profiles.model import Profile
from ..profiles.request_specs import REQUESTS, TokenRequest
from ..profiles.templates import fill_url
from .client import Client

#: Sets that an earlier release sealed do not say what they were issued for. Each refresh seals a set that does, so none
#: of them is needed after this. Their age is sealed too.
MAX_UNBOUND_SECONDS = 100 * 86_400
#: A client authentication never becomes one of a lower rank.
_RANKS = {"none": 0, "post": 1, "basic": 1, "basic_raw": 1, "private_key_jwt": 2}


@dataclass(frozen=True, slots=True)
class Issuance:
    """What a token set was issued for.

    ``client`` names the client's entry, and ``client_id`` is the digest of its id, None where it has none.
    ``addresses`` are the URLs after variables that a token or a credential is sent to, and ``authentication`` how the
    client authenticates there, both by the profile's table.
    """

    client: str
    client_id: str | None
    profile_hash: str
    addresses: Mapping[str, str] = field(default_factory=dict)
    authentication: Mapping[str, str] = field(default_factory=dict)


class Pinned(Protocol):
    """What a connection is pinned to: its record, an authorization of it, or the request to revoke its grant."""

    @property
    def client(self) -> str: ...
    @property
    def profile_hash(self) -> str: ...
    @property
    def variables(self) -> Mapping[str, str]: ...


def describe_issuance(profile: Profile, pinned: Pinned, client: Client | None) -> Issuance:
    """Describe what a token set of a connection is issued for.

    Parameters
    ----------
    profile
        The profile that it is pinned to.
    client
        The client's entry; None for a pasted key, which has none.
    """
    requests: dict[str, TokenRequest] = {name: spec for name in REQUESTS if (spec := getattr(profile, name))}
    templates = {name: spec.url for name, spec in requests.items()}
    if profile.subject and profile.subject.url:
        templates["subject"] = profile.subject.url
    values = {**{name: name for name in profile.callback.patterns}, **pinned.variables}
    return Issuance(
        pinned.client,
        _digest(client.client_id) if client and client.client_id else None,
        pinned.profile_hash,
        {name: _fill(template, values) for name, template in templates.items()},
        {name: spec.client_auth for name, spec in requests.items()},
    )


def require_issued_for(
    connection: str, issued_for: Issuance | None, present: Issuance, issued_at: int, now: int
) -> None:
    """Refuse to send a token set that was issued for something else than its record says.

    A corrected profile may send it to the same addresses, with a client authentication that is not weaker. Another
    entry of the same client may send it too.

    Raises
    ------
    RecordTampered
        Naming the field of the record that differs.
    """
    if issued_for is None:
        if issued_at < now - MAX_UNBOUND_SECONDS:
            raise RecordTampered(connection, "sealed", "it does not say what it was issued for")
        return
    if issued_for.client_id != present.client_id or (
        issued_for.client_id is None and issued_for.client != present.client
    ):
        named = "client" if issued_for.client != present.client else "client_id"
        raise RecordTampered(connection, named, "the tokens were issued to another client")
    same_profile = issued_for.profile_hash == present.profile_hash
    for name in sorted(issued_for.addresses.keys() | present.addresses.keys()):
        if issued_for.addresses.get(name) != present.addresses.get(name):
            named = "variables" if same_profile else "profile_hash"
            raise RecordTampered(connection, named, f"the address of [{name}] is another one")
    for name, method in present.authentication.items():
        if _RANKS[method] < _RANKS[issued_for.authentication[name]]:
            raise RecordTampered(connection, "profile_hash", f"the client authentication of [{name}] is weaker")


def encode_issuance(issuance: Issuance) -> dict[str, Any]:
    """Encode it for the plaintext of a sealed set."""
    return {
        "client": issuance.client,
        "client_id": issuance.client_id,
        "profile_hash": issuance.profile_hash,
        "addresses": dict(issuance.addresses),
        "authentication": dict(issuance.authentication),
    }


def decode_issuance(plain: Mapping[str, Any] | None) -> Issuance | None:
    """Invert :func:`encode_issuance`; None where an earlier release sealed the set."""
    return Issuance(**plain) if plain is not None else None


def _digest(client_id: str) -> str:
    return sha256(client_id.encode()).hexdigest()


def _fill(template: str, variables: Mapping[str, str]) -> str:
    """Fill the template of a URL; empty where a variable does not fit, as nothing can be sent there either."""
    try:
        return fill_url(template, variables, loopback=False)
    except InvalidVariable:
        return ""
