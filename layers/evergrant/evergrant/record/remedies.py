"""What to do about a record's last error, for alerts and for the operator's command. Pure."""

from __future__ import annotations

from ..oauth.answer_classes import CLASS_BY_KIND
from ..oauth.error_codes import REGISTERED_ERRORS, RefusalKind
from .connection import FAILS_ALONE, STALE

_SET_CLIENT, _CONNECT = "evergrant client set {client}", "evergrant connect {connection}"
_SHOW = "evergrant status {connection}"
_REMEDIES = {
    "unreadable_response": "evergrant reparse {connection}",
    "unknown_client": _SET_CLIENT,
    "invalid_client_entry": _SET_CLIENT,
    "not_sent": _SET_CLIENT,
    "invalid_variable": _CONNECT,
    "unknown_profile": _CONNECT,
    "seal_broken": _CONNECT,
    "record_tampered": _CONNECT,
    FAILS_ALONE: _CONNECT,
    STALE: _CONNECT,
}
#: Of a request that was not sent, by its reason: what lies with the provider's host or its network passes.
_NOT_SENT_REMEDIES = {"dns": _SHOW, "connect": _SHOW, "tls": _SHOW, "timeout": _SHOW, "address": _CONNECT}


def find_kind(error: str | None) -> RefusalKind | None:
    """Find what an error means that is a registered code, or a kind itself; None for another one.

    ``client_unauthorized`` means the client, or one grant: RFC 6749 section 5.2 says the first, many providers mean the
    second. ``malformed`` finds fault with the request. Where that worked before, some providers mean the grant.
    """
    registered = REGISTERED_ERRORS.get((error or "").lower())
    return registered or next((kind for kind in CLASS_BY_KIND if kind == error), None)


def find_remedy(
    error: str | None, connection: str, client: str, *, detail: str | None = None, has_expired: bool = False
) -> str:
    """Return the command that fixes an error, or the one that shows the connection where waiting is all there is.

    Parameters
    ----------
    detail
        Why a request was not sent.
    has_expired
        Whether the access token has expired: then one rejection of the grant is reason enough to connect again.
    """
    command = _REMEDIES.get(error or "", _SHOW)
    if error == "not_sent" and detail:
        command = _NOT_SENT_REMEDIES.get(detail, command)
    if find_kind(error) == "grant_rejected" and has_expired:
        command = _CONNECT
    return command.format(connection=connection, client=client)


def explain_both_readings(connection: str, client: str) -> str:
    """Explain what ``unauthorized_client`` may mean where no other connection shows which of the two it is."""
    return (
        "Either the client's registration lacks this kind of grant: correct it at the provider, or store another "
        f"client by `evergrant client set {client}`. Or the grant is dead, and this is how the provider says so: "
        f"`evergrant connect {connection}`."
    )


def explain_unauthorized_client(client: str) -> str:
    """Explain it where the connection is nothing but its client: no owner granted anything."""
    return (
        "The client's registration lacks this kind of grant: correct it at the provider, or store another client by "
        f"`evergrant client set {client}`."
    )


def explain_final_refusal(error: str | None) -> str:
    """Explain why a refusal that names no grant counts as one of the grant; empty where it names it."""
    match find_kind(error):
        case "malformed":
            return "the same request worked before, and other connections of the client are accepted"
        case "client_unauthorized":
            return "other connections of the client are accepted, so it is this grant that is refused"
        case "rejected_unknown":
            return "its endpoint answers other connections properly, or no other one uses it"
    return ""
