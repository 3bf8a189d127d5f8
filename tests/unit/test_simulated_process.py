"""Protects the simulated providers as a process: it says in one line where they are, on the loopback interface
only, prints nothing else, and ends cleanly when asked to.
"""

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from local.providers import DIALECTS

_ROOT = Path(__file__).parents[2]
_CLIENTS = {
    "wealthyhood": [{"client_id": "app-1", "client_secret": "s3cret"}],
    "investsuite": [{"client_id": "key-1", "client_secret": "s3cret", "username": "ada", "password": "pa55"}],
}


def _start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "local.providers", *arguments],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_process_prints_its_addresses_serves_and_stops_when_asked(ending: signal.Signals) -> None:
    process = _start(
        *(f"--{name}-port=0" for name in DIALECTS),
        *("--clients", "-", "--set", "investsuite.dead_refresh_token=403"),
        *("--set", "wealthyhood.access_token_lifetime=7", "--set", "keap.dead_refresh_token=invalid_request"),
    )
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(_CLIENTS))
        process.stdin.close()
        process.stdin = None  # or communicate() would flush it again
        where = json.loads(process.stdout.readline())
        assert where.keys() == {"keap", "wealthyhood", "investready", "modelportfolios", "investsuite"}
        for described in where.values():
            assert described["url"] == f"http://127.0.0.1:{described['port']}"
            assert described["host"] == f"127.0.0.1:{described['port']}"
        assert where["keap"]["authorize_url"] == where["keap"]["url"] + "/app/oauth/authorize"
        fields = {"grant_type": "client_credentials", **_CLIENTS["wealthyhood"][0]}
        audience = where["wealthyhood"]["audience"]
        answer = httpx.post(where["wealthyhood"]["token_url"], json={**fields, "audience": audience})
        assert answer.json()["expires_in"] == 7
        person = {"username": "ada", "password": "pa55"}
        assert httpx.post(where["investsuite"]["token_url"], json=person).status_code == 200
        assert httpx.post(where["investsuite"]["refresh_url"], json={"refresh_token": "unknown"}).status_code == 403
        settings = httpx.get(where["keap"]["control_url"] + "/settings").json()
        assert settings["dead_refresh_token"] == "invalid_request"
    finally:
        process.send_signal(ending)
        rest, complaints = process.communicate(timeout=20)
    assert process.returncode == 0
    assert (rest, complaints) == ("", "")


@pytest.mark.parametrize(
    ("arguments", "clients"),
    [
        (["--set", "keap.colour=red"], "{}"),
        (["--set", "investsuite.dead_refresh_token=invalid_grant"], "{}"),
        (["--set", "keep.code_lifetime=5"], "{}"),
        (["--clients", "-"], '{"keep": []}'),
        (["--clients", "-"], '{"keap": [{"client_id": "app-1"}]}'),
        (["--clients", "-"], "not JSON, but s3cret"),
    ],
)
def test_process_explains_what_it_does_not_understand_without_its_secrets(arguments: list[str], clients: str) -> None:
    process = _start(*arguments)
    out, complaints = process.communicate(clients, timeout=20)
    assert process.returncode == 2
    assert out == ""
    assert "error:" in complaints
    assert "s3cret" not in complaints


def test_process_says_so_when_a_port_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = _start("--keap-port", str(taken.getsockname()[1]))
        out, complaints = process.communicate(timeout=20)
    assert process.returncode == 2
    assert out == ""
    assert "Address already in use" in complaints
    assert "Traceback" not in complaints
