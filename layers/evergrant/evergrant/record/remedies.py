"""Which command mends what the record gives as the last error; said by notices and by the operator's command alike."""

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
    """The command; where there is nothing to do but wait, the one that says how the connection is."""
    return _REMEDIES.get(error or "", "evergrant status {connection}").format(connection=connection, client=client)
