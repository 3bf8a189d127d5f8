"""`make demo`: Evergrant keeps six connections alive, and a summary proves it.

The simulated providers issue tokens that live for a minute, so that minutes show what takes hours or days in
production. Nothing else is faster than there. The schedule does all the work, while a consumer in a stack of its own
calls the protected APIs without a pause.
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
    # A log-in expires after 45 seconds, refreshed or not: the provider refuses every second refresh.
    "investsuite": {
        "access_token_lifetime": ACCESS_TOKEN_SECONDS,
        "refresh_token_lifetime": 45,
        "single_use_refresh_tokens": False,
    },
}

MIN_ROTATIONS = 3
"""How many rotations of each connection the demo waits for."""

MAX_SECONDS = 150.0
"""How long the demo waits for them. Each token is refreshed at half of its lifetime, so that 90 are enough."""

GRANT_TEXTS = {
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
                with steps.step(f"Connecting {connection.name} {GRANT_TEXTS[connection.grant]}"):
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
    """Let the schedule work while the consumer calls; return whether everything held."""
    observation = Observation(
        [Observed(connection, world.providers[connection.provider.name]) for connection in CONNECTIONS]
    )
    steps.line(
        f"\nThe schedule takes over. Every token lives for {ACCESS_TOKEN_SECONDS} seconds; until each connection has "
        f"been rotated {MIN_ROTATIONS} times, which takes about a minute and a half, a consumer calls the APIs without "
        "a pause.\n"
    )
    targets = [world.target(connection) for connection in CONNECTIONS]
    watch(consumer, observation, targets, steps, rotations=MIN_ROTATIONS, max_seconds=MAX_SECONDS)
    for seen in observation.observed:
        seen.read_from = "Secrets Manager" if has_secret(world, seen.name) else "getter"
    steps.console.print(observation.build_table(final=True))
    ticked = count_ticks(world)
    explain(observation, ticked, steps)
    failures = observation.find_failures(MIN_ROTATIONS) + find_dead_letters(world)
    if not ticked:
        failures.append("EventBridge never started the scheduler.")
    for failure in failures:
        steps.line(f"[red]✗[/] {escape(failure)}")
    return not failures


def explain(observation: Observation, ticked: int, steps: Steps) -> None:
    """Print what the table does not show."""
    oldest = max(seen.oldest for seen in observation.observed)
    replays = [seen.replay() for seen in observation.observed]
    replayed, refused = (sum(counts) for counts in zip(*replays, strict=True))
    steps.line(f"Rotated refresh tokens that were replayed at the end: {refused} of {replayed} refused.")
    steps.line(f"Oldest token in a call: {oldest:.0f} s of {ACCESS_TOKEN_SECONDS} s.")
    for seen in observation.observed:
        if seen.log_ins > 1:
            times = "once" if seen.log_ins == 2 else f"{seen.log_ins - 1} times"
            steps.line(f"{seen.name} had its refresh token refused {times}, and logged in again.")
    steps.line(f"Ticks of EventBridge: {ticked}; connections due between two ticks went through the queue.")


def has_secret(world: World, connection: str) -> bool:
    """Whether Secrets Manager has the connection's token."""
    secrets = world.aws.client("secretsmanager")
    try:
        secrets.describe_secret(SecretId=token_secret_name(world.stack.outputs["SecretPrefix"], connection))
    except secrets.exceptions.ResourceNotFoundException:
        return False
    return True


def count_ticks(world: World) -> int:
    """Count the ticks, by the scheduler's own log."""
    functions, logs = world.aws.client("lambda"), world.aws.client("logs")
    function = functions.get_function(FunctionName=world.stack.outputs["SchedulerFunctionArn"])["Configuration"]
    events = logs.filter_log_events(logGroupName=function["LoggingConfig"]["LogGroup"])["events"]
    return sum('"message":"tick"' in event["message"] for event in events)


def find_dead_letters(world: World) -> list[str]:
    """Describe the messages in the dead-letter queues: rotations and ticks that failed."""
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
