"""Read clients from Secrets Manager, and publish the tokens that consumers read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from botocore.exceptions import ClientError

from ...errors import InvalidClient, UnknownClient
from ...oauth.client import Client
from ...ports import PortUnavailable
from ...profiles.templates import is_host
from ...secret import Secret
from ...secret_names import client_secret_name, token_secret_name
from ..rate_limiter import RateLimiter
from .sdk import client, read_error_code, unavailable

_CURRENT = "AWSCURRENT"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class SecretsVault:
    """:class:`evergrant.ports.Vault` over Secrets Manager.

    ``prefix`` begins every secret's name; ``key_arn`` is the vault key for secrets that are created; ``pace`` keeps
    publications within the Region's quota.
    """

    prefix: str
    key_arn: str | None = None
    pace: RateLimiter | None = None

    def client(self, name: str) -> Client:
        with unavailable("reading the client"):
            try:
                answer = client("secretsmanager").get_secret_value(SecretId=client_secret_name(self.prefix, name))
            except ClientError as error:
                # Without secretsmanager:ListSecrets, AWS answers AccessDenied only for names outside the policy. A
                # missing secret inside it is ResourceNotFound; one that is marked for deletion is InvalidRequest.
                if read_error_code(error) in ("ResourceNotFoundException", "InvalidRequestException"):
                    raise UnknownClient(name) from error
                raise
        return replace(parse_client(name, answer.get("SecretString", "")), version=answer["VersionId"])

    def publish(
        self,
        connection: str,
        document: Mapping[str, Any],
        request_token: str,
        *,
        anew: bool = False,
        may_restore: Callable[[], bool] = lambda: True,
    ) -> None:
        """Put the document as the secret's current version; create or restore the secret if need be.

        The same ``request_token`` (64 characters) with the same document is a no-op (API_PutSecretValue,
        ClientRequestToken), so a repeated publication adds no version. Nor does it make the version current again
        after another Put: UpdateSecretVersionStage does that, unless the other version is the newer one.
        """
        name = token_secret_name(self.prefix, connection)
        # Canonical JSON: the same request token with other bytes is an error.
        text = json.dumps(document, separators=(",", ":"), sort_keys=True)
        value = {"SecretString": text, "ClientRequestToken": request_token}
        if_new = {
            "Description": f"Access token of {connection}, kept fresh by Evergrant.",
            "Tags": [{"Key": "evergrant:connection", "Value": connection}],
        }
        if self.pace and not self.pace.wait():
            raise PortUnavailable("publishing the token: too many at once")
        with unavailable("publishing the token"):
            answer = self._put(name, value, if_new, may_restore)
            if anew or _CURRENT not in answer.get("VersionStages", [_CURRENT]):
                self._move_current(name, request_token)

    def find_current(self, connection: str) -> str | None:
        with unavailable("looking at the published token"):
            return _find_current_version(token_secret_name(self.prefix, connection))

    def _move_current(self, secret: str, request_token: str) -> None:
        """Make this version the current one, unless the current one is of a newer generation."""
        current = _find_current_version(secret)
        # A version that was stored by hand has an id of another form (a UUID), and no generation.
        by_hand = current is not None and len(current) != len(request_token)
        if current is not None and (by_hand or current[:16] < request_token[:16]):
            client("secretsmanager").update_secret_version_stage(
                SecretId=secret, VersionStage=_CURRENT, MoveToVersionId=request_token, RemoveFromVersionId=current
            )

    def withdraw(self, connection: str) -> bool:
        """Mark the connection's secret for deletion, with Secrets Manager's recovery window of 30 days.

        Publishing restores it within that time. Returns whether there is a secret.
        """
        with unavailable("deleting the token"):
            try:
                client("secretsmanager").delete_secret(
                    SecretId=token_secret_name(self.prefix, connection), RecoveryWindowInDays=30
                )
            except ClientError as error:
                if read_error_code(error) == "ResourceNotFoundException":
                    return False
                if read_error_code(error) != "InvalidRequestException":  # it is marked already
                    raise
        return True

    def store_client(self, name: str, entry: Mapping[str, Any]) -> None:
        """Create or replace a client's entry. It is checked first."""
        text = json.dumps(entry, separators=(",", ":"), sort_keys=True)
        parse_client(name, text)
        secret = client_secret_name(self.prefix, name)
        self._require_key(name, secret)
        with unavailable("storing the client"):
            self._put(secret, {"SecretString": text}, {"Description": f"OAuth client {name}, used by Evergrant."})

    def _require_key(self, name: str, secret: str) -> None:
        """Refuse a secret under the key of another stack: PutSecretValue keeps its key, and rotator may not use that.

        A key that is named by an alias may be the right one, and the account's default key is open to every role. An
        operator who may not look at the secret stores it all the same.
        """
        if not self.key_arn:
            return
        try:
            found = client("secretsmanager").describe_secret(SecretId=secret)
        except ClientError:
            return  # there is none yet, or the Put that follows fails with the reason
        key = found.get("KmsKeyId") or ""
        if key and "alias/" not in key and key.rpartition("/")[2] != self.key_arn.rpartition("/")[2]:
            raise InvalidClient(
                f"The secret of client {name} is encrypted under {key}, which is not this stack's key.",
                "Rotator could not read it. Change its key as an administrator who may use both: `aws secretsmanager "
                f"update-secret --secret-id {secret} --kms-key-id {self.key_arn}`. Then set the client again.",
            )

    def _put(
        self,
        secret: str,
        value: Mapping[str, str],
        if_new: Mapping[str, Any],
        may_restore: Callable[[], bool] = lambda: True,
    ) -> dict[str, Any]:
        """Put a value. Creates a missing secret, and restores one that is marked for deletion."""
        secrets = client("secretsmanager")
        try:
            return dict(secrets.put_secret_value(SecretId=secret, **value))
        except ClientError as error:
            if read_error_code(error) == "InvalidRequestException":  # marked for deletion
                if not may_restore():
                    raise PortUnavailable("publishing the token: its secret is marked for deletion") from error
                secrets.restore_secret(SecretId=secret)
                return dict(secrets.put_secret_value(SecretId=secret, **value))
            if read_error_code(error) == "ResourceNotFoundException":
                key = {"KmsKeyId": self.key_arn} if self.key_arn else {}
                return dict(secrets.create_secret(Name=secret, **value, **if_new, **key))
            raise


