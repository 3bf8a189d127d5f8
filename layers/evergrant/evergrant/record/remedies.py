"""The command that fixes a record's last error, for alerts and for the operator's command."""

from __future__ import annotations

_REMEDIES = {
    "unreadable_response": "evergrant reparse {connection}",
    "unknown_client": "evergrant client set {client}",
    "invalid_client_entry": "evergrant client set {client}",
    "not_sent": "evergrant client set {client}",
    "invalid_variable": "evergrant connect {connection}",
    "unknown_profile": "evergrant connect {connection}",
    "seal_broken": "evergrant connect {connection}",
}


def find_remedy(error: str | None, connection: str, client: str) -> str:
    """Return the command that fixes an error, or the one that shows the connection where waiting is all there is."""
    return _REMEDIES.get(error or "", "evergrant status {connection}").format(connection=connection, client=client)
