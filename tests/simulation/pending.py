"""Rules that the simulation judges by and the code does not keep yet, each with what is missing.

A line goes with the change that keeps its rule: a test that passes although it is listed here fails.
"""

from __future__ import annotations

#: Invariants that random mixes do without, by name.
INVARIANTS: dict[str, str] = {
    "an_open_endpoint_gets_a_request_in_15_s": "a probe that the queue delivers late may follow another within seconds",
    "an_open_client_gets_a_request_in_15_s": "a refused connection comes at its own time, beside the client's probe",
    "one_alert_for_one_trouble": "a connection that is refused by its client, then otherwise, is reported twice",
}
#: Tests of scenarios, by the name, with their parameters where only some of them wait.
TESTS: dict[str, str] = {}
#: The same for the refused connections: the way of refusing, and how many.
REFUSALS: dict[str, str] = {}
