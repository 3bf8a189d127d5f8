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
from ..names import MAX_REQUEST_SECONDS, split_connection
from ..ports import Clock, PortUnavailable, RotationPorts
from ..record import queued_dispatch, queued_save, queued_wakeup, token_document
from ..record.failures import Reason
from . import revocation
from .connection_pass import Rotation
from .refresh_demand import Result, TokenDemand, build_warning

#: A message of the batch is begun only if so much time is left; otherwise it is handed back.
_MIN_SECONDS_TO_BEGIN = 20.0
_MAX_WAIT_SECONDS = 25
#: All messages of a batch are processed at once (see the template's BatchSize). Half of them wait for their providers
#: at the same time, while the others are prepared, saved and published.
_MAX_SIDE_BY_SIDE, MAX_AT_PROVIDERS = 10, 5
#: Beside the invocation's own thread. They stay from one batch to the next: starting them takes as much CPU as three
#: calls of AWS.
_workers = ThreadPoolExecutor(_MAX_SIDE_BY_SIDE - 1)
#: Powertools' metrics are not thread-safe.
_counting = Lock()
#: Counts the passes in which a service of AWS failed. The next pass repeats the work, so only this metric, and the
#: template's alarm on it, reports a table that takes no write.
DEPENDENCY_ERRORS = "DependencyErrors"


def process_batch(
    begin: Callable[[], Rotation], messages: Sequence[Mapping[str, Any]], clock: Clock, deadline: float
) -> dict[str, Any]:
    """Process a batch of SQS messages side by side: most of a refresh is waiting for the provider.

    Parameters
    ----------
    begin
        Makes a worker of its own for each message.

    Returns
    -------
    dict
        ``batchItemFailures`` (Lambda developer guide, "Reporting batch item failures"): messages whose work was not
        begun in time, or that failed for a reason that another worker may not meet. A refusal by a provider or a
        service is no failure of the message: the record plans the next try.
    """

    def done(message: Mapping[str, Any]) -> bool:
        return deadline - clock.now() >= _MIN_SECONDS_TO_BEGIN and _process_message(begin(), message["body"])

    others = [_workers.submit(done, message) for message in messages[1:]]
    try:
        are_done = [done(message) for message in messages[:1]]  # by this thread, which would only wait
    finally:
        wait(others)  # for all of them, even after an unexpected error
    are_done += [outcome.result() for outcome in others]
    handed_back = [message["messageId"] for message, is_done in zip(messages, are_done, strict=True) if not is_done]
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in handed_back]}


def _process_message(rotation: Rotation, body: str) -> bool:
    """Process one message. Returns whether it is done with."""
    try:
        task = json.loads(body)
        if task.get("task") == queued_dispatch.DISPATCH:
            connection = str(task["circuit"])
        else:
            connection = task["connection"]
            split_connection(connection)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, InvalidRequest):
        logger.error("unreadable message")  # handed back alone, until it is a dead letter
        return False
    try:
        return process_task(rotation, task)
    except EvergrantError as error:
        # This message alone is handed back, and becomes a dead letter; the rest of the batch goes on.
        logger.error("rotation failed", connection=connection, code=error.code)
        return False
    except Exception as error:  # noqa: BLE001 - a mistake of ours, or of the message, must not affect the others
        # Its kind and its place, and never its text, which may hold a secret.
        logger.error("unexpected failure", connection=connection, reason=type(error).__name__, at=_locate(error))
        return False


def _locate(error: Exception) -> str:
    """Return where an error was raised, as ``module:line`` from the outside in."""
    return " ".join(f"{frame.f_globals.get('__name__')}:{line}" for frame, line in walk_tb(error.__traceback__))


def process_task(rotation: Rotation, task: Mapping[str, Any]) -> bool:
    """Do what a message says. Returns whether it is done with: an unsaved token set has only its message."""
    kind = task.get("task")
    if kind == queued_dispatch.DISPATCH:
        return _dispatch(rotation, task["circuit"])
    connection = task["connection"]
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
        result = rotation.run(_parse_queued_demand(task))
    except UnknownConnection:
        logger.warning("unknown connection", connection=connection)
        return True
    except PortUnavailable as error:
        # The claim on the due index expires soon, and the next tick sends the message again.
        rotation.dependency_errors.append(str(error))
        return not only_here
    finally:
        _report_errors(rotation.dependency_errors, connection)
        _report_failure(rotation.failure, connection)
    _count_outcome(result)
    logger.info(
        "rotation",
        connection=connection,
        outcome=result.outcome,
        status=result.connection.status,
        generation=result.connection.generation,
        last_error=result.connection.last_error,
        expiry_doubt=result.connection.expiry_doubt,
    )
    # A tick finds again what is due; a connection that was woken has only this message.
    return not (result.outcome == "no_time" and kind == queued_wakeup.TASK)


