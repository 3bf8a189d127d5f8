"""Read clients from Secrets Manager, and publish the tokens that consumers read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from botocore.exceptions import ClientError

from ...errors import InvalidClient, UnknownClient
from ...oauth.client import Client
from ...oauth.redirect_uris import OWN_PATH, SHARED_PATH
from ...ports import PortUnavailable
from ...secret_names import client_secret_name, token_secret_name
from ..rate_limiter import RateLimiter
from .client_entry import parse_client, read_redirect_path
from .sdk import client, read_error_code, unavailable

_CURRENT = "AWSCURRENT"


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
        answer = self._get_client(name)
        return replace(parse_client(name, answer.get("SecretString", "")), version=answer["VersionId"])

    def _get_client(self, name: str) -> dict[str, Any]:
        with unavailable("reading the client"):
            try:
                return dict(client("secretsmanager").get_secret_value(SecretId=client_secret_name(self.prefix, name)))
            except ClientError as error:
                # Without secretsmanager:ListSecrets, AWS answers AccessDenied only for names outside the policy. A
                # missing secret inside it is ResourceNotFound; one that is marked for deletion is InvalidRequest.
                if read_error_code(error) in ("ResourceNotFoundException", "InvalidRequestException"):
                    raise UnknownClient(name) from error
                raise

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

    def store_client(self, name: str, entry: Mapping[str, Any], redirect_path: str = OWN_PATH) -> Client:
        """Create or replace a client's entry, and return it. It is checked first.

        Parameters
        ----------
        redirect_path
            For an entry that is new and names none. An entry keeps the path with which it was stored first.
        """
        parse_client(name, json.dumps(entry))
        path = self._fix_redirect_path(name, entry.get("redirect_path"), redirect_path)
        kept = {field: value for field, value in entry.items() if field != "redirect_path"}
        # Without the field, as entries of earlier releases are, the path is the shared one.
        text = json.dumps(
            kept if path == SHARED_PATH else {**kept, "redirect_path": path}, separators=(",", ":"), sort_keys=True
        )
        secret = client_secret_name(self.prefix, name)
        self._require_key(name, secret)
        with unavailable("storing the client"):
            self._put(secret, {"SecretString": text}, {"Description": f"OAuth client {name}, used by Evergrant."})
        return parse_client(name, text)

    def _fix_redirect_path(self, name: str, given: str | None, default: str) -> str:
        """Return the redirect path of the stored entry; of a new one, what is given, or the default.

        Raises
        ------
        InvalidClient
            Another path is given than the stored entry has.
        """
        try:
            stored = read_redirect_path(self._get_client(name).get("SecretString", ""))
        except UnknownClient:
            stored = None
        if stored is None:
            return given or default
        if given not in (None, stored):
            raise InvalidClient(
                f"The redirect path of client {name} is {stored}, and does not change.",
                "Leave out redirect_path, or store the client under another name.",
            )
        return stored

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
