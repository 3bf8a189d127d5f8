"""Build the stack and deploy it, for one target: `make deploy`.

It asks for what has no default (the Region, and the address for alerts), and remembers the answers in samconfig.toml.
It builds for the Runtime and Architecture that will be deployed, shows what would change, and deploys once that is
confirmed. Deletion protection is switched on once a deployment has succeeded: a first one that fails has to be undone.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from scripts.build_artifact import find_override

ROOT = Path(__file__).resolve().parent.parent
SAM = ROOT / ".tools" / "sam" / "bin" / "sam"
KEPT_TABLES = ("RecordsTableName", "AuthorizationsTableName")
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d")
_EMAIL = re.compile(r"[^@\s\"'\\]+@[^@\s\"'\\]+\.[^@\s\"'\\]+")
_BUILT_FOR = re.compile(r'check_target\("(?P<runtime>\S+)", "(?P<architecture>\S+)"\)')


class DeployError(Exception):
    """The deployment cannot go on; the message says what to do."""


@dataclass
class Answers:
    """What samconfig.toml says, with what was asked for."""

    path: Path
    environment: str
    config: Mapping[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.config = tomllib.loads(self.path.read_text("utf-8")).get(self.environment, {})

    def read(self, name: str) -> str | None:
        """Return a setting of `sam deploy`."""
        for section in ("deploy", "global"):
            value = self.config.get(section, {}).get("parameters", {}).get(name)
            if value is not None and not isinstance(value, str):
                raise DeployError(f'Write {name} in {self.path.name} as one text, like "Runtime=python3.13".')
            if value is not None:
                return str(value)
        return None

    def read_parameter(self, name: str) -> str | None:
        """Return a parameter of the template, in any notation that SAM takes."""
        overrides = self.read("parameter_overrides") or ""
        return "" if f'{name}=""' in overrides else find_override(name, overrides)

    def remember(self, region: str | None = None, parameter: tuple[str, str] | None = None) -> None:
        """Write answers into the file, which keeps its comments."""
        values = {"region": region} if region else {}
        if parameter:
            before = re.sub(rf'(?<!\w){parameter[0]}=("[^"]*"|\S*)', "", self.read("parameter_overrides") or "")
            values["parameter_overrides"] = " ".join([*before.split(), f'{parameter[0]}="{parameter[1]}"'])
        text = self.path.read_text("utf-8")
        header = f"[{self.environment}.deploy.parameters]"
        if header not in text:
            text = f"{text.rstrip()}\n\n{header}\n"
        head, _, rest = text.partition(f"{header}\n")
        own, mark, others = rest.partition("\n[")
        for name, value in values.items():
            lines = [line for line in own.splitlines() if not line.startswith(f"{name} = ")]
            own = "\n".join([f"{name} = {json.dumps(value)}", *lines])  # a JSON text is a TOML one
        text = f"{head}{header}\n{own}{mark}{others}"
        self.path.write_text(text.rstrip("\n") + "\n", encoding="utf-8")
        self.__post_init__()


@dataclass(frozen=True)
class Terminal:
    """Asks and says. ``is_interactive``: a person can answer."""

    ask: Callable[[str], str]
    say: Callable[[str], None]
    is_interactive: bool


def find_region(answers: Answers, given: str | None, terminal: Terminal) -> str:
    """Return the Region: given, configured, of the AWS profile, or asked for."""
    configured = answers.read("region") or boto3.Session().region_name
    found = given or configured
    if given and not configured:
        answers.remember(region=given)
    if not found:
        if not terminal.is_interactive:
            raise DeployError("No Region is configured. Give --region, or set AWS_REGION.")
        found = terminal.ask("Region (like eu-west-1): ").strip()
        if not _REGION.fullmatch(found):
            raise DeployError(f"{found!r} is not a Region's name, like eu-west-1.")
        answers.remember(region=found)
    return found


def settle_alerts(answers: Answers, given: str | None, terminal: Terminal) -> None:
    """Settle who gets alerts, once: an answer is remembered, an empty one too."""
    if given is None:
        if answers.read_parameter("AlertEmail") is not None or not terminal.is_interactive:
            return
        given = terminal.ask("E-mail address for alerts (empty: none, subscribe to the topic later): ").strip()
    if given and not _EMAIL.fullmatch(given):
        raise DeployError(f"{given!r} is not an e-mail address.")
    answers.remember(parameter=("AlertEmail", given))


def identify(session: boto3.Session) -> str:
    """Return the account into which is deployed."""
    try:
        return str(session.client("sts").get_caller_identity()["Account"])
    except (BotoCoreError, ClientError) as error:
        raise DeployError(
            f"AWS does not know who you are ({type(error).__name__}). Log in (`aws sso login`), or set AWS_PROFILE."
        ) from error


def check_target(built: Path, answers: Answers) -> str:
    """Compare what was built with what will be deployed, and return it."""
    template = (ROOT / "template.yaml").read_text("utf-8")
    wanted = {}
    for parameter in ("Runtime", "Architecture"):
        default = re.search(rf"^  {parameter}:\n(?:    .*\n)*?    Default: (\S+)", template, re.MULTILINE)
        wanted[parameter.lower()] = answers.read_parameter(parameter) or (default[1] if default else "")
    init = built / "EvergrantLayer" / "python" / "evergrant" / "__init__.py"
    found = _BUILT_FOR.search(init.read_text("utf-8")) if init.exists() else None
    if found is None or found.groupdict() != wanted:
        was = " on ".join(found.groups()) if found else "another target"
        raise DeployError(
            f"Built for {was}, and samconfig.toml deploys {' on '.join(wanted.values())}. Is BUILD_RUNTIME or "
            "BUILD_ARCHITECTURE set?"
        )
    return " on ".join(wanted.values())


def protect(session: boto3.Session, stack: str, terminal: Terminal) -> dict[str, str]:
    """Switch deletion protection on for the stack and its tables. Returns the stack's outputs."""
    formation, tables = session.client("cloudformation"), session.client("dynamodb")
    found = formation.describe_stacks(StackName=stack)["Stacks"][0].get("Outputs", [])
    outputs = {output["OutputKey"]: output["OutputValue"] for output in found}
    try:
        formation.update_termination_protection(StackName=stack, EnableTerminationProtection=True)
        for name in KEPT_TABLES:
            table = tables.describe_table(TableName=outputs[name])["Table"]
            if not table.get("DeletionProtectionEnabled"):
                tables.update_table(TableName=outputs[name], DeletionProtectionEnabled=True)
    except (BotoCoreError, ClientError) as error:
        code = error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
        terminal.say(f"Deletion protection could not be switched on ({code}). The deployment itself succeeded.")
    else:
        terminal.say("The stack and its tables are protected against deletion.")
    return outputs


