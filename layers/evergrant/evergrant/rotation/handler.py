"""rotator's two ways in: a batch of the rotation queue, and a request that waits for its answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from threading import Lock
from traceback import walk_tb
from typing import Any

from ..adapters.observability import MetricUnit, logger, metrics
from ..errors import EvergrantError, InvalidRequest, TemporarilyUnavailable, UnknownConnection
from ..names import split_connection
from ..ports import Clock, PortUnavailable, RotationPorts
from ..record import queued_save, queued_wakeup, token_document
from . import revocation
from .demand import Result, TokenDemand, build_warning
from .rotation import Rotation

#: A record of the batch is begun only if this many seconds are left; else it is handed back.
_MIN_SECONDS_TO_BEGIN = 20.0
_MAX_WAIT_SECONDS = 25
#: How many of a batch's messages are worked on at once: all of them, see the template's BatchSize. As many as half of
#: them ask their providers at the same time; meanwhile the others are prepared, saved and published.
_MAX_SIDE_BY_SIDE, MAX_AT_PROVIDERS = 10, 5
#: Beside the invocation's own thread. Kept from one batch to the next: to start them takes as much CPU as three calls
#: of AWS.
_workers = ThreadPoolExecutor(_MAX_SIDE_BY_SIDE - 1)
#: Metrics are not made for threads.
_counting = Lock()
#: The metric of passes that a service of AWS kept from their work. The next one comes by itself, so that nothing else
#: tells of a table that takes no write: the template's alarm looks whether it goes on.
DEPENDENCY_ERRORS = "DependencyErrors"


def process_batch(
    begin: Callable[[], Rotation], messages: Sequence[Mapping[str, Any]], clock: Clock, deadline: float
) -> dict[str, Any]:
    """Work through a batch of SQS messages side by side: most of a refresh is waiting for the provider.

    Parameters
    ----------
    begin
        Makes a worker of its own for each message.

    Returns
    -------
    dict
        ``batchItemFailures`` (Lambda developer guide, "Reporting batch item failures"): messages whose work was not
        begun in time, or failed for a reason that another worker may not meet. What a provider or a service refused
        is no failure of the message: its next try is in the record.
    """

    def done(message: Mapping[str, Any]) -> bool:
        return deadline - clock.now() >= _MIN_SECONDS_TO_BEGIN and _process_message(begin(), message["body"])

    others = [_workers.submit(done, message) for message in messages[1:]]
    try:
        are_done = [done(message) for message in messages[:1]]  # by this thread, which would only wait
    finally:
        wait(others)  # for all of them, even where one fails as nobody foresaw
    are_done += [outcome.result() for outcome in others]
    handed_back = [message["messageId"] for message, is_done in zip(messages, are_done, strict=True) if not is_done]
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in handed_back]}


def _process_message(rotation: Rotation, body: str) -> bool:
    """Whether the message is done with."""
    try:
        task = json.loads(body)
        connection = task["connection"]
        split_connection(connection)
    except (ValueError, TypeError, KeyError, RecursionError, InvalidRequest):
        logger.error("unreadable message")  # handed back alone, until it is a dead letter
        return False
    try:
        return process_task(rotation, task)
    except EvergrantError as error:
        # Its own message alone is handed back, and is a dead letter in the end; the rest of the batch goes on.
        logger.error("rotation failed", connection=connection, code=error.code)
        return False
    except Exception as error:  # noqa: BLE001 - a mistake of ours, or of the message, which must not take others along
        # Its kind and its place, and never its text, which may hold anything.
        logger.error("unexpected failure", connection=connection, reason=type(error).__name__, at=_place(error))
        return False


def _place(error: Exception) -> str:
    """Where an error was raised, as ``module:line`` from the outside in."""
    return " ".join(f"{frame.f_globals.get('__name__')}:{line}" for frame, line in walk_tb(error.__traceback__))


def process_task(rotation: Rotation, task: Mapping[str, Any]) -> bool:
    """Do what a message says. Whether it is done with: a token set that is in no record has only its message."""
    connection, kind = task["connection"], task.get("task")
    only_here = kind in (queued_save.TASK, revocation.TASK)
    try:
        if kind == queued_save.TASK:
            if not rotation.save_from_queue(task):
                _count(DEPENDENCY_ERRORS)
                logger.warning("not saved yet", connection=connection, resent=task.get("resent", 0) + 1)
                return True
            only_here = False
        if kind == revocation.TASK:
            logger.info("revocation", connection=connection, outcome=rotation.revoke_from_queue(task))
            return True
        result = rotation.run(TokenDemand(connection, woken=kind == queued_wakeup.TASK))
    except UnknownConnection:
        logger.warning("unknown connection", connection=connection)
        return True
    except PortUnavailable as error:
        # What is due is sent again by the claim on the due index, which runs out soon.
        rotation.dependency_errors.append(str(error))
        return not only_here
    finally:
        _report_errors(rotation.dependency_errors, connection)
    _count_outcome(result)
    logger.info(
        "rotation",
        connection=connection,
        outcome=result.outcome,
        status=result.connection.status,
        generation=result.connection.generation,
        last_error=result.connection.last_error,
    )
    # What is due is found again by its claim; who was woken has only this message.
    return not (result.outcome == "no_time" and kind == queued_wakeup.TASK)


def handle_request(rotation: Rotation, ports: RotationPorts, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer a request with a token document, or ``{"error": {...}}``.

    With ``reparse``, the content hash of a profile, an answer that could not be read is read by that profile first.
    With ``revoke``, the grant of a disconnected connection is revoked and forgotten, and ``{"revocation": …}`` says how
    that went.
    """
    try:
        ask = parse_demand(request)
        try:
            if request.get("revoke") is True:
                outcome = rotation.revoke_and_forget(ask.connection)
                logger.info("revocation", connection=ask.connection, outcome=outcome)
                return {"connection": ask.connection, "revocation": outcome}
            if "reparse" in request:
                rotation.reparse(ask.connection, _profile_hash(request["reparse"]))
            result = rotation.run(ask)
            return _document_of(result, ask, ports)
        except PortUnavailable as error:
            rotation.dependency_errors.append(str(error))
            raise TemporarilyUnavailable("A service of AWS that this needs does not answer.", 10) from error
        finally:
            _report_errors(rotation.dependency_errors, ask.connection)
    except EvergrantError as error:
        logger.info("request refused", code=error.code)
        return {"error": error.as_dict()}


