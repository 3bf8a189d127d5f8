"""Protects the example stacks: valid templates, imports that the stack exports, and functions that call with its token.

The documents are made by the code that publishes them; the API is a server on the loopback interface.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import ModuleType
from typing import Any
from unittest import mock

import boto3
import moto
import pytest
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

import evergrant_client._default as client_default
from evergrant.record import token_document
from evergrant.secret import Secret
from tests.template.stack import ROOT, read_template
from tests.unit.samples import KEAP, connection, tokens

EXAMPLES = ("node", "python")
SECRET = "evergrant/tokens/keap/main"
NODE = shutil.which("node")

#: The SDK as the runtime brings it along, reduced to one call that is answered from the environment.
SDK_STUB = """\
const secrets = JSON.parse(process.env.SECRETS);
export class GetSecretValueCommand { constructor(input) { this.input = input; } }
export class SecretsManagerClient {
  async send(command) {
    return { SecretString: secrets[command.input.SecretId].shift() };
  }
}
"""


def template(example: str) -> dict[str, Any]:
    parsed: dict[str, Any] = yaml_parse((ROOT / "examples" / example / "template.yaml").read_text("utf-8"))
    return parsed


def translate_example(example: str) -> dict[str, Any]:
    """The resources that CloudFormation makes of an example."""
    source = template(example)
    source["Resources"]["Contacts"]["Properties"]["CodeUri"] = "s3://bucket/key"
    parameters = {name: parameter.get("Default", "given") for name, parameter in source["Parameters"].items()}
    session = mock.Mock(region_name="eu-west-1")
    made = Translator({}, Parser(), boto_session=session).translate(source, parameter_values=parameters)
    resources: dict[str, Any] = json.loads(json.dumps(made["Resources"]))
    return resources


def imports(value: Any) -> Iterator[Any]:
    """What each ``Fn::ImportValue`` below a value names."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "Fn::ImportValue":
                yield inner
            else:
                yield from imports(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from imports(inner)


def document(generation: int) -> str:
    """What rotator publishes for keap/main, of a token that lives for an hour from now."""
    issued_at = int(time.time())
    issued = tokens(access_token=Secret(f"access-{generation}"), issued_at=issued_at, expires_at=issued_at + 3600)
    return json.dumps(token_document.build_document(connection(generation=generation), KEAP, issued))


class Api(ThreadingHTTPServer):
    """Keap's API, which accepts one access token."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.accepts = "access-1"
        self.seen: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Api

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        sent = self.headers["authorization"]
        self.server.seen.append(sent)
        known = self.path == "/crm/rest/v1/contacts?limit=1"
        status = 404 if not known else 200 if sent == f"Bearer {self.server.accepts}" else 401
        body = json.dumps({"contacts": [], "count": 3}).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def api() -> Iterator[Api]:
    with Api() as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield server
        server.shutdown()


def test_the_templates_pass_the_linter() -> None:
    """cfn-lint translates them itself; it is the one that ``sam validate --lint`` calls."""
    files = [ROOT / "examples" / example / "template.yaml" for example in EXAMPLES]
    linter = ROOT / ".tools" / "sam" / "bin" / "cfn-lint"
    command = [str(linter), "--regions", "eu-west-1", "--", *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_is_complete(example: str) -> None:
    folder = ROOT / "examples" / example
    assert {"README.md", "function", "samconfig.toml", "template.yaml"} <= {path.name for path in folder.iterdir()}
    (function,) = (one for one in translate_example(example).values() if one["Type"] == "AWS::Lambda::Function")
    module, _, name = function["Properties"]["Handler"].partition(".")
    assert name == "handler"
    assert [path for path in (folder / "function").iterdir() if path.stem == module]


@pytest.mark.parametrize("example", EXAMPLES)
def test_what_an_example_imports_the_stack_exports(example: str) -> None:
    exports = {output["Export"]["Name"]["Fn::Sub"] for output in read_template()["Outputs"].values()}
    imported = [value["Fn::Sub"] for value in imports(template(example))]
    assert imported
    assert {name.replace("EvergrantStack", "AWS::StackName") for name in imported} <= exports


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_does_not_import_the_layer(example: str) -> None:
    """A layer's ARN changes with each release, and CloudFormation changes no export that is in use.

    CloudFormation user guide, "Get exported outputs from a deployed CloudFormation stack".
    """
    assert not [value for value in imports(template(example)) if "ClientLayerArn" in value["Fn::Sub"]]


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_examples_role_has_the_consumer_policy_and_no_other(example: str) -> None:
    (role,) = (one["Properties"] for one in translate_example(example).values() if one["Type"] == "AWS::IAM::Role")
    basic, consumer = role["ManagedPolicyArns"]
    assert basic.endswith(":policy/service-role/AWSLambdaBasicExecutionRole")
    assert consumer == {"Fn::ImportValue": {"Fn::Sub": "${EvergrantStack}-ConsumerPolicyArn"}}
    assert "Policies" not in role


@pytest.fixture
def python_example(api: Api, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], ModuleType]]:
    """Loads the Python function as a new execution environment does, with AWS's services in this process."""
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE", "AWS_SESSION_TOKEN", "EVERGRANT_GETTER", "EVERGRANT_PREFIX"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("CONNECTION", "keap/main")
    monkeypatch.setenv("API_URL", api.url)
    monkeypatch.setattr(client_default, "_default", None)

    def load() -> ModuleType:
        spec = importlib.util.spec_from_file_location(
            "python_example", ROOT / "examples" / "python" / "function" / "app.py"
        )
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    with mock.patch("moto.core.models.RESPONSES_METHODS", []), moto.mock_aws():
        boto3.client("secretsmanager").create_secret(Name=SECRET, SecretString=document(1))
        yield load


def test_the_python_example_calls_with_the_published_token(api: Api, python_example: Callable[[], ModuleType]) -> None:
    assert python_example().handler({}, None) == {"contacts": 3}
    assert api.seen == ["Bearer access-1"]


def test_the_python_example_survives_a_token_that_died_early(
    api: Api, python_example: Callable[[], ModuleType]
) -> None:
    module = python_example()
    module.handler({}, None)
    boto3.client("secretsmanager").put_secret_value(SecretId=SECRET, SecretString=document(2))
    api.accepts = "access-2"
    assert module.handler({}, None) == {"contacts": 3}
    assert api.seen == ["Bearer access-1", "Bearer access-1", "Bearer access-2"]


@pytest.mark.skipif(NODE is None, reason="no Node.js on this machine, so its example is left out")
def test_the_node_examples_own_tests_pass() -> None:
    tests = sorted((ROOT / "examples" / "node" / "test").glob("*.test.mjs"))
    done = subprocess.run([str(NODE), "--test", *tests], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(NODE is None, reason="no Node.js on this machine, so its example is left out")
def test_the_node_example_calls_with_the_published_token(api: Api, tmp_path: Path) -> None:
    """The function as deployed, with the runtime's SDK stubbed; its first token is rejected, the second is not."""
    shutil.copytree(ROOT / "examples" / "node" / "function", tmp_path / "function")
    sdk = tmp_path / "node_modules" / "@aws-sdk" / "client-secrets-manager"
    sdk.mkdir(parents=True)
    (sdk / "package.json").write_text('{"type": "module", "main": "index.js"}')
    (sdk / "index.js").write_text(SDK_STUB)
    api.accepts = "access-2"
    program = 'console.log(JSON.stringify(await (await import("./function/index.mjs")).handler({})))'
    done = subprocess.run(
        [str(NODE), "--input-type=module", "--eval", program],
        cwd=tmp_path,
        env={"API_URL": api.url, "SECRET_ID": SECRET, "SECRETS": json.dumps({SECRET: [document(1), document(2)]})},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"contacts": 3}
    assert api.seen == ["Bearer access-1", "Bearer access-2"]
