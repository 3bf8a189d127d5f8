"""Store profiles in the record table: immutable by content hash, and by name for those that an operator added."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256

from botocore.exceptions import ClientError

from ...errors import InvalidProfile, ProfileTampered, UnknownProfile
from ...oauth.response_issuer import list_issuers
from ...profiles import built_in as catalogue
from ...profiles.leaks import find_leaks
from ...profiles.model import Profile, content_hash, decode, encode
from ...profiles.validation import find_problems
from .sdk import client, read_error_code, scan_items, unavailable

#: One item with an attribute for each added provider that has issuers. Callback may read no more than `profile#`.
_ISSUERS_ITEM = {"pk": {"S": "profile#issuers"}}
_ISSUERS_OF = "issuers_of#"


@dataclass(frozen=True, slots=True)
class StoredProfiles:
    """:class:`evergrant.ports.Profiles`: from the table, else from the package."""

    table: str
    _known: dict[str, Profile] = field(default_factory=dict)

    def load_pinned(self, content_hash: str) -> Profile:
        """Return the profile of this content hash, which never changes."""
        profile = self._known.get(content_hash)
        if profile is None:
            # The table first: it holds every connection's profile, and one read is quicker than loading the catalogue.
            stored = self._get(f"profile#{content_hash}", "profile")
            profile = (
                _verify(stored, content_hash) if stored is not None else catalogue.load_by_hash().get(content_hash)
            )
            if profile is None:
                raise UnknownProfile(f"The profile {content_hash[:12]}… that this connection was made with is gone.")
            self._known[content_hash] = profile
        return profile

    def load_named(self, name: str) -> Profile:
        """Return the profile that a new connection to this provider uses."""
        built_in = catalogue.load_built_in().get(name)
        if built_in:
            return built_in
        pointer = self._get(f"provider#{name}", "profile")
        if pointer is None:
            raise UnknownProfile(f"There is no provider {name}.")
        profile = decode(pointer)
        for problem in find_problems(profile):
            raise InvalidProfile(
                f"The stored profile of {name}: {problem}", "Add it again with `evergrant provider add`."
            )
        return profile

    def list_added(self) -> list[Profile]:
        """Return the profiles that operators added to this deployment."""
        items = scan_items(self.table, "provider#")
        with unavailable("listing the profiles"):
            return [decode(item["profile"]["B"]) for item in items]

    def add(self, profile: Profile) -> str:
        """Add or replace a provider. Connections keep the profile that they pinned. Returns the content hash."""
        if profile.name in catalogue.load_built_in():
            raise InvalidProfile(
                f"{profile.name} is a built-in provider and cannot be shadowed.", "Give your profile another name."
            )
        name = self.keep(profile)
        with unavailable("storing the profile"):
            client("dynamodb").put_item(
                TableName=self.table,
                Item={"pk": {"S": f"provider#{profile.name}"}, "profile": {"B": encode(profile)}},
            )
        return name

    def keep(self, profile: Profile) -> str:
        """Store a profile under its content hash. Every connection pins one, built-in profiles included.

        A later release may change a built-in profile; the connection keeps the one that it was made with.
        """
        name = content_hash(profile)
        with unavailable("storing the profile"):
            try:
                client("dynamodb").put_item(
                    TableName=self.table,
                    Item={"pk": {"S": f"profile#{name}"}, "profile": {"B": encode(profile)}},
                    ConditionExpression="attribute_not_exists(pk)",
                )
            except ClientError as error:
                if read_error_code(error) != "ConditionalCheckFailedException":
                    raise
        if profile.name not in catalogue.load_built_in():
            self._keep_issuers(profile)
        return name

    def list_issuers(self) -> dict[str, tuple[str, ...]]:
        """Return the issuers of the built-in and the added providers that have any, as templates by provider."""
        with unavailable("reading the issuers"):
            item = client("dynamodb").get_item(TableName=self.table, Key=_ISSUERS_ITEM, ConsistentRead=True).get("Item")
        added = {
            name.removeprefix(_ISSUERS_OF): tuple(issuer["S"] for issuer in value["L"])
            for name, value in (item or {}).items()
            if name.startswith(_ISSUERS_OF)
        }
        return added | {name: list_issuers(profile) for name, profile in catalogue.load_built_in().items()}

    def _keep_issuers(self, profile: Profile) -> None:
        """Keep an added provider's issuers, so that another provider's response under one of them is recognized."""
        issuers = {"L": [{"S": issuer} for issuer in list_issuers(profile)]}
        with unavailable("storing the issuers"):
            client("dynamodb").update_item(
                TableName=self.table,
                Key=_ISSUERS_ITEM,
                UpdateExpression="SET #provider = :issuers",
                ExpressionAttributeNames={"#provider": f"{_ISSUERS_OF}{profile.name}"},
                ExpressionAttributeValues={":issuers": issuers},
            )

    def _get(self, key: str, attribute: str) -> bytes | None:
        with unavailable("reading the profile"):
            answer = client("dynamodb").get_item(TableName=self.table, Key={"pk": {"S": key}}, ConsistentRead=True)
        item = answer.get("Item")
        return bytes(item[attribute]["B"]) if item and attribute in item else None


def _verify(stored: bytes, expected_hash: str) -> Profile:
    """Decode a stored profile that is what its hash says.

    Raises
    ------
    ProfileTampered
    """
    if sha256(stored).hexdigest() != expected_hash:
        raise ProfileTampered(f"The stored profile {expected_hash[:12]}… is not what its content hash says.")
    profile = decode(stored)
    for leak in find_leaks(profile):
        raise ProfileTampered(f"The stored profile {expected_hash[:12]}… is refused: {leak}.")
    return profile
