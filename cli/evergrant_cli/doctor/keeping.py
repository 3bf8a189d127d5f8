"""Checks of what keeps the grants: the keys, the secrets and the tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .patient import Patient
from .verdicts import Finding, green, red, yellow

_KEYS = {"vault": "VaultKeyArn", "seal": "SealKeyArn"}
#: Of the secrets whose key is another one as they are listed, so many are described.
_MAX_DESCRIBED = 50
_TABLES = {"records": "RecordsTableName", "authorizations": "AuthorizationsTableName"}


def check_keys(patient: Patient) -> Finding:
    """Look whether both keys are enabled, are not about to be deleted, and rotate."""
    keys = patient.get_client("kms")
    for name, output in _KEYS.items():
        arn = patient.get_output(output)
        state = keys.describe_key(KeyId=arn)["KeyMetadata"]["KeyState"]
        if state == "PendingDeletion":
            cancel = patient.write_command(f"kms cancel-key-deletion --key-id {arn}")
            return red(f"the {name} key is to be deleted", f"{cancel} && {_enable(patient, arn)}")
        if state != "Enabled":
            return red(f"the {name} key is {state}", _enable(patient, arn))
    for name, output in _KEYS.items():
        arn = patient.get_output(output)
        if not keys.get_key_rotation_status(KeyId=arn)["KeyRotationEnabled"]:
            return yellow(
                f"the {name} key does not rotate", patient.write_command(f"kms enable-key-rotation --key-id {arn}")
            )
    return green("both keys are enabled and rotate")


def check_secrets(patient: Patient) -> Finding:
    """Look whether each of the stack's secrets is under the stack's vault key."""
    secrets = list_secrets(patient)
    key = patient.get_output("VaultKeyArn")
    suspected = sorted(name for name, secret in secrets.items() if not _is_key(patient, secret.get("KmsKeyId"), key))
    # The list may be five minutes old (API_ListSecrets). The description of a secret is not.
    cleared = [name for name in suspected[:_MAX_DESCRIBED] if _is_key(patient, _describe_key(patient, name), key)]
    other = [name for name in suspected if name not in cleared]
    if not other:
        return green(f"{len(secrets)} secrets, all under the vault key" if secrets else "there are no secrets yet")
    return red(
        f"{len(other)} of {len(secrets)} secrets are under another key: {', '.join(other[:5])}",
        f"For each: {patient.write_command(f'secretsmanager update-secret --secret-id {other[0]} --kms-key-id {key}')}",
    )


def list_secrets(patient: Patient) -> dict[str, Mapping[str, Any]]:
    """List the stack's secrets by name, without their values and without those that are marked for deletion."""
    prefix = f"{patient.get_output('SecretPrefix')}/"
    pages = patient.get_client("secretsmanager").get_paginator("list_secrets")
    found = pages.paginate(Filters=[{"Key": "name", "Values": [prefix]}])
    return {secret["Name"]: secret for page in found for secret in page["SecretList"]}


def check_tables(patient: Patient) -> Finding:
    """Look whether both tables can be deleted only on purpose, and restored."""
    tables = patient.get_client("dynamodb")
    faults, commands = [], []
    for name, output in _TABLES.items():
        table = patient.get_output(output)
        found = tables.describe_table(TableName=table)["Table"]
        if found["TableStatus"] not in ("ACTIVE", "UPDATING"):
            return red(f"the {name} table is {found['TableStatus']}", "Restore it: docs/lifecycle.md.")
        if not found.get("DeletionProtectionEnabled"):
            faults.append(f"the {name} table has no deletion protection")
            commands.append(f"dynamodb update-table --table-name {table} --deletion-protection-enabled")
        backups = tables.describe_continuous_backups(TableName=table)["ContinuousBackupsDescription"]
        if backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] != "ENABLED":
            faults.append(f"the {name} table has no point-in-time recovery")
            commands.append(
                f"dynamodb update-continuous-backups --table-name {table} "
                "--point-in-time-recovery-specification PointInTimeRecoveryEnabled=true"
            )
    if faults:
        return red("; ".join(faults), " && ".join(map(patient.write_command, commands)))
    return green("both tables have deletion protection and point-in-time recovery")


def _describe_key(patient: Patient, secret: str) -> str | None:
    found: str | None = patient.get_client("secretsmanager").describe_secret(SecretId=secret).get("KmsKeyId")
    return found


def _enable(patient: Patient, arn: str) -> str:
    return patient.write_command(f"kms enable-key --key-id {arn}")


def _is_key(patient: Patient, named: str | None, arn: str) -> bool:
    """Whether a secret's key is the one with this ARN. It is named as it was given: by ARN, by id or by alias."""
    if not named:
        return False  # the account's default key, aws/secretsmanager
    if "alias/" in named:
        return bool(patient.get_client("kms").describe_key(KeyId=named)["KeyMetadata"]["Arn"] == arn)
    return named.rpartition("/")[2] == arn.rpartition("/")[2]
