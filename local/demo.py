"""`make demo`: see Evergrant keep two connections alive, and end with proof that it did.

Nothing is speeded up inside Evergrant: only the simulated providers issue tokens that live for about a minute, so
that what takes days in production is seen in minutes. The schedule does all the work, while a consumer in a stack
of its own calls the protected APIs without a pause.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

from rich.console import Console
from rich.markup import escape

from local.browser import BrowsingError
from local.consumer_stack import Consumer, deploy_consumer
from local.observation import Connection, Observation
from local.terminal import Steps
from local.tools import STATE, LocalRunError, ended_by_signals
from local.watching import watch
from local.world import World, local_world

ACCESS_TOKEN_SECONDS = {"keap": 70, "wealthyhood": 60}
ROTATIONS = 3
"""How many rotations of each connection the schedule must bring about."""

MOST_SECONDS = 210.0
"""When to stop waiting for them: the first tick comes a minute after the deployment, the rest within two more."""


def main() -> int:
    """Run the demo; the exit status is 0 only if everything held."""
    steps = Steps(Console(highlight=False))
    home = STATE / "demo"
    lifetimes: Mapping[str, Mapping[str, object]] = {
        name: {"access_token_lifetime": seconds} for name, seconds in ACCESS_TOKEN_SECONDS.items()
    }
    try:
        with ended_by_signals(), local_world(home, steps, settings=lifetimes) as world:
            with steps.step("Deploying a consumer beside it") as say:
                consumer = deploy_consumer(world, home, say)
            for name in ACCESS_TOKEN_SECONDS:
                with steps.step(f"Connecting {name}/main" + (", consent page and all" if name == "keap" else "")):
                    world.connect(name)
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
        [
            Connection("keap/main", world.keap, {}, issues_refresh_tokens=True),
            Connection("wealthyhood/main", world.wealthyhood, {"x-user-id": "user-1"}, issues_refresh_tokens=False),
        ]
    )
    steps.line(
        f"\nThe schedule takes over. The tokens live for {ACCESS_TOKEN_SECONDS['keap']} and "
        f"{ACCESS_TOKEN_SECONDS['wealthyhood']} seconds; until each has been rotated {ROTATIONS} times, a consumer "
        "calls both APIs without a pause, with the tokens it finds in Secrets Manager.\n"
    )
    watch(consumer, observation, steps, rotations=ROTATIONS, most_seconds=MOST_SECONDS)
    steps.console.print(observation.table(final=True))
    ticked = ticks(world)
    steps.line(f"Ticks of EventBridge: {ticked}; what fell due between two ticks went through the queue by itself.")
    failures = observation.failures(ROTATIONS) + stranded(world)
    if not ticked:
        failures.append("EventBridge never started the scheduler.")
    for failure in failures:
        steps.line(f"[red]✗[/] {escape(failure)}")
    return not failures


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
