"""The stack's functions, built for this machine by SAM and run by Lambda's own runtime; an emulated AWS behind them.

Tables are made from the template's own definitions, and the environment of each function is the template's.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import boto3
import pytest

from evergrant.adapters.aws import sdk
from evergrant.adapters.aws.profiles import StoredProfiles
from evergrant.adapters.aws.records import DynamoRecords
from evergrant.adapters.aws.secrets_manager import SecretsVault
from evergrant.adapters.clock import SystemClock
from evergrant.connect import operator_actions
from evergrant.profiles.model import Profile
from local.aws import LocalAws, local_aws
from local.providers import KEAP, WEALTHYHOOD, Client, Provider, ProviderServer
from tests.contract.api_gateway import REDIRECT_URI
from tests.contract.contract import PREFIX, Contract
from tests.contract.emulated_lambda import PYTHON, EmulatedLambda, emulated_lambda
from tests.template.stack import ROOT, properties, words

#: Parameters that are not at their default here: the simulated provider lives on the loopback interface.
PARAMETERS = {"SecretPrefix": PREFIX, "AllowLoopback": "true", "LogLevel": "INFO"} | {
    "LeaseSeconds": "40",
    "RotatorConcurrency": "10",
    "SupportContact": "",
    "DirectReadMinLifetime": "1800",
    "ConsumerCacheSeconds": "300",
}


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``sam build`` makes, for the Python under which it will run here."""
    say = "import sys; print('python%d.%d' % sys.version_info[:2])"
    version = subprocess.run([PYTHON, "-c", say], capture_output=True, text=True, check=True).stdout.strip()
    directory = tmp_path_factory.mktemp("built")
    result = subprocess.run(
        [ROOT / ".tools" / "sam" / "bin" / "sam", "build", "--build-dir", directory],
        env=os.environ
        | {"BUILD_RUNTIME": version, "BUILD_ARCHITECTURE": "host", "SAM_CLI_TELEMETRY": "0", "AWS_REGION": "eu-west-1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return directory


@pytest.fixture(scope="session")
def contract(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Contract]:
    home = tmp_path_factory.mktemp("contract")
    with local_aws(home) as aws, ExitStack() as running, pytest.MonkeyPatch.context() as patch:
        for name, value in aws.environment().items():
            patch.setenv(name, value)
        patch.setattr(boto3, "DEFAULT_SESSION", None)
        sdk.client.cache_clear()
        names = _make_resources(aws)

        def start(function: str, **more: str) -> EmulatedLambda:
            own = properties(f"{function}Function")
            variables = own["Environment"]["Variables"]
            environment = aws.environment() | {name: names.get(words(it), words(it)) for name, it in variables.items()}
            environment |= {
                "AWS_LAMBDA_LOG_FORMAT": own["LoggingConfig"]["LogFormat"],
                "AWS_LAMBDA_LOG_LEVEL": own["LoggingConfig"]["ApplicationLogLevel"],
                **more,
            }
            if function == "Getter":  # the rotator that it invokes is the emulated one beside it
                environment |= {"AWS_ENDPOINT_URL_LAMBDA": it.rotator.url, "EVERGRANT_ROTATOR_FUNCTION": "function"}
            layer = built / "EvergrantLayer"
            return running.enter_context(
                emulated_lambda(built / f"{function}Function", layer, environment, own["Timeout"], home)
            )

        it = Contract(aws, names, start)
        yield it
    sdk.client.cache_clear()


def _make_resources(aws: LocalAws) -> dict[str, str]:
    """Make what the functions need; the names and addresses by the template's words for them."""
    keys, queues = aws.client("kms"), aws.client("sqs")
    for table in ("RecordsTable", "AuthorizationsTable"):
        definition = properties(table)
        shape = ("BillingMode", "AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes")
        aws.client("dynamodb").create_table(TableName=table, **{it: definition[it] for it in shape if it in definition})
    aws.client("events").create_event_bus(Name="bus")
    return PARAMETERS | {
        "RecordsTable": "RecordsTable",
        "AuthorizationsTable": "AuthorizationsTable",
        "RotationQueue": queues.create_queue(QueueName="rotation")["QueueUrl"],
        "SealKey.Arn": keys.create_key()["KeyMetadata"]["Arn"],
        "VaultKey.Arn": keys.create_key()["KeyMetadata"]["Arn"],
        "EventBus": "bus",
    }


@pytest.fixture(scope="session")
def wealthyhood(contract: Contract) -> Iterator[ProviderServer]:
    """A simulated provider, and the connection ``wealthyhood/reports`` to it, due but not refreshed yet."""
    client = Client("evergrant", "not-a-secret-of-anybody", audience=WEALTHYHOOD.default_audience)
    with ProviderServer(Provider(WEALTHYHOOD, clients=(client,))) as server:
        profile = _register(contract, server, client)
        variables = {"host": server.host, "audience": str(WEALTHYHOOD.default_audience)}
        authorization, grant = operator_actions.plan(profile, "wealthyhood/reports", variables=variables)
        operator_actions.begin(DynamoRecords(contract.names["RecordsTable"]), authorization, grant, SystemClock())
        yield server


@pytest.fixture(scope="session")
def keap(contract: Contract) -> Iterator[ProviderServer]:
    """A simulated provider with a consent page."""
    client = Client("evergrant", "another-canary-secret", redirect_uris=(REDIRECT_URI,))
    with ProviderServer(Provider(KEAP, clients=(client,))) as server:
        _register(contract, server, client)
        yield server


def _register(contract: Contract, server: ProviderServer, client: Client) -> Profile:
    """Store the client's entry, and the provider's profile."""
    name = server.provider.dialect.name
    SecretsVault(PREFIX).store_client(
        name, {"client_id": client.client_id, "client_secrets": [client.client_secret], "hosts": [server.host]}
    )
    profiles = StoredProfiles(contract.names["RecordsTable"])
    profile = profiles.load_named(name)
    profiles.keep(profile)
    return profile
