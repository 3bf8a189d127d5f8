"""Reports on the state of a simulated provider, as JSON types and without secrets."""

from collections.abc import Mapping

from local.providers.state import State, fingerprint


def describe_grants(state: State, now: float) -> list[dict[str, object]]:
    """Describe all grants, with the fingerprints of their valid tokens, and when tokens were issued."""
    refresh = {
        token.grant_id: fingerprint(value)
        for value, token in state.refresh_tokens.items()
        if state.is_refresh_token_valid(token, now)
    }
    access: dict[str, list[str]] = {}
    issued: dict[str, list[float]] = {}
    for value, token in state.access_tokens.items():
        issued.setdefault(token.grant_id, []).append(token.issued_at)
        if state.is_access_token_valid(token, now):
            access.setdefault(token.grant_id, []).append(fingerprint(value))
    return [
        {
            "grant": grant.grant_id,
            "obtained_by": grant.obtained_by,
            "client_id": grant.client_id,
            "account": grant.account,
            "scope": grant.scope,
            "created_at": grant.created_at,
            "rotations": grant.rotations,
            "revoked_at": grant.revoked_at,
            "revoked_because": grant.revoked_because,
            "refresh_token": refresh.get(grant.grant_id),
            "access_tokens": access.get(grant.grant_id, []),
            "issued_at": issued.get(grant.grant_id, []),
            "accepted_calls": grant.accepted_calls,
            "oldest_accepted_token_age": grant.oldest_accepted_age,
        }
        for grant in state.grants.values()
    ]


def describe_counts(state: State) -> dict[str, object]:
    """Describe what was counted: grants, rotations, codes, token requests, and calls of the API."""
    counters = state.counters
    revoked = sum(1 for grant in state.grants.values() if grant.revoked_at is not None)
    return {
        "grants": {"total": len(state.grants), "live": len(state.grants) - revoked, "revoked": revoked},
        "rotations": counters["rotations"],
        "revocations": counters["revocations"],
        "refresh_reuse": counters["refresh_reuse"],
        "codes": {
            "issued": counters["codes_issued"],
            "used": sum(1 for code in state.codes.values() if code.grant_id is not None),
            "reused": counters["codes_reused"],
        },
        "token_requests": _describe_token_requests(counters),
        "api": _describe_api_calls(state),
    }


def _describe_token_requests(counters: Mapping[str, int]) -> dict[str, object]:
    outcomes: dict[str, dict[str, int]] = {}
    for name, count in counters.items():
        if name.startswith("token:"):
            _, phase, outcome = name.split(":")
            outcomes.setdefault(phase, {})[outcome] = count
    return {
        "total": sum(sum(by_outcome.values()) for by_outcome in outcomes.values()),
        "ok": sum(by_outcome.get("ok", 0) for by_outcome in outcomes.values()),
        "by_outcome": outcomes,
    }


def _describe_api_calls(state: State) -> dict[str, object]:
    by_status = {name[4:]: count for name, count in state.counters.items() if name.startswith("api:")}
    ok = by_status.pop("200", 0)
    return {
        "ok": ok,
        "refused": sum(by_status.values()),
        "refused_by_status": by_status,
        "distinct_access_tokens_accepted": len(state.accepted),
        "oldest_accepted_token_age": state.oldest_accepted_age,
    }
