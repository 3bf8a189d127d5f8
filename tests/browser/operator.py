"""Who sends the links: the `evergrant` command, in this process since a new one for each takes a second."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Self

import pytest
from typer.testing import CliRunner

from evergrant.adapters.aws.sdk import client
from evergrant_cli import deployment
from evergrant_cli.main import app
from local.connections import Connection
from local.world import World


@dataclass(frozen=True)
class Operator:
    """Sends links, looks how connections are, and can let a link's time be over."""

    world: World

    @classmethod
    @contextmanager
    def of(cls, world: World) -> Iterator[Self]:
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv("AWS_PROFILE", raising=False)
            for name, value in world.environment().items():
                patch.setenv(name, value)
            # Clients are made once then, and not for each run of the command.
            patch.setattr(deployment, "open_session", lambda region, profile: None)
            client.cache_clear()
            yield cls(world)
            client.cache_clear()

    def link(self, connection: Connection) -> str:
        """A link for the account's owner."""
        answer = self._run(*self.world.connect_arguments(connection), "--no-wait", "--json")
        return str(json.loads(answer)["link"])

    def status(self, connection: str) -> str:
        shown = json.loads(self._run("status", "--json", statuses=(0, 3)))
        return str(next(each for each in shown["connections"] if each["connection"] == connection)["status"])

    def expire(self, link: str) -> None:
        """Let a link's time be over."""
        hashed = sha256(link.rpartition("/")[2].encode()).hexdigest()
        client("dynamodb").update_item(
            TableName=self.world.stack.outputs["AuthorizationsTableName"],
            Key={"pk": {"S": f"ticket#{hashed}"}},
            UpdateExpression="SET expires_at = :past",
            ConditionExpression="attribute_exists(pk)",
            ExpressionAttributeValues={":past": {"N": "1"}},
        )

    @staticmethod
    def _run(*arguments: str, statuses: tuple[int, ...] = (0,)) -> str:
        result = CliRunner().invoke(app, arguments)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code in statuses, result.output
        return result.stdout
