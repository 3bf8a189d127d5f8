"""Protects the inside of the account. No profile, variable or name server can have a request sent to a host that the
client's entry does not name, to an address that is not public, or in the clear."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from evergrant.adapters.http import GuardedHttp
from evergrant.errors import LostResponse, NotSent
from evergrant.http_messages import HttpRequest
from tests.adapters.loopback import Server, answers, closes, serving

HOST = "api.example.com"
PUBLIC, PUBLIC_6 = "93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946"


class Network:
    """Stands in for name servers and for the network behind them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: dict[str, list[str]] = {}
        self.looked_up: list[str] = []
        self.connected: list[str] = []
        monkeypatch.setattr(socket, "getaddrinfo", self._look_up)
        monkeypatch.setattr(socket, "create_connection", self._connect)

    def _look_up(self, host: Any, port: int, **_: Any) -> list[Any]:
        name = host.decode() if isinstance(host, bytes) else host
        self.looked_up.append(name)
        if name not in self.names:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [
            (
                socket.AF_INET6 if ":" in address else socket.AF_INET,
                socket.SOCK_STREAM,
                6,
                "",
                (address, port, 0, 0) if ":" in address else (address, port),
            )
            for address in self.names[name]
        ]

    def _connect(self, address: tuple[str, int], *_: Any, **__: Any) -> socket.socket:
        self.connected.append(address[0])
        raise ConnectionRefusedError


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    return Network(monkeypatch)


def send(
    url: str = f"https://{HOST}/token",
    hosts: tuple[str, ...] = (HOST,),
    *,
    allow_loopback: bool = False,
    timeout: float = 20,
) -> str:
    """Sends, expects that nothing leaves, and returns why."""
    port = GuardedHttp(allow_loopback=allow_loopback)
    with pytest.raises(NotSent) as caught:
        port.send(HttpRequest("POST", url, {}, b""), hosts=hosts, timeout=timeout)
    return f"{caught.value.message} {caught.value.__cause__}"


# --- hosts and schemes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/token",
        "https://api.example.com.evil.example/token",
        "https://api.example.com@evil.example/token",
        "https://api.example.com:8443/token",
        "https://sub.api.example.com/token",
        "https:///token",
    ],
)
def test_a_host_that_the_clients_entry_does_not_name_is_not_even_looked_up(network: Network, url: str) -> None:
    network.names = {name: [PUBLIC] for name in ("evil.example", "api.example.com.evil.example", HOST)}
    assert "does not allow" in send(url)
    assert network.looked_up == network.connected == []


def test_a_client_without_hosts_is_sent_nowhere(network: Network) -> None:
    send(hosts=())
    assert network.looked_up == []


def test_an_allowed_host_is_reached_in_any_letter_case(network: Network) -> None:
    network.names[HOST] = [PUBLIC]
    send("https://API.Example.com/token")
    send(f"https://{HOST}/token")
    assert network.connected == [PUBLIC, PUBLIC]


@pytest.mark.parametrize("scheme", ["http", "ftp", "file"])
def test_nothing_but_https_is_spoken(network: Network, scheme: str) -> None:
    network.names[HOST] = [PUBLIC]
    assert "https" in send(f"{scheme}://{HOST}/token")
    assert network.looked_up == []


def test_the_local_runs_switch_opens_no_plain_http_to_the_world(network: Network) -> None:
    network.names[HOST] = [PUBLIC]
    send(f"http://{HOST}/token", allow_loopback=True)
    assert network.connected == []


# --- addresses ----------------------------------------------------------------------------------------------------