def _document_of(result: Result, ask: TokenDemand, ports: RotationPorts) -> dict[str, Any]:
    """The token document, with a warning where there is something to know of its connection."""
    tokens = result.tokens
    if tokens is None:
        return {"error": TemporarilyUnavailable(f"{ask.connection} has no token yet.", 5).as_dict()}
    profile = ports.profiles.load_pinned(result.connection.profile_hash)
    logger.info("request answered", connection=ask.connection, outcome=result.outcome)
    _count_outcome(result)
    document = token_document.build_document(result.connection, profile, tokens)
    answered = token_document.build_response(document, tokens.expires_at, ports.clock.now())
    warned = build_warning(result, ask, profile.rotation.minimum_age, int(ports.clock.now()))
    return {**answered, "warning": warned} if warned else answered


def _profile_hash(value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidRequest("reparse must be the content hash of a profile.")
    return value


def _count(name: str) -> None:
    """Three metrics and no more: each costs as much a month as a secret."""
    with _counting:
        metrics.add_metric(name, MetricUnit.Count, 1)


def _report_errors(dependency_errors: Sequence[str], connection: str) -> None:
    """What services of AWS kept a pass from doing, in numbers and in the log: nothing else may tell of that."""
    if dependency_errors:
        _count(DEPENDENCY_ERRORS)
        logger.error("service unavailable", connection=connection, reason="; ".join(dependency_errors))


def _count_outcome(result: Result) -> None:
    """What became of a pass, in numbers."""
    name = {"rotated": "Rotations", "failed": "RotationFailures"}.get(result.outcome)
    if name:
        _count(name)


def parse_demand(request: Mapping[str, Any]) -> TokenDemand:
    """Read a request of getter or of an operator.

    Raises
    ------
    InvalidRequest
        Naming the field at fault.
    """
    connection = request.get("connection")
    split_connection(connection)
    min_ttl, wait = request.get("min_ttl", 0), request.get("wait", _MAX_WAIT_SECONDS)
    rejected = request.get("rejected")
    for field, value in (("min_ttl", min_ttl), ("wait", wait)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 10**8:
            raise InvalidRequest(f"{field} must be a number of seconds.")
    if rejected is not None and not isinstance(rejected, str):
        raise InvalidRequest("rejected must be the fingerprint of the refused token.")
    return TokenDemand(
        connection=str(connection),
        caller_waits=True,
        min_ttl=int(min_ttl),
        rejected=rejected,
        force=request.get("force") is True,
        wait=min(wait, _MAX_WAIT_SECONDS),
    )
