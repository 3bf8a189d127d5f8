"""Secrets Manager as AWS documents it, where emulators are kinder than AWS.

Written from the API reference (CreateSecret, PutSecretValue, GetSecretValue, DescribeSecret, DeleteSecret,
RestoreSecret, UpdateSecretVersionStage) and the user
guide's page of quotas. It stands in for a boto3 client: same methods, same parameters, botocore's ClientError.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

DAY = 86_400
_NAME = re.compile(r"[A-Za-z0-9/_+=.@-]{1,512}")
#: Of the versions without a staging label, those beyond so many are removed, but none younger than a day.
_KEPT = 100


@dataclass
class Version:
    text: str
    created: float
    stages: set[str] = field(default_factory=set)


@dataclass
class StoredSecret:
    versions: dict[str, Version] = field(default_factory=dict)
    deleted: bool = False
    key: str | None = None
    tags: dict[str, str] = field(default_factory=dict)

    def version(self, stage: str) -> str | None:
        return next((name for name, version in self.versions.items() if stage in version.stages), None)

    @property
    def current(self) -> str | None:
        """The text that consumers get."""
        name = self.version("AWSCURRENT")
        return self.versions[name].text if name else None


class StrictSecretsManager:
    """One Region of one account.

    Parameters
    ----------
    now
        The clock, in epoch seconds.
    writes_per_second
        The Region's limit; AWS counts groups of operations apart, this counts every change together.
    most_versions
        Where a further version is refused. AWS gives the rate, one in ten minutes, which is 144 in a day.
    """

    def __init__(
        self, now: Callable[[], float] = lambda: 0.0, *, writes_per_second: int = 50, most_versions: int = 144
    ) -> None:
        self.secrets: dict[str, StoredSecret] = {}
        self.calls: list[str] = []
        self._now = now
        self._writes_per_second = writes_per_second
        self._most_versions = most_versions
        self._writes: list[float] = []

    # --- the API ----------------------------------------------------------------------------------------------

    def create_secret(
        self,
        *,
        Name: str,  # noqa: N803
        SecretString: str,  # noqa: N803
        ClientRequestToken: str | None = None,  # noqa: N803
        Description: str = "",  # noqa: N803
        KmsKeyId: str | None = None,  # noqa: N803
        Tags: list[dict[str, str]] | None = None,  # noqa: N803
    ) -> dict[str, Any]:
        self._write("CreateSecret")
        token = self._checked("CreateSecret", SecretString, ClientRequestToken)
        if not _NAME.fullmatch(Name) or len(Description) > 2048:
            raise _error("CreateSecret", "InvalidParameterException")
        known = self.secrets.get(Name)
        if known and known.deleted:
            raise _error("CreateSecret", "InvalidRequestException")
        if known:
            held = known.versions.get(token)
            if held is None or held.text != SecretString:
                raise _error("CreateSecret", "ResourceExistsException")
            return {"Name": Name, "VersionId": token}
        tags = {tag["Key"]: tag["Value"] for tag in Tags or []}
        self.secrets[Name] = StoredSecret(key=KmsKeyId, tags=tags)
        self._add(self.secrets[Name], token, SecretString)
        return {"Name": Name, "VersionId": token}

    def put_secret_value(
        self,
        *,
        SecretId: str,  # noqa: N803
        SecretString: str,  # noqa: N803
        ClientRequestToken: str | None = None,  # noqa: N803
    ) -> dict[str, Any]:
        self._write("PutSecretValue")
        token = self._checked("PutSecretValue", SecretString, ClientRequestToken)
        secret = self._alive("PutSecretValue", SecretId)
        held = secret.versions.get(token)
        if held is None:
            self._prune(secret)
            if len(secret.versions) >= self._most_versions:
                raise _error("PutSecretValue", "LimitExceededException")
            self._add(secret, token, SecretString)
        elif held.text != SecretString:
            raise _error("PutSecretValue", "ResourceExistsException")
        # A repetition "succeeds but does nothing": it makes nothing current that is not.
        return {"Name": SecretId, "VersionId": token, "VersionStages": sorted(secret.versions[token].stages)}

    def describe_secret(self, *, SecretId: str) -> dict[str, Any]:  # noqa: N803
        self.calls.append("DescribeSecret")
        secret = self._known("DescribeSecret", SecretId)
        # Versions without a label are not shown.
        stages = {name: sorted(version.stages) for name, version in secret.versions.items() if version.stages}
        deleted = {"DeletedDate": self._now()} if secret.deleted else {}
        return {"Name": SecretId, "VersionIdsToStages": stages, **deleted}

    def update_secret_version_stage(
        self,
        *,
        SecretId: str,  # noqa: N803
        VersionStage: str,  # noqa: N803
        MoveToVersionId: str,  # noqa: N803
        RemoveFromVersionId: str,  # noqa: N803
    ) -> dict[str, Any]:
        self._write("UpdateSecretVersionStage")
        secret = self._alive("UpdateSecretVersionStage", SecretId)
        if MoveToVersionId not in secret.versions:
            raise _error("UpdateSecretVersionStage", "ResourceNotFoundException")
        if secret.version(VersionStage) != RemoveFromVersionId:
            raise _error("UpdateSecretVersionStage", "InvalidParameterException")
        if VersionStage == "AWSCURRENT":
            self._label(secret, MoveToVersionId)
        return {"Name": SecretId}

    def get_secret_value(self, *, SecretId: str) -> dict[str, Any]:  # noqa: N803
        self.calls.append("GetSecretValue")
        secret = self._alive("GetSecretValue", SecretId)
        name = secret.version("AWSCURRENT")
        if name is None:
            raise _error("GetSecretValue", "ResourceNotFoundException")
        return {"Name": SecretId, "VersionId": name, "SecretString": secret.versions[name].text}

    def delete_secret(self, *, SecretId: str, RecoveryWindowInDays: int = 30) -> dict[str, Any]:  # noqa: N803
        self._write("DeleteSecret")
        if not 7 <= RecoveryWindowInDays <= 30:
            raise _error("DeleteSecret", "InvalidParameterException")
        self._alive("DeleteSecret", SecretId).deleted = True
        return {"Name": SecretId}

    def restore_secret(self, *, SecretId: str) -> dict[str, Any]:  # noqa: N803
        self._write("RestoreSecret")
        self._known("RestoreSecret", SecretId).deleted = False
        return {"Name": SecretId}

    # --- the rules --------------------------------------------------------------------------------------------

    def _write(self, operation: str) -> None:
        self.calls.append(operation)
        now = self._now()
        self._writes = [at for at in self._writes if at > now - 1]
        if len(self._writes) >= self._writes_per_second:
            raise _error(operation, "ThrottlingException")
        self._writes.append(now)

    def _known(self, operation: str, name: str) -> StoredSecret:
        if name not in self.secrets:
            raise _error(operation, "ResourceNotFoundException")
        return self.secrets[name]

    def _alive(self, operation: str, name: str) -> StoredSecret:
        secret = self._known(operation, name)
        if secret.deleted:
            raise _error(operation, "InvalidRequestException")
        return secret

    @staticmethod
    def _checked(operation: str, text: str, token: str | None) -> str:
        if not text or len(text.encode()) > 65_536:
            raise _error(operation, "InvalidParameterException")
        token = token or str(uuid.uuid4())  # the SDK makes one up
        if not 32 <= len(token) <= 64:
            raise _error(operation, "InvalidParameterException")
        return token

    def _add(self, secret: StoredSecret, token: str, text: str) -> None:
        secret.versions[token] = Version(text, self._now())
        self._label(secret, token)

    @staticmethod
    def _label(secret: StoredSecret, token: str) -> None:
        """The current version loses its label to this one, and is the previous one."""
        previous = secret.version("AWSCURRENT")
        for version in secret.versions.values():
            version.stages -= {"AWSCURRENT", "AWSPREVIOUS"}
        if previous:
            secret.versions[previous].stages.add("AWSPREVIOUS")
        secret.versions[token].stages.add("AWSCURRENT")

    def _prune(self, secret: StoredSecret) -> None:
        old = [
            name
            for name, version in secret.versions.items()
            if not version.stages and version.created <= self._now() - DAY
        ]
        for name in old[: max(len(secret.versions) - _KEPT, 0)]:
            del secret.versions[name]


def _error(operation: str, code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "as AWS documents it"}}, operation)
