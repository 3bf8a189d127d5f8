"""`make demo`: see Evergrant keep six connections alive, and end with proof that it did.

Nothing is speeded up inside Evergrant: only the simulated providers issue tokens that live for a minute, so that
what takes hours or days in production is seen in minutes. The schedule does all the work, while a consumer in a
stack of its own calls the protected APIs without a pause.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

from rich.console import Console
from rich.markup import escape

from evergrant.secret_names import token_secret_name
from local.browser import BrowsingError
from local.connections import CONNECTIONS
from local.consumer_stack import Consumer, deploy_consumer
from local.observation import Observation, Observed
from local.providers import DIALECTS
from local.schedule_watch import watch
from local.terminal import Steps
from local.tools import STATE, LocalRunError, end_on_signals
from local.world import World, local_world

ACCESS_TOKEN_SECONDS = 60
SETTINGS: Mapping[str, Mapping[str, object]] = {
    **{name: {"access_token_lifetime": ACCESS_TOKEN_SECONDS} for name in DIALECTS},
    # A log-in that ends 45 seconds after it, refreshed or not: every second refresh is refused.
    "investsuite": {
        "access_token_lifetime": ACCESS_TOKEN_SECONDS,
        "refresh_token_lifetime": 45,
        "single_use_refresh_tokens": False,
    },
}

ROTATIONS = 3
"""How many rotations of each connection the schedule must bring about."""

MOST_SECONDS = 150.0
"""When to stop waiting for them: each token is refreshed in the first half of its life, so 90 should be enough."""

HOW = {
    "authorization_code": "by link and consent page, in a browser",
    "client_credentials": "by the client's own credentials",
    "login": "by a log-in",
}


def main() -> int:
    """Run the demo; the exit status is 0 only if everything held."""
    steps = Steps(Console(highlight=False))
    home = STATE / "demo"
    try:
        with end_on_signals(), local_world(home, steps, settings=SETTINGS) as world:
            with steps.step("Deploying a consumer beside it") as say:
                consumer = deploy_consumer(world, home, say)
            for connection in CONNECTIONS:
                with steps.step(f"Connecting {connection.name} {HOW[connection.grant]}"):
                    world.connect(connection)
            held = observe(world, consumer, steps)
    except KeyboardInterrupt:
        steps.line("\nStopped. Nothing is left running.")
        return 130
    except (LocalRunError, BrowsingError) as error:
        steps.line(f"[red]✗[/] {escape(str(error))}")
        return 1
    verdict = "[green]All of it held.[/]" if held else "[red]Not all of it held.[/]"
    steps.line(f"\n{verdict} {steps.elapsed:.0f} s in all; nothing is left running. Logs: {home}")
    return 0 if held else 1


def observe(world: World, consumer: Consumer, steps: Steps) -> bool:
    """Let the schedule work while the consumer calls, and say whether everything held."""
    observation = Observation(
        [Observed(connection, world.providers[connection.provider.name]) for connection in CONNECTIONS]
    )
    steps.line(
        f"\nThe schedule takes over. Every token lives for {ACCESS_TOKEN_SECONDS} seconds; until each connection has "
        f"been rotated {ROTATIONS} times, which takes about a minute and a half, a consumer calls the APIs without "
        "a pause.\n"
    )
    targets = [world.target(connection) for connection in CONNECTIONS]
    watch(consumer, observation, targets, steps, rotations=ROTATIONS, most_seconds=MOST_SECONDS)
    for seen in observation.observed:
        seen.read_from = "Secrets Manager" if has_secret(world, seen.name) else "getter"
    steps.console.print(observation.table(final=True))
    ticked = ticks(world)
    explain(observation, ticked, steps)
    failures = observation.failures(ROTATIONS) + stranded(world)
    if not ticked:
        failures.append("EventBridge never started the scheduler.")
    for failure in failures:
        steps.line(f"[red]✗[/] {escape(failure)}")
    return not failures


def explain(observation: Observation, ticked: int, steps: Steps) -> None:
    """Say what the table does not."""
    oldest = max(seen.oldest for seen in observation.observed)
    replays = [seen.replay() for seen in observation.observed]
    replayed, refused = (sum(counts) for counts in zip(*replays, strict=True))
    steps.line(f"Refresh tokens that had been rotated away were replayed at the end: {refused} of {replayed} refused.")
    steps.line(f"Oldest token that came with a call: {oldest:.0f} s of {ACCESS_TOKEN_SECONDS} s.")
    for seen in observation.observed:
        if seen.log_ins > 1:
            times = "once" if seen.log_ins == 2 else f"{seen.log_ins - 1} times"
            steps.line(f"{seen.name} had its refresh token refused {times}, and was logged in again.")
    steps.line(f"Ticks of EventBridge: {ticked}; what fell due between two ticks went through the queue by itself.")


def has_secret(world: World, connection: str) -> bool:
    """Whether consumers find the connection's token in Secrets Manager."""
    secrets = world.aws.client("secretsmanager")
    try:
        secrets.describe_secret(SecretId=token_secret_name(world.stack.outputs["SecretPrefix"], connection))
    except secrets.exceptions.ResourceNotFoundException:
        return False
    return True


def ticks(world: World) -> int:
    """How often the schedule had the scheduler look for what is due, by the scheduler's own log."""
    functions, logs = world.aws.client("lambda"), world.aws.client("logs")
    function = functions.get_function(FunctionName=world.stack.outputs["SchedulerFunctionArn"])["Configuration"]
    events = logs.filter_log_events(logGroupName=function["LoggingConfig"]["LogGroup"])["events"]
    return sum('"message":"tick"' in event["message"] for event in events)


def stranded(world: World) -> list[str]:
    """Work that crashed until it was given up, and ticks that failed."""
    found = []
    for output in ("RotationDeadLetterQueueUrl", "SchedulerDeadLetterQueueUrl"):
        attributes = world.aws.client("sqs").get_queue_attributes(
            QueueUrl=world.stack.outputs[output], AttributeNames=["ApproximateNumberOfMessages"]
        )["Attributes"]
        if attributes["ApproximateNumberOfMessages"] != "0":
            found.append(f"{output} holds {attributes['ApproximateNumberOfMessages']} messages.")
    return found


if __name__ == "__main__":
    sys.exit(main())
