"""The HTTP server of a simulated provider, on the loopback interface, in a thread of this process."""

import socket
import threading
from types import TracebackType
from typing import Self

import uvicorn

from local.providers.app import create_app
from local.providers.provider import Provider

_HOST = "127.0.0.1"


class ProviderServer:
    """One provider's HTTP server. Use it as a context manager, or call :meth:`start` and :meth:`stop`.

    Parameters
    ----------
    port
        0: the system chooses. The socket is bound at once, so that `url` is known before the start.

    Raises
    ------
    OSError
        The port is taken.

    Examples
    --------
    >>> with ProviderServer(Provider(KEAP, clients=(client,))) as server:
    ...     httpx.post(f"{server.url}/token", data={...})
    """

    def __init__(self, provider: Provider, port: int = 0) -> None:
        self.provider = provider
        self._socket = _open_socket(port)
        self.port: int = self._socket.getsockname()[1]
        self.host = f"{_HOST}:{self.port}"
        self.url = f"http://{self.host}"
        config = uvicorn.Config(
            create_app(provider),
            # Standard output and the logging set-up belong to the caller.
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            loop="asyncio",
            http="h11",
            server_header=False,
            timeout_graceful_shutdown=2,
        )
        self._server = _Server(config)
        self._thread = threading.Thread(
            target=self._server.run,
            kwargs={"sockets": [self._socket]},
            name=f"{provider.dialect.name}-server",
            daemon=True,
        )

    def start(self) -> None:
        """Start; return when the server accepts requests."""
        self._thread.start()
        if not self._server.serving.wait(timeout=10):
            raise RuntimeError(f"the simulated {self.provider.dialect.title} did not start")

    def stop(self) -> None:
        """Stop serving and release the port."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(timeout=10)
        self._socket.close()

    def urls(self) -> dict[str, object]:
        """Return all addresses, as the process prints them."""
        dialect = self.provider.dialect
        described: dict[str, object] = {
            "url": self.url,
            "host": self.host,
            "port": self.port,
            "token_url": self.url + dialect.token_path,
            "api_url": self.url + dialect.api.path,
            "control_url": f"{self.url}/_control",
        }
        refresh = dialect.phases.get("refresh_token")
        if refresh is not None and refresh.path is not None:
            described["refresh_url"] = self.url + refresh.path
        if dialect.authorize_path is not None:
            described["authorize_url"] = self.url + dialect.authorize_path
        if dialect.default_audience is not None:
            described["audience"] = dialect.default_audience
        return described

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


class _Server(uvicorn.Server):
    """uvicorn's server with an event for its start, so that no caller has to poll."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.serving = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.serving.set()


def _open_socket(port: int) -> socket.socket:
    # Not socket.create_server: it leaves the protocol at 0, for which asyncio does not disable Nagle's algorithm on
    # accepted connections; every response would take 40 ms.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((_HOST, port))
        listening.listen(128)
    except OSError:
        listening.close()
        raise
    return listening
