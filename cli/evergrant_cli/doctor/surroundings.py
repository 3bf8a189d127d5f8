"""Checks of what is around the stack: the clock, the account's quotas, and the registrations at the providers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Any

from botocore.exceptions import ClientError

from evergrant.errors import InvalidClient, UnknownClient

from ..redirect_uris import list_redirect_uris
from .keeping import list_secrets
from .patient import Patient
from .verdicts import Finding, green, red, unasked, unknown, yellow

#: A signature is good for five minutes (IAM guide, "Signature Version 4"); a few seconds are the way to AWS and back.
MAX_SKEW_SECONDS = 300
NOTICEABLE_SKEW_SECONDS = 30

#: Service, part of the quota's name, and what Evergrant needs of it. The code of a quota is not documented.
NEEDED_QUOTAS = (
    # Rotators share 40 publications a second.
    ("secretsmanager", "PutSecretValue", 50.0),
    ("sns", "Messages Published per Second", 10.0),
    ("lambda", "Concurrent executions", 10.0),
)


def check_clock(patient: Patient) -> Finding:
    """Compare this machine's clock with AWS's, which stands in the Date of each answer, of a refusal too."""
    asked = patient.now
    try:
        answer = patient.get_client("sts").get_caller_identity()
    except ClientError as error:
        answer = dict(error.response)
    date = _read_date(answer)
    if date is None:
        return unknown("AWS's answer has no date", "Repeat the command.")
    # The date is cut to whole seconds, and is of a moment between the request and its answer.
    skew = max(asked - date - 1, date - patient.now, 0.0)
    said = f"this machine's clock differs from AWS's by {skew:.0f} s" if skew else "this machine's clock is AWS's"
    fix = "Set this machine's clock by NTP."
    if skew >= MAX_SKEW_SECONDS:
        return red(said, fix)
    return yellow(said, fix) if skew >= NOTICEABLE_SKEW_SECONDS else green(said)


def check_quotas(patient: Patient) -> Finding:
    """Compare the quotas that the design leans on with what the account has."""
    quotas = patient.get_client("service-quotas")
    seen, missing = [], []
    for service, part, needed in NEEDED_QUOTAS:
        pages = quotas.get_paginator("list_service_quotas").paginate(ServiceCode=service)
        values = [(quota, quota["Value"]) for page in pages for quota in page["Quotas"] if part in quota["QuotaName"]]
        if not values:
            missing.append(f"{part} of {service}")
            continue
        quota, value = min(values, key=lambda pair: pair[1])
        if value < needed:
            raise_it = (
                f"service-quotas request-service-quota-increase --service-code {service} "
                f"--quota-code {quota['QuotaCode']} --desired-value {needed:.0f}"
            )
            return red(f"{quota['QuotaName']} is {value:.0f}, below {needed:.0f}", patient.write_command(raise_it))
        seen.append(f"{part} {value:.0f}")
    if missing:
        return unknown(
            f"Service Quotas does not list {', '.join(missing)}", patient.write_command("service-quotas list-services")
        )
    return green(", ".join(seen))


def check_redirect_uris(patient: Patient) -> Finding:
    """Show the redirect URI that each client's registration must hold, and ask whether it does."""
    wanted = list(_list_redirect_uris(patient))
    if not wanted:
        return green("there are no clients yet with which a person authorizes")
    listed = "; ".join(f"{uri} at {provider} (client {name})" for name, provider, uri in wanted)
    for name, provider, uri in wanted:
        registered = patient.ask(f"Does the registration of client {name} at {provider} list {uri}?")
        if registered is None:
            return unasked(
                f"to be registered, character by character: {listed}",
                "Compare it with each client's registration.",
            )
        if not registered:
            return red(f"client {name} is not registered with {uri} at {provider}", f"evergrant client show {name}")
    return green(f"registered: {listed}")


def _list_redirect_uris(patient: Patient) -> Iterator[tuple[str, str, str]]:
    """List client, provider and redirect URI. A client whose entry cannot be read has a check of its own."""
    deployment = patient.deployment
    records = list(deployment.records.all())
    for name in _list_clients(patient):
        with suppress(InvalidClient, UnknownClient):
            uris = list_redirect_uris(deployment, deployment.vault.client(name), records)
            yield from ((name, provider, uri) for provider, uri in uris.items())


def _list_clients(patient: Patient) -> list[str]:
    prefix = f"{patient.get_output('SecretPrefix')}/clients/"
    return sorted(name.removeprefix(prefix) for name in list_secrets(patient) if name.startswith(prefix))


def _read_date(answer: dict[str, Any]) -> float | None:
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    try:
        return parsedate_to_datetime(headers["date"]).timestamp()
    except (KeyError, ValueError):
        return None