def _find_current_version(secret: str) -> str | None:
    """Return the id of the version that consumers get. None: there is none, or the secret is marked for deletion."""
    try:
        answer = client("secretsmanager").describe_secret(SecretId=secret)
    except ClientError as error:
        if read_error_code(error) == "ResourceNotFoundException":
            return None
        raise
    stages = {} if answer.get("DeletedDate") else answer.get("VersionIdsToStages", {})
    return next((version for version, labels in stages.items() if _CURRENT in labels), None)


def parse_client(name: str, text: str) -> Client:
    """Parse a client's entry.

    ``{"client_id", "client_secrets": [newest first], "hosts": [host or host:port]}``, and instead of or beside id and
    secrets ``"credentials": {name: value}`` for a log-in, or ``"private_key"`` (PEM) with its ``"key_id"``.

    Raises
    ------
    InvalidClient
        It names the field at fault, never its value.
    """
    entry: Any = None
    # Not chained, and so raised below: a JSONDecodeError carries the whole text, secrets and all, as its ``doc``.
    with suppress(ValueError, RecursionError):
        entry = json.loads(text)
    if not isinstance(entry, dict):
        raise InvalidClient(f"The entry of client {name} is no JSON object.", _ENTRY_HINT)
    unknown = sorted(entry.keys() - _FIELDS)
    if unknown:
        raise InvalidClient(f"The entry of client {name} has an unknown field {unknown[0]!r}.", _ENTRY_HINT)
    for field in sorted(_TEXT_FIELDS & entry.keys()):
        if not isinstance(entry[field], str) or not entry[field]:
            raise InvalidClient(f"{field} of client {name} must be a text.", _ENTRY_HINT)
    credentials = entry.get("credentials", {})
    if not isinstance(credentials, dict) or not _are_texts(list(credentials.values())):
        raise InvalidClient(f"credentials of client {name} must be texts by name.", _ENTRY_HINT)
    if "client_id" not in entry and not credentials:
        raise InvalidClient(f"The entry of client {name} needs client_id, a text, or credentials.", _ENTRY_HINT)
    secrets, hosts = entry.get("client_secrets", []), entry.get("hosts")
    if not _are_texts(secrets):
        raise InvalidClient(f"client_secrets of client {name} must be a list of texts, newest first.", _ENTRY_HINT)
    _require_sendable(name, entry, secrets, credentials)
    if not _are_texts(hosts) or not hosts or not all(map(is_host, hosts)):
        raise InvalidClient(
            f"hosts of client {name} must list the hosts it may be sent to, without https://.", _ENTRY_HINT
        )
    return Client(
        name,
        entry.get("client_id"),
        tuple(Secret(secret) for secret in secrets),
        tuple(host.lower() for host in hosts),
        {key: Secret(value) for key, value in credentials.items()},
        Secret(entry["private_key"]) if "private_key" in entry else None,
        entry.get("key_id"),
    )


def _require_sendable(
    name: str, entry: Mapping[str, Any], secrets: Sequence[str], credentials: Mapping[str, str]
) -> None:
    """Refuse a value that no request can carry: most often, a line break came along when it was stored.

    Raises
    ------
    InvalidClient
        It names the field, and not its value.
    """
    values = {"client_id": entry.get("client_id", ""), "key_id": entry.get("key_id", "")}
    values |= {f"client_secrets[{index}]": secret for index, secret in enumerate(secrets)}
    values |= {f"credentials.{key}": value for key, value in credentials.items()}
    for field, value in values.items():
        if _CONTROL.search(value):
            raise InvalidClient(
                f"{field} of client {name} holds a line break or another control character, and cannot be sent.",
                f"Store it again without: `evergrant client set {name}`.",
            )


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) and text for text in value)


_TEXT_FIELDS = {"client_id", "private_key", "key_id"}
_FIELDS = {"client_secrets", "hosts", "credentials", *_TEXT_FIELDS}
_ENTRY_HINT = 'Write {"client_id": "…", "client_secrets": ["…"], "hosts": ["accounts.example.com"]}.'