def run_sam(*arguments: str) -> None:
    """Run `sam` in the terminal; its output is its own."""
    if subprocess.run([str(SAM), *arguments], cwd=ROOT, check=False).returncode != 0:
        raise DeployError(f"`sam {arguments[0]}` failed; its output says why.")


def deploy(
    options: argparse.Namespace, terminal: Terminal, sam: Callable[..., None] = run_sam, config: Path | None = None
) -> None:
    """Do all of it."""
    answers = Answers(config or ROOT / "samconfig.toml", options.config_env)
    region = find_region(answers, options.region, terminal)
    session = boto3.Session(region_name=region)
    account = identify(session)
    settle_alerts(answers, options.alert_email, terminal)
    stack = answers.read("stack_name") or "evergrant"
    chosen = ["--config-env", options.config_env]
    sam("build", *chosen)
    target = check_target(ROOT / ".aws-sam" / "build", answers)
    terminal.say(f"\nDeploying stack {stack} to account {account} in {region}, for {target}.")
    sam("deploy", *chosen, "--region", region, *(["--no-confirm-changeset"] if options.yes else []))
    outputs = protect(session, stack, terminal)
    terminal.say(f"\nThe redirect URI to register, with each provider's name: {outputs.get('RedirectUri', '')}")
    if answers.read_parameter("AlertEmail"):
        terminal.say("AWS has sent a message to the address for alerts. Confirm it, or no alert arrives.")
    terminal.say("Next: .venv/bin/evergrant client set PROVIDER")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make deploy", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--config-env", default="default", help="the environment of samconfig.toml")
    parser.add_argument("--region", help="where nothing is configured")
    parser.add_argument("--alert-email", metavar="ADDRESS", help="who gets alerts; empty for none")
    parser.add_argument("--yes", action="store_true", help="deploy without asking whether the changes are right")
    options = parser.parse_args(arguments)
    try:
        deploy(options, Terminal(input, print, sys.stdin.isatty()))
    except DeployError as error:
        print(f"✗ {error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, EOFError):
        print("\nNothing more was done.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
