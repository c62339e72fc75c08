"""The MCP server: three tools, and the pages as resources.

https://modelcontextprotocol.io/specification/2025-11-25/server/tools. Errors that an agent can
correct are returned as the tool's result, where its model reads them; only errors of the client
program are protocol errors.
"""

from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any, NamedTuple, Protocol

from mcp import types
from mcp.server import Server, ServerRequestContext
from mcp.shared.exceptions import MCPError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core import threads
from core.errors import AskdocsError
from gateway.api.agents import about
from gateway.api.agents.pages import SCHEME, Pages
from gateway.api.agents.results import DocsAnswer, PageText, SearchResult
from gateway.http.asgi import ApiError

MARKDOWN = "text/markdown"
Context = ServerRequestContext[Any, Any]


class SearchDocs(BaseModel):
    """Finds the pages of the team's documentation that fit a question or a few words.

    The best come first, each with the section that fits best, its address and its beginning. Use it
    first; then read the right pages with read_page. Write the query as a question or as the
    words that the documentation may use, in its language.
    """

    model_config = ConfigDict(extra="forbid")

    query: str = Field(
        min_length=1,
        max_length=2000,
        pattern=r"\S",
        description="What to look for, such as 'How do I rotate an API key?'.",
    )
    limit: int = Field(5, ge=1, le=20, description="The most pages that are returned.")


class ReadPage(BaseModel):
    """Reads a page of the team's documentation as Markdown, whole or one section of it.

    A page that is too long for one answer comes in parts, cut between sections; the answer says how
    many there are and names the sections.
    """

    model_config = ConfigDict(extra="forbid")

    page: str = Field(
        min_length=1,
        max_length=4000,
        description="Address or path of the page, as search_docs tells it. An address that ends"
        " with #anchor reads that section; leave the anchor out for the whole page.",
    )
    section: str = Field(
        "",
        max_length=1000,
        description="Heading or anchor of the section to read, with all below it.",
    )
    part: int = Field(1, ge=1, description="Which part of a long page to read.")


class AskDocs(BaseModel):
    """Answers a question from the team's documentation in a few sentences, with its sources.

    Slower than search_docs: a model reads the pages. It says when the documentation does not answer
    the question; then do not guess.
    """

    model_config = ConfigDict(extra="forbid")

    question: str = Field(
        min_length=1,
        max_length=4000,
        pattern=r"\S",
        description="One whole question, understandable by itself.",
    )


# Reports progress to the waiting user.
Tell = Callable[[str], Awaitable[None]]


class Session(Protocol):
    """Serves one request."""

    async def pages(self, purpose: str) -> Pages:
        """Returns the pages that the client may read. Raises AskdocsError, ApiError."""

    async def ask(self, question: str, tell: Tell) -> DocsAnswer:
        """Answers a question; `tell` receives progress. Raises AskdocsError, ApiError: there is no
        answer."""


class _Tool(NamedTuple):
    name: str
    title: str
    wants: type[BaseModel]
    gives: type[BaseModel]
    do: Callable[[Session, Any, Tell], Awaitable[SearchResult | PageText | DocsAnswer]]

    def described(self) -> types.Tool:
        return types.Tool(
            name=self.name,
            title=self.title,
            description=" ".join((self.wants.__doc__ or "").split()),
            input_schema=_schema(self.wants),
            output_schema=_schema(self.gives),
            annotations=types.ToolAnnotations(
                read_only_hint=True, destructive_hint=False, open_world_hint=False
            ),
        )


async def _search(session: Session, wanted: SearchDocs, _: Tell) -> SearchResult:
    pages = await session.pages("search_docs")
    return await threads.search(pages.search, wanted.query, wanted.limit)


async def _read(session: Session, wanted: ReadPage, _: Tell) -> PageText:
    pages = await session.pages("read_page")
    return await threads.search(pages.read, wanted.page, wanted.section, wanted.part)


async def _ask(session: Session, wanted: AskDocs, tell: Tell) -> DocsAnswer:
    return await session.ask(wanted.question, tell)


