"""The way to the providers: each request meets the script, the server, and the time that both take."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from urllib.parse import urlsplit

from evergrant.errors import LostResponse, NotSent
from evergrant.http_messages import HttpRequest, HttpResponse
from evergrant.profiles.request_specs import TokenRequest
from tests.simulation import responses, servers
from tests.simulation.ledger import Ledger, Sending
from tests.simulation.scripts import Answer, Known, Script
from tests.simulation.servers import AuthorizationServer
from tests.simulation.timeline import Timeline

#: How long a provider takes to answer, in seconds.
USUAL_LATENCY_SECONDS = (0.1, 0.6)


class Internet:
    """The protocols' ``Provider``. ``sent`` sees each request before it is acted upon, ``acted`` after it."""

    def __init__(self, timeline: Timeline, random: Random, ledger: Ledger, script: Script) -> None:
        self._timeline = timeline
        self._random = random
        self._ledger = ledger
        self._script = script
        self._endpoints: dict[str, tuple[AuthorizationServer, dict[str, TokenRequest]]] = {}
        #: Connections whose refresh an operator forces at this moment.
        self.forced: set[str] = set()
        self.sent: Callable[[Sending], None] = lambda _: None
        self.acted: Callable[[Sending], None] = lambda _: None

    def add_endpoint(self, url: str, server: AuthorizationServer, phase: str, spec: TokenRequest) -> None:
        self._endpoints.setdefault(url, (server, {}))[1][phase] = spec

    def send(self, request: HttpRequest, *, hosts: tuple[str, ...], timeout: float) -> HttpResponse:
        assert timeout > 0, "nothing may be sent when the time for it is over"
        parts = urlsplit(request.url)
        if parts.netloc not in hosts:
            raise NotSent("The host is not one of the client's.")
        url = f"{parts.scheme}://{parts.netloc}{parts.path}"
        server, specs = self._endpoints[url]
        params = servers.read_params(next(iter(specs.values())), request)
        if "token" in params:
            return self._revoke(server, params["token"])
        spec = _choose_spec(specs, has_refresh_token="refresh_token" in params)
        client_id, _ = servers.read_client(spec, request, params)
        connection = server.identify(params, client_id)
        assert connection is not None, "a refresh token that no server has issued"
        sending = self._note(server, url, connection, params.get("refresh_token"))
        trouble = self._script.find(server.profile.name, connection, sending.at, self._random.random)
        answer = trouble.answer if trouble else None
        sending.truth = trouble.truth if trouble else None
        response = None
        if answer is None or answer.acts:
            response = server.handle(spec, request, params, sending.at)
            sending.access_token = server.grants_of[connection][-1].newest
            self.acted(sending)
        return self._deliver(server, sending, answer, response, timeout)

    def _note(self, server: AuthorizationServer, url: str, connection: str, token: str | None) -> Sending:
        name, now = server.profile.name, self._timeline.time
        sending = Sending(now, url, name, connection, token, connection in self.forced)
        self.sent(sending)
        self._ledger.tracks[connection].sent(sending)
        self._ledger.endpoint(url).sent(sending)
        return sending

    def _deliver(
        self,
        server: AuthorizationServer,
        sending: Sending,
        answer: Answer | None,
        response: HttpResponse | None,
        timeout: float,
    ) -> HttpResponse:
        """Let the time pass, and return or raise what arrives."""
        seconds = answer.seconds if answer else None
        if seconds is None:
            seconds = self._random.uniform(*USUAL_LATENCY_SECONDS)
        try:
            self._timeline.sleep(min(seconds, timeout))
        except BaseException:  # the worker is killed
            self._conclude(sending, "lost", None)
            raise
        if seconds >= timeout:
            self._conclude(sending, "lost", None)
            raise LostResponse("made to be late")
        if answer and answer.failure:
            self._conclude(sending, answer.known, None)
            raise answer.failure()
        if answer and answer.response:
            response = answer.response(self._timeline.time + server.skew)
        assert response is not None
        if answer and answer.change:
            response = answer.change(response, self._timeline.time + server.skew)
        self._conclude(sending, _classify(answer, response), response)
        return response

    def _conclude(self, sending: Sending, known: Known, response: HttpResponse | None) -> None:
        sending.known, sending.answered_at = known, self._timeline.time
        wait = ""
        if response is not None:
            sending.status = response.status
            wait = response.headers.get("retry-after", "")
            sending.wait = min(int(wait), 3600) if wait.isdecimal() else 0
        track = self._ledger.tracks[sending.connection]
        track.last_answer = sending
        if known == "granted" and response is not None:
            track.received[sending.access_token] = sending.answered_at
        if known != "granted":
            self._ledger.note(sending.answered_at, sending.connection, f"{sending.status or ''} {known} {wait}".strip())

    def _revoke(self, server: AuthorizationServer, token: str) -> HttpResponse:
        """RFC 7009 section 2.2: a token that is not valid is answered as one that was revoked."""
        number = token.split(".")[1] if token.count(".") == 2 else ""
        grant = server.grants.get(int(number)) if number.isdecimal() else None
        if grant and token == grant.live:
            grant.die("it was revoked")
        return responses.answer(200, b"", self._timeline.time)


def _choose_spec(specs: dict[str, TokenRequest], *, has_refresh_token: bool) -> TokenRequest:
    if has_refresh_token:
        return specs["refresh"]
    return next(spec for phase, spec in specs.items() if phase not in ("refresh", "revoke"))


def _classify(answer: Answer | None, response: HttpResponse) -> Known:
    if answer is not None and not (answer.known == "granted" and response.status >= 400):
        return answer.known
    if 200 <= response.status < 300:
        return "granted"
    return "unclear" if response.status >= 500 else "refused"
