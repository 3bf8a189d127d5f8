"""Connections to store: an ordinary one, and one with a value in every field."""

from __future__ import annotations

from typing import Any

from evergrant.record.connection import Connection
from evergrant.record.sealed import Sealed
from evergrant.record.status import Status

NAME = "keap/main"
NOW = 1_800_000_000
SEALED = Sealed(b"\x00key\xff", b"nonce-of-12b", b"\x80text" * 50)


def connection(name: str = NAME, **fields: Any) -> Connection:
    given = {
        "status": Status.ACTIVE,
        "grant": "authorization_code",
        "client": "keap",
        "profile_hash": "a" * 64,
        "generation": 7,
        **fields,
    }
    return Connection(name, **given)


def full() -> Connection:
    """No field is at its default, so one that gets lost on the way shows."""
    return Connection(
        name="keap/Ops.team_1@example",
        status=Status.DEGRADED,
        grant="client_credentials",
        client="keap-eu",
        profile_hash="b" * 64,
        variables={"host": "api.example.com", "empty": "", "odd": "ü ☃ #:."},
        endpoint="https://api.example.com/token",
        scope="full read",
        redirect_uri="https://grants.example.com/callback",
        direct_read=False,
        created_at=NOW - 86_400,
        authorization_id="7f1b",
        generation=12,
        published_generation=11,
        sealed=SEALED,
        unreadable_response=Sealed(b"k", b"n", b""),
        to_revoke=Sealed(b"k", b"n", b"old"),
        issued_at=NOW - 60,
        expires_at=NOW + 86_340,
        refresh_expires_at=NOW + 3_888_000,
        expiry_rule="expires_in:seconds",
        expiry_doubt="not_credible",
        refresh_at=NOW + 75_000,
        due_shard="5",
        due_at=NOW + 60,
        lease_owner="worker-1",
        lease_until=NOW + 40,
        attempt_id="attempt-1",
        attempt_at=NOW - 1,
        attempt_replays=1,
        in_doubt_since=NOW - 1,
        unclear_at=NOW - 4,
        token_rejected_at=NOW - 5,
        failures=3,
        failing_since=NOW - 6,
        alone_since=NOW - 7,
        last_error="invalid_grant",
        last_error_at=NOW - 2,
        last_status=400,
        last_detail="application/json",
        rejected_at=NOW - 3,
        rejected_code="invalid_grant",
        subject="sha256:0f",
        missing_scope="contacts.write",
        granted_scope="contacts.read",
        lost_scope="contacts.delete",
        authorization_failure={"code": "provider_refused", "at": NOW, "step": "exchange", "status": 401},
        alerted_at=NOW - 2,
        early_refreshes=2,
        warn_at=NOW + 3,
        outbox={
            "b6a1": {"type": "Token Rotated", "at": NOW, "detail": {"connection": "keap/main", "generation": 12}},
            "c.#:7": {"type": "Connection Degraded", "at": NOW, "detail": {"reason": None, "list": [1, "x"]}},
        },
    )
