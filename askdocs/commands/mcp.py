"""`askdocs mcp`: the gateway's tools over stdio, for agents that start their own MCP server.

It speaks MCP over stdin and stdout, and passes each request on to the gateway's /mcp: it needs
neither index nor model. A gateway that is away is said in the answer, and asked again the next
time.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import httpx
import httpx2
import typer
from mcp import Client, types
from mcp.client.streamable_http import streamable_http_client
from mcp.server import Server
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPError

from askdocs.commands.options import HomeOption
from askdocs.state import home
from askdocs.supervision import status
from core.errors import AskdocsError
from core.settings import load
from gateway.api.agents import about
from gateway.settings import GatewaySettings

if TYPE_CHECKING:
    from mcp.client import ClientSession

R = TypeVar("R")

TIMEOUT = 10.0  # seconds until the gateway takes a request
ANSWER = 300.0  # seconds until it answers: a small machine reads a long page for half a minute


def mcp(
    url: Annotated[
        str | None,
        typer.Option(
            help="The gateway, such as https://docs.example.com/v1 (default: the one "
            "running here). Its key is read from ASKDOCS_KEY."
        ),
    ] = None,
    home_dir: HomeOption = None,
) -> None:
    """Serve the wiki to an agent: an MCP server over stdio."""
    place = home.find(home_dir)
    key = os.environ.get("ASKDOCS_KEY")
    if not key and url is not None:
        raise AskdocsError(f"ASKDOCS_KEY is not set: {url} asks for a key of its own")
    key = key or place.existing_key()
    if not key:
        raise AskdocsError(
            f"{place.root}: this folder has no state of askdocs: name the state folder with "
            "--home, or a gateway"
            " with --url and its key in ASKDOCS_KEY"
        )
    asyncio.run(_serve(Forward(url or _running(place), key)))


def _running(place: home.Home) -> str:
    """Base URL of the gateway that runs here, or of the one that would."""
    try:
        return status.read(place).gateway
    except AskdocsError:
        return f"http://127.0.0.1:{load(GatewaySettings).port}/v1"


class Forward:
    """Passes requests on to a gateway."""

    def __init__(self, gateway: str, key: str) -> None:
        """`gateway` is its base URL, with /v1 or without."""
        self._root = gateway.rstrip("/").removesuffix("/v1")
        self._headers = {"authorization": f"Bearer {key}"}

    async def ask(self, work: "Callable[[ClientSession], Awaitable[R]]") -> R:
        """What `work` gets from the gateway.

        Raises:
            AskdocsError: it is away, or refuses the key.
            MCPError: it says that the request is wrong.
        """
        # A connection for each: a gateway may have been started again since the last one.
        try:
            timeout = httpx2.Timeout(TIMEOUT, read=ANSWER)
            async with (
                httpx2.AsyncClient(headers=self._headers, timeout=timeout) as http,
                Client(streamable_http_client(f"{self._root}/mcp", http_client=http)) as client,
            ):
                try:
                    return await work(client.session)
                except MCPError as error:  # left as it is: the way out would put it into a group
                    failed = error
        except Exception:
            await self._check()
            raise
        await self._check()
        raise failed

    async def _check(self) -> None:
        """Raises AskdocsError: why nothing comes back, in words that say what to do."""
        try:
            async with httpx.AsyncClient(headers=self._headers, timeout=TIMEOUT) as http:
                reply = await http.get(f"{self._root}/v1/models")
                message = None if reply.is_success else reply.json()["error"]["message"]
        except httpx.HTTPError as error:
            raise AskdocsError(
                f"the gateway at {self._root} does not answer ({error}): start it with"
                " `askdocs up`, or name another one with --url"
            ) from None
        except (ValueError, KeyError, TypeError):
            raise AskdocsError(
                f"{self._root} is not a gateway of askdocs: correct --url, which may end with /v1"
            ) from None
        if message:
            fix = " (it is in ASKDOCS_KEY)" if reply.status_code == 401 else ""
            raise AskdocsError(f"the gateway at {self._root} says: {message}{fix}")


async def _serve(forward: Forward) -> None:
    server = _server(forward)
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


def _server(forward: Forward) -> "Server[Any]":
    """What the gateway has, as a server of this process."""

    async def passed(work: "Callable[[ClientSession], Awaitable[R]]") -> R:
        try:
            return await forward.ask(work)
        except AskdocsError as error:
            raise MCPError(types.INTERNAL_ERROR, str(error)) from None

    async def list_tools(_: Any, params: types.PaginatedRequestParams | None) -> Any:
        return await passed(lambda session: session.list_tools(params=_paged(params)))

    async def call_tool(context: Any, params: types.CallToolRequestParams) -> Any:
        wanted = types.CallToolRequestParams(name=params.name, arguments=params.arguments)
        request = types.CallToolRequest(params=wanted)
        try:
            return await forward.ask(
                # Not `session.call_tool`, which lists the tools to check the result.
                lambda session: session.send_request(
                    request,
                    types.CallToolResult,
                    progress_callback=context.session.report_progress,
                )
            )
        except AskdocsError as error:  # as a result, which the agent's model reads
            content: list[types.ContentBlock] = [types.TextContent(text=str(error))]
            return types.CallToolResult(content=content, is_error=True)

    async def list_resources(_: Any, params: types.PaginatedRequestParams | None) -> Any:
        return await passed(lambda session: session.list_resources(params=_paged(params)))

    async def list_templates(_: Any, params: types.PaginatedRequestParams | None) -> Any:
        return await passed(lambda session: session.list_resource_templates(params=_paged(params)))

    async def read_resource(_: Any, params: types.ReadResourceRequestParams) -> Any:
        return await passed(lambda session: session.read_resource(params.uri))

    def _paged(params: types.PaginatedRequestParams | None) -> types.PaginatedRequestParams:
        return types.PaginatedRequestParams(cursor=params.cursor if params else None)

    return Server(
        about.NAME,
        version=about.version(),
        title=about.TITLE,
        instructions=about.INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_resources=list_resources,
        on_list_resource_templates=list_templates,
        on_read_resource=read_resource,
    )
