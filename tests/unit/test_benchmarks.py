"""Protects the benchmark of rotation: the AWS in its process knows each call that a refresh makes."""

from __future__ import annotations

from benchmarks import rotation
from benchmarks.fake_aws import FakeAws
from evergrant.http_messages import HttpRequest, HttpResponse
from tests.unit.memory import answer

TOKENS = {"access_token": "access-1", "refresh_token": "refresh-1", "expires_in": 86_400, "token_type": "Bearer"}


class _Provider:
    """Grants each refresh."""

    def send(self, request: HttpRequest, *, hosts: tuple[str, ...], timeout: float) -> HttpResponse:
        del request, hosts, timeout
        return answer(200, TOKENS)


def test_the_benchmark_of_rotation_refreshes_its_connections() -> None:
    with FakeAws(0).installed() as aws, rotation._stage(aws, _Provider(), "127.0.0.1:9", rotation.WARM_UP):
        records = [item for key, item in aws.items.items() if key.startswith("connection#")]
    assert [item["generation"]["N"] for item in records] == ["2"] * rotation.WARM_UP