_INSIDE = [
    "169.254.169.254",  # instance metadata
    "169.254.170.2",  # container credentials
    "169.254.100.1",
    "10.0.0.5",
    "172.16.0.1",
    "172.31.255.254",
    "192.168.1.1",
    "100.64.0.1",  # shared address space, RFC 6598
    "127.0.0.1",
    "127.9.9.9",
    "0.0.0.0",
    "224.0.0.1",
    "255.255.255.255",
    "240.0.0.1",
    "198.18.0.1",
    "::1",
    "::",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fd00:ec2::254",  # instance metadata over IPv6
    "fec0::1",
    "ff02::1",
    "::ffff:10.0.0.5",
    "::ffff:169.254.169.254",
    "::10.0.0.5",
    "64:ff9b::a9fe:a9fe",  # NAT64 of 169.254.169.254
    "64:ff9b::a00:5",
    "192.0.0.192",  # a cloud's metadata, RFC 6890
    "192.0.0.9",
    "192.88.99.1",  # 6to4 relays, RFC 7526
    "64:ff9b:1::1",  # NAT64 of a network's own, RFC 8215
    "100::1",  # discarded, RFC 6666
    "100:0:0:1::1",  # RFC 9780
    "2001:db8::1",
    "3fff::1",  # documentation, RFC 9637
    "5f00::1",  # segment routing, RFC 9602
    "2002:a9fe:a9fe::1",  # 6to4 of it
    "2002:a00:5::",
]


@pytest.mark.parametrize("address", _INSIDE)
def test_an_address_that_is_not_public_is_refused_though_dns_gives_it(network: Network, address: str) -> None:
    network.names[HOST] = [address]
    assert "not public" in send()
    assert network.looked_up == [HOST]
    assert network.connected == []


@pytest.mark.parametrize("address", [address for address in _INSIDE if "%" not in address])
def test_an_address_that_is_not_public_is_refused_in_the_url_itself(network: Network, address: str) -> None:
    authority = f"[{address}]" if ":" in address else address
    network.names = {address: [address], authority: [address]}
    send(f"https://{authority}/token", (authority,))
    assert network.connected == []


@pytest.mark.parametrize("address", ["10.0.0.5", "169.254.169.254", "fd00:ec2::254", "0.0.0.0"])
def test_the_local_runs_switch_opens_loopback_and_nothing_else(network: Network, address: str) -> None:
    network.names = {HOST: [address], "localhost": ["127.0.0.1"]}
    send(allow_loopback=True)
    assert network.connected == []
    send("http://localhost/token", ("localhost",), allow_loopback=True)
    assert network.connected == ["127.0.0.1"]


@pytest.mark.parametrize("address", [PUBLIC, PUBLIC_6, "8.8.8.8", f"64:ff9b::{0x5DB8:x}:{0xD822:x}"])
def test_a_public_address_is_connected_to(network: Network, address: str) -> None:
    network.names[HOST] = [address]
    send()
    assert network.connected == [address]


def test_the_connection_uses_the_checked_address_not_the_name_again(network: Network) -> None:
    """The socket connects to the address that was checked; the name is not resolved again."""
    # Else a name server could answer the check with one address and the connection with another.
    network.names[HOST] = [PUBLIC]
    send()
    assert network.looked_up == [HOST]
    assert network.connected == [PUBLIC]


def test_the_next_address_is_tried_when_one_does_not_answer(network: Network) -> None:
    network.names[HOST] = [PUBLIC_6, PUBLIC, PUBLIC]
    send()
    assert network.connected == [PUBLIC_6, PUBLIC]


def test_a_private_address_behind_a_public_one_is_never_reached(network: Network) -> None:
    network.names[HOST] = [PUBLIC, "10.0.0.5"]
    send()
    assert network.connected == [PUBLIC]


def test_loopback_is_refused_without_the_switch_even_if_it_listens() -> None:
    """Loopback is refused without the switch, although a server listens there."""
    with serving(answers()) as server:
        send(f"https://{server.host}/token", (server.host,))
        send(f"http://{server.host}/token", (server.host,))
        assert server.connections == 0


# --- what is kept -------------------------------------------------------------------------------------------------