def _parse_queued_demand(task: Mapping[str, Any]) -> TokenDemand:
    kind = task.get("task")
    if kind == queued_dispatch.PROBE:
        return TokenDemand(task["connection"], probe_of=task.get("circuit"), probe_claim=task.get("claimed_until"))
    return TokenDemand(task["connection"], woken=kind == queued_wakeup.TASK)


def _dispatch(rotation: Rotation, circuit: str) -> bool:
    """Send what a circuit held back. Where that fails, the next tick finds it due."""
    try:
        done = rotation.dispatch(circuit)
    except PortUnavailable as error:
        _report_errors([str(error)], circuit)
        return True
    logger.info("dispatch", circuit=circuit, claimed=done.claimed, sent=done.sent, left=done.left)
    return True


def handle_request(rotation: Rotation, ports: RotationPorts, request: Any) -> dict[str, Any]:
    """Answer a request with a token document, or ``{"error": {...}}``.

    ``reparse``, the content hash of a profile, reads the kept response by that profile first. ``revoke`` revokes and
    forgets the grant of a disconnected connection; ``{"revocation": …}`` is the outcome.
    """
    try:
        demand = parse_demand(request)
        try:
            if request.get("revoke") is True:
                outcome = rotation.revoke_and_forget(demand.connection)
                logger.info("revocation", connection=demand.connection, outcome=outcome)
                return {"connection": demand.connection, "revocation": outcome}
            if "reparse" in request:
                rotation.reparse(demand.connection, _read_profile_hash(request["reparse"]))
            result = rotation.run(demand)
            return _build_answer(result, demand, ports)
        except PortUnavailable as error:
            rotation.dependency_errors.append(str(error))
            raise TemporarilyUnavailable("A service of AWS that this needs does not answer.", 10) from error
        finally:
            _report_errors(rotation.dependency_errors, demand.connection)
            _report_failure(rotation.failure, demand.connection)
    except EvergrantError as error:
        logger.info("request refused", code=error.code)
        return {"error": error.as_dict()}


def _build_answer(result: Result, demand: TokenDemand, ports: RotationPorts) -> dict[str, Any]:
    """Build the token document, with a warning where the connection has a trouble."""
    tokens = result.tokens
    if tokens is None:
        return {"error": TemporarilyUnavailable(f"{demand.connection} has no token yet.", 5).as_dict()}
    profile = ports.profiles.load_pinned(result.connection.profile_hash)
    logger.info("request answered", connection=demand.connection, outcome=result.outcome)
    _count_outcome(result)
    document = token_document.build_document(result.connection, profile, tokens)
    response = token_document.build_response(document, tokens.expires_at, ports.clock.now())
    warning = build_warning(result, demand, profile.rotation.minimum_age, int(ports.clock.now()))
    return {**response, "warning": warning} if warning else response


def _read_profile_hash(value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidRequest("reparse must be the content hash of a profile.")
    return value


def _count(name: str) -> None:
    """Count one of three metrics. There are no more, since each costs as much a month as a secret."""
    with _counting:
        metrics.add_metric(name, MetricUnit.Count, 1)


def _report_errors(dependency_errors: Sequence[str], connection: str) -> None:
    """Report the calls that services of AWS refused, as a metric and in the log: nothing else may report them."""
    if dependency_errors:
        _count(DEPENDENCY_ERRORS)
        logger.error("service unavailable", connection=connection, reason="; ".join(dependency_errors))


def _report_failure(reason: Reason | None, connection: str) -> None:
    """Log what the provider answered, or why it did not."""
    if reason is not None:
        logger.warning(
            "refresh failed", connection=connection, code=reason.code, http_status=reason.status, detail=reason.detail
        )


def _count_outcome(result: Result) -> None:
    """Count how a pass ended."""
    name = {"rotated": "Rotations", "failed": "RotationFailures"}.get(result.outcome)
    if name:
        _count(name)


def parse_demand(request: Any) -> TokenDemand:
    """Parse a request of getter or of an operator.

    Raises
    ------
    InvalidRequest
        Naming the field at fault.
    """
    if not isinstance(request, dict):
        raise InvalidRequest("The request is not an object.", 'Write {"connection": "provider/account"}.')
    connection, rejected = request.get("connection"), request.get("rejected")
    split_connection(connection)
    if rejected is not None and not isinstance(rejected, str):
        raise InvalidRequest("rejected must be the fingerprint of the rejected token.")
    return TokenDemand(
        connection=str(connection),
        caller_waits=True,
        min_ttl=int(_read_seconds(request, "min_ttl", 0)),
        rejected=rejected,
        force=request.get("force") is True,
        wait=min(_read_seconds(request, "wait", _MAX_WAIT_SECONDS), _MAX_WAIT_SECONDS),
    )


def _read_seconds(request: Mapping[str, Any], name: str, default: int) -> int | float:
    value = request.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_REQUEST_SECONDS:
        raise InvalidRequest(f"{name} must be a number of seconds, at most {MAX_REQUEST_SECONDS}.")
    return value
