"""Lists the tools of an MCP server, with the access token that Evergrant keeps valid."""

from __future__ import annotations

import asyncio
import sys

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from evergrant_client.httpx2 import EvergrantAuth


async def list_tools(url: str, connection: str) -> list[str]:
    """Return the names of the server's tools. A token that the server rejects is replaced within the call."""
    # The stream of server messages stays open between events, so that reading has no limit.
    timeout = httpx2.Timeout(10.0, read=None)
    async with (
        httpx2.AsyncClient(auth=EvergrantAuth(connection), timeout=timeout) as http,
        Client(streamable_http_client(url, http_client=http)) as server,
    ):
        return [tool.name for tool in (await server.list_tools()).tools]


if __name__ == "__main__":
    sys.stdout.writelines(f"{name}\n" for name in asyncio.run(list_tools(*sys.argv[1:])))