TOOLS = {
    tool.name: tool
    for tool in (
        _Tool("search_docs", "Search the documentation", SearchDocs, SearchResult, _search),
        _Tool("read_page", "Read a page of the documentation", ReadPage, PageText, _read),
        _Tool("ask_docs", "Ask the documentation", AskDocs, DocsAnswer, _ask),
    )
}


def server(session_of: Callable[[Context], Session]) -> Server[Any]:
    """Creates the server. `session_of` returns the session of a request."""

    async def list_tools(_: Context, __: types.PaginatedRequestParams | None) -> Any:
        return types.ListToolsResult(tools=[tool.described() for tool in TOOLS.values()])

    async def call_tool(context: Context, params: types.CallToolRequestParams) -> Any:
        tool = TOOLS.get(params.name)
        if tool is None:
            text = f"{params.name[:100]!r} is not a tool; the tools are {', '.join(TOOLS)}"
            raise MCPError(types.INVALID_PARAMS, text)
        arguments = params.arguments or {}
        if len(arguments) > len(tool.wants.model_fields):  # each wrong one would cost a sentence
            named = ", ".join(tool.wants.model_fields)
            return _failed(f"{tool.name} takes {named}; it got {len(arguments):,} arguments")
        try:
            wanted = tool.wants.model_validate(arguments)
            result = await tool.do(session_of(context), wanted, _teller(context))
        except ValidationError as error:
            return _failed(_explained(tool, error))
        except (AskdocsError, ApiError) as error:
            return _failed(str(error))
        return types.CallToolResult(
            content=[types.TextContent(text=result.text())],
            structured_content=result.model_dump(mode="json"),
        )

    async def list_resources(context: Context, params: types.PaginatedRequestParams | None) -> Any:
        pages = await _answered(session_of(context).pages("list_pages"))
        cursor = params.cursor if params else None
        listed, after = await _answered(threads.search(pages.listed, cursor))
        resources = [
            types.Resource(uri=place.uri, name=place.path, title=page.title, mime_type=MARKDOWN)
            for place, page in listed
        ]
        return types.ListResourcesResult(resources=resources, next_cursor=after)

    async def read_resource(context: Context, params: types.ReadResourceRequestParams) -> Any:
        pages = await _answered(session_of(context).pages("read_page"))
        read = await _answered(threads.search(pages.read, params.uri))
        text = types.TextResourceContents(uri=params.uri, mime_type=MARKDOWN, text=read.text())
        return types.ReadResourceResult(contents=[text])

    async def list_templates(_: Context, __: types.PaginatedRequestParams | None) -> Any:
        template = types.ResourceTemplate(
            uri_template=SCHEME + "://{source}/{+path}",
            name="page",
            title="A page of the documentation",
            mime_type=MARKDOWN,
        )
        return types.ListResourceTemplatesResult(resource_templates=[template])

    return Server(
        about.NAME,
        version=about.version(),
        title=about.TITLE,
        instructions=about.INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_resources=list_resources,
        on_read_resource=read_resource,
        on_list_resource_templates=list_templates,
    )


def _teller(context: Context) -> Tell:
    """Reports the request's progress; many clients wait longer if there is some."""
    steps = count(1)

    async def tell(text: str) -> None:
        await context.session.report_progress(next(steps), message=text)

    return tell


async def _answered(work: Awaitable[Any]) -> Any:
    """Requests that are not tool calls have no result for errors: raise protocol errors instead."""
    try:
        return await work
    except ApiError as error:
        raise MCPError(types.INTERNAL_ERROR, str(error)) from None
    except AskdocsError as error:
        raise MCPError(types.INVALID_PARAMS, str(error)) from None


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    schema = model.model_json_schema(mode="serialization")
    del schema["description"]  # the tool itself has a description
    return schema


def _failed(text: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(text=text)], is_error=True)


def _explained(tool: _Tool, error: ValidationError) -> str:
    problems = []
    for problem in error.errors():
        where = ".".join(str(part) for part in problem["loc"])
        value = "" if problem["type"] == "missing" else f" (it is {str(problem['input'])[:100]!r})"
        problems.append(f"{where}: {problem['msg']}{value}")
    return f"{tool.name} was called with wrong arguments: {'; '.join(problems)}"