class Provider:
    """A server on loopback with a name of its own, asked by one port."""

    def __init__(self, server: Server, network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
        self.network, self.now, self.port = network, 1000.0, GuardedHttp(allow_loopback=True)
        self._authority = f"provider.example:{server.host.partition(':')[2]}"
        network.names["provider.example"] = ["127.0.0.1"]
        monkeypatch.setattr(socket, "create_connection", _connect)
        monkeypatch.setattr(time, "monotonic", lambda: self.now)

    def ask(self, account: str = "provider") -> int:
        host = self._authority.replace("provider", account, 1)
        return self.port.send(HttpRequest("POST", f"http://{host}/token", {}, b""), hosts=(host,), timeout=20).status


def _connect(address: tuple[str, int], timeout: float) -> socket.socket:
    """Without a look-up, which the real one makes of an address too."""
    connection = socket.socket()
    connection.settimeout(timeout)
    connection.connect(address)
    return connection


@pytest.fixture
def provider(network: Network, monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    with serving(answers()) as server:
        yield Provider(server, network, monkeypatch)


def test_a_name_is_looked_up_once_in_thirty_seconds_while_it_answers(provider: Provider) -> None:
    for _ in range(3):
        assert provider.ask() == 200
        provider.now += 14.9
    assert provider.network.looked_up == ["provider.example"]
    provider.now += 0.2
    assert provider.ask() == 200
    assert provider.network.looked_up == ["provider.example"] * 2


def test_after_a_connection_that_failed_the_name_is_looked_up_anew(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider.ask()
    with monkeypatch.context() as moved:
        moved.setattr(socket, "create_connection", provider.network._connect)
        with pytest.raises(NotSent):
            provider.ask()
    assert provider.ask() == 200
    assert provider.network.looked_up == ["provider.example"] * 2


def test_after_an_answer_that_was_lost_the_name_is_looked_up_anew(network: Network, monkeypatch: Any) -> None:
    with serving(closes) as server:
        provider = Provider(server, network, monkeypatch)
        for _ in range(2):
            with pytest.raises(LostResponse):
                provider.ask()
    assert network.looked_up == ["provider.example"] * 2


def test_a_cached_address_is_checked_before_each_connection(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cached address is checked each time before a socket connects to it."""
    provider.ask()
    monkeypatch.setattr(provider.port, "_allow_loopback", False)
    monkeypatch.setattr(socket, "create_connection", provider.network._connect)
    host = "provider.example"
    with pytest.raises(NotSent) as refused:
        provider.port.send(HttpRequest("POST", f"https://{host}/token", {}, b""), hosts=(host,), timeout=20)
    assert "not public" in str(refused.value.__cause__)
    assert provider.network.connected == []
    assert provider.network.looked_up == [host], "it was the kept one"


def test_addresses_of_so_many_names_are_kept_and_no_more(provider: Provider) -> None:
    accounts = [f"a{number}" for number in range(300)]
    provider.network.names |= {f"{account}.example": ["127.0.0.1"] for account in accounts}
    for account in accounts:
        provider.ask(account)
    assert len(provider.port._kept) <= 256


# --- names --------------------------------------------------------------------------------------------------------


def test_a_name_that_does_not_resolve_sent_nothing(network: Network) -> None:
    assert "gaierror" in send()


@pytest.mark.parametrize("host", ["a..b", "x" * 64 + ".com"])
def test_a_name_that_cannot_be_one_is_refused_at_once(host: str) -> None:
    # The resolver's own complaint is no OSError; unheard, it would cost the whole time there is.
    assert "Unicode" in send(f"https://{host}/token", (host,))


def test_a_port_that_cannot_be_one_is_refused_and_not_replaced(network: Network) -> None:
    network.names[HOST] = [PUBLIC]
    assert "Port out of range" in send(f"https://{HOST}:99999/token", (f"{HOST}:99999",))
    assert network.connected == []


def test_a_name_server_that_hangs_is_given_up_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    def hang(*_: Any, **__: Any) -> list[Any]:
        over.wait(10)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    try:
        assert "TimeoutError" in send(timeout=0.2)
    finally:
        over.set()


def test_look_ups_that_hang_are_in_nobodys_way(monkeypatch: pytest.MonkeyPatch, network: Network) -> None:
    over = threading.Event()
    network.names[HOST] = [PUBLIC]

    def hang(host: str, *given: Any, **named: Any) -> list[Any]:
        return network._look_up(host, *given, **named) if host == HOST else [over.wait(10)][:0]

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    try:
        for _ in range(3):
            assert "TimeoutError" in send("https://hangs.example/token", ("hangs.example",), timeout=0.05)
            send()
        assert network.connected == [PUBLIC] * 3
    finally:
        over.set()


def test_a_name_without_addresses_sent_nothing(network: Network) -> None:
    network.names[HOST] = []
    assert "no address" in send()
