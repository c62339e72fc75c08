"""The SDK's own client at a real gateway, over HTTP of both eras of the protocol and over stdio."""

import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp.types import CallToolResult, TextContent

from askdocs.supervision.checks import free_port
from core import database
from gateway.access.keys import ALL, Keys, Limits
from gateway.telemetry.metrics import LEFT
from gateway.telemetry.usage import report
from tests import starting
from tests.gateway.conftest import page
from wiki.index.index import writing

pytestmark = pytest.mark.slow

ENG = {
    "index.md": "# Engineering\n\nHow we build things.\n",
    "coffee.md": "# Coffee machine\n\n## Where is the coffee machine?\n\n"
    "The coffee machine stands in the kitchen on the second floor.\n",
    "long.md": "# Manual\n\n"
    + "".join(f"## Step {n}\n\n{'Turn it. ' * 400}\n\n" for n in range(9)),
}
HR = {"leave.md": "# Leave\n\n## How many days of leave are there?\n\nThere are thirty days.\n"}
QUESTION = "Where is the coffee machine?"
ANSWER = "The coffee machine stands in the kitchen on the second floor."
ALIASES = {
    "docs": {"targets": "base", "grounding": True, "sources": ["/srv/eng"]},
    "hr": {"targets": "base", "grounding": True, "sources": ["/srv/hr"]},
}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[starting.Engine]:
    with starting.engine(tmp_path_factory.mktemp("engine")) as engine:
        yield engine


def wikis(folder: Path) -> dict[str, str]:
    """An index of two wikis, and the settings of a gateway that answers from them."""
    with writing(folder / "index.db") as writer:
        for name, texts in (("/srv/eng", ENG), ("/srv/hr", HR)):
            for path, text in texts.items():
                writer.put(name, page(path, text), "")
    return {
        "gateway_aliases": json.dumps(ALIASES),
        "gateway_answers": "quote",
        "gateway_access_log": str(folder / "access.log"),
    }


@pytest.fixture(scope="module")
def gateway(
    engine: starting.Engine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[starting.Gateway]:
    folder = tmp_path_factory.mktemp("gateway")
    settings = wikis(folder)
    with starting.gateway(folder, gateway_engine_url=engine.url, **settings) as gateway:
        yield gateway


def key(gateway: starting.Gateway, name: str, *models: str, **limits: int) -> str:
    return Keys(database.open(gateway.database)).create(name, "", models, Limits(**limits))[1]


@asynccontextmanager
async def over_http(root: str, text: str, mode: str = "auto") -> AsyncIterator[Client]:
    headers = {"authorization": f"Bearer {text}"}
    async with (
        httpx2.AsyncClient(headers=headers, trust_env=False, timeout=120) as http,
        Client(streamable_http_client(f"{root}/mcp", http_client=http), mode=mode) as client,
    ):
        yield client


@asynccontextmanager
async def over_stdio(root: str, text: str, mode: str = "auto") -> AsyncIterator[Client]:
    command = StdioServerParameters(
        command=str(Path(sys.executable).with_name("askdocs")),
        args=["mcp", "--url", f"{root}/v1"],
        env={"ASKDOCS_KEY": text},
        cwd=str(starting.REPO),
    )
    async with Client(command, mode=mode) as client:
        yield client


def said(result: CallToolResult) -> str:
    (content,) = result.content
    assert isinstance(content, TextContent)
    return content.text


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize("over", [over_http, over_stdio])
async def test_an_agent_searches_reads_and_asks(
    over: Callable[..., AbstractAsyncContextManager[Client]],
    mode: str,
    gateway: starting.Gateway,
) -> None:
    async with over(gateway.root, starting.KEY, mode) as agent:
        await _use(agent)


async def _use(agent: Client) -> None:
    assert agent.instructions is not None
    assert "cite the addresses" in agent.instructions
    names = [tool.name for tool in (await agent.list_tools()).tools]
    assert names == ["search_docs", "read_page", "ask_docs"]

    found = await agent.call_tool("search_docs", {"query": QUESTION})
    url = found.structured_content["results"][0]["url"]
    assert url == "https://wiki.example.com/coffee/#where-is-the-coffee-machine"
    assert ANSWER in said(found)

    read = await agent.call_tool("read_page", {"page": url})
    assert read.structured_content["markdown"].endswith(ANSWER)
    long = await agent.call_tool("read_page", {"page": "long.md", "part": 2})
    assert long.structured_content["parts"] == 2
    assert long.structured_content["markdown"].startswith("## Step")

    steps: list[str | None] = []

    async def hear(_: float, __: float | None, message: str | None) -> None:
        steps.append(message)

    question = {"question": QUESTION}
    asked = await agent.call_tool("ask_docs", question, progress_callback=hear)
    # The answer is there at once: a client over stdio may not hear of the last step before it.
    assert steps
    answer = asked.structured_content
    assert answer["answered"]
    assert ANSWER in answer["answer"]
    assert answer["sources"][0]["url"] == url
    assert answer["sources"][0]["quote"] == ANSWER
    assert url in said(asked)

    unknown = await agent.call_tool("ask_docs", {"question": "Who won the cup in 1974?"})
    assert not unknown.structured_content["answered"]
    assert unknown.structured_content["sources"] == []
    assert said(unknown).startswith("The documentation does not answer this.")

    wrong = await agent.call_tool("read_page", {"page": "tea.md"})
    assert wrong.is_error
    assert "'tea.md': no page has this address or path" in said(wrong)

    listed = (await agent.list_resources()).resources
    assert [one.name for one in listed] == ["coffee.md", "index.md", "long.md", "leave.md"]
    assert not any("srv" in one.uri for one in listed)
    (content,) = (await agent.read_resource(listed[0].uri)).contents
    assert ANSWER in content.text  # type: ignore[union-attr]
    (template,) = (await agent.list_resource_templates()).resource_templates
    assert template.uri_template.startswith("docs://")
    with pytest.raises(MCPError, match="no page has this address"):
        await agent.read_resource("docs://x/y.md")


async def test_a_key_reads_and_asks_only_what_its_models_stand_on(
    gateway: starting.Gateway,
) -> None:
    question = "How many days of leave are there?"
    async with over_http(gateway.root, key(gateway, "people", "hr")) as agent:
        found = await agent.call_tool("search_docs", {"query": f"{QUESTION} {question}"})
        hidden = await agent.call_tool("read_page", {"page": "coffee.md"})
        listed = (await agent.list_resources()).resources
        asked = await agent.call_tool("ask_docs", {"question": question})
    titles = [one["title"] for one in found.structured_content["results"]]
    assert titles == ["Leave"]
    assert hidden.is_error
    assert [one.name for one in listed] == ["leave.md"]
    assert "thirty days" in asked.structured_content["answer"]

    async with over_http(gateway.root, key(gateway, "alone", "base")) as agent:
        refused = [
            await agent.call_tool("search_docs", {"query": "leave"}),
            await agent.call_tool("ask_docs", {"question": question}),
        ]
        with pytest.raises(MCPError, match="do not answer from the wiki"):
            await agent.list_resources()
    for result in refused:
        assert result.is_error
        assert "this key may use base, which do not answer from the wiki" in said(result)


def test_a_key_is_told_of_no_page_of_a_wiki_that_its_models_do_not_stand_on(
    gateway: starting.Gateway,
) -> None:
    urls = [f"https://wiki.example.com/{name}/" for name in ("coffee", "leave", "nothing")]
    keys = Keys(database.open(gateway.database))

    def known(*models: str) -> httpx.Response:
        text = keys.create("-".join(("reader", *models)), models=models, groups=[ALL])[1]
        headers = {"authorization": f"Bearer {text}"}
        where = f"{gateway.root}/askdocs/readable"
        return httpx.post(where, json={"urls": urls}, headers=headers)

    assert known("hr").json()["known"] == [False, True, False]
    assert known("hr", "docs").json()["known"] == [True, True, False]
    assert known("base").status_code == 403


async def test_limits_hold_and_usage_is_counted(gateway: starting.Gateway) -> None:
    text = key(gateway, "busy", rpm=3)
    async with over_http(gateway.root, text) as agent:
        await agent.list_tools()  # costs nothing, as /v1/models
        await agent.call_tool("search_docs", {"query": "coffee"})
        await agent.call_tool("read_page", {"page": "coffee.md"})
        await agent.call_tool("ask_docs", {"question": QUESTION})
        results = [
            await agent.call_tool("search_docs", {"query": "coffee"}),
            await agent.call_tool("ask_docs", {"question": QUESTION}),
        ]
    for result in results:
        assert result.is_error
        assert "requests per minute: limit 3, used 3. Try again in" in said(result)
    deadline = time.monotonic() + 60
    counted: dict[tuple[str, str], Any] = {}
    while len(counted) < 3 and time.monotonic() < deadline:
        await asyncio.sleep(0.2)
        rows = report(database.open(gateway.database), ("key", "alias", "model"))
        groups = [(row.group, row) for row in rows if row.group["key"] == "busy"]
        counted = {(group["alias"], group["model"]): row for group, row in groups}
    assert {pair: row.requests for pair, row in counted.items()} == {
        ("search_docs", "index"): 1,
        ("read_page", "index"): 1,
        ("docs", "base"): 1,
    }


async def test_an_answer_that_nobody_waits_for_is_stopped(
    engine: starting.Engine, tmp_path: Path
) -> None:
    settings = {**wikis(tmp_path), "gateway_answers": "write"}
    with starting.gateway(tmp_path, gateway_engine_url=engine.url, **settings) as gateway:
        await stopped(gateway, engine)


async def stopped(gateway: starting.Gateway, engine: starting.Engine) -> None:
    question = "Tell all about the coffee machine, the kitchen and the second floor."
    message = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "ask_docs", "arguments": {"question": question}},
    }
    headers = {
        "authorization": f"Bearer {starting.KEY}",
        "accept": "application/json, text/event-stream",
    }
    in_flight = 'askdocs_gateway_requests_in_flight{alias="docs",team=""} 1.0'
    async with httpx.AsyncClient(trust_env=False) as http:
        # Halted, the engine cannot have answered before the client leaves.
        engine.process.send_signal(signal.SIGSTOP)
        try:
            asking = asyncio.create_task(
                http.post(f"{gateway.root}/mcp", json=message, headers=headers, timeout=60)
            )
            while in_flight not in (await http.get(f"{gateway.root}/metrics")).text:
                assert not asking.done(), asking.result().text
                await asyncio.sleep(0.05)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        finally:
            engine.process.send_signal(signal.SIGCONT)
    log = gateway.home.parent / "access.log"
    left: set[str] = set()
    deadline = time.monotonic() + 60
    while len(left) < 2 or await asyncio.to_thread(engine.busy):
        assert time.monotonic() < deadline, log.read_text()
        await asyncio.sleep(0.05)
        lines = map(json.loads, log.read_text().splitlines())
        left = {line["path"] for line in lines if line["status"] == LEFT}
    assert left == {"/mcp", "/v1/chat/completions"}


def test_a_message_of_more_than_256_kb_is_refused_before_it_is_read(
    gateway: starting.Gateway,
) -> None:
    arguments = {f"a{number}": 1 for number in range(30_000)}
    call = {"name": "search_docs", "arguments": arguments}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
    headers = {"authorization": f"Bearer {key(gateway, 'large')}"}
    reply = httpx.post(f"{gateway.root}/mcp", json=body, headers=headers, trust_env=False)
    assert (reply.status_code, reply.json()["error"]["code"]) == (413, "body_too_large")


def test_nothing_is_there_without_a_key(gateway: starting.Gateway) -> None:
    for path in ("/mcp", "/llms.txt", "/llms-full.txt"):
        assert httpx.get(gateway.root + path).status_code == 401
    assert httpx.post(f"{gateway.root}/mcp", json={}).status_code == 401
    headers = {"authorization": f"Bearer {starting.KEY}"}
    reply = httpx.get(f"{gateway.root}/mcp", headers=headers)
    assert (reply.status_code, reply.headers["allow"]) == (405, "POST")
    assert "is served for POST" in reply.json()["error"]["message"]


def test_llms_txt_has_the_wikis_of_the_key(gateway: starting.Gateway) -> None:
    headers = {"authorization": f"Bearer {key(gateway, 'reader', 'hr')}"}
    reply = httpx.get(f"{gateway.root}/llms.txt", headers=headers)
    assert reply.headers["content-type"] == "text/plain; charset=utf-8"
    assert "- [Leave](https://wiki.example.com/leave/): There are thirty days." in reply.text
    assert "coffee" not in reply.text
    whole = httpx.get(f"{gateway.root}/llms-full.txt", headers=headers).text
    assert "There are thirty days." in whole
    assert "coffee" not in whole


async def test_an_agent_waits_for_its_gateway_and_a_public_wiki_is_read_by_anybody(
    engine: starting.Engine, tmp_path: Path
) -> None:
    port = free_port()
    root = f"http://127.0.0.1:{port}"
    settings = wikis(tmp_path)
    async with over_stdio(root, starting.KEY) as agent:
        away = await agent.call_tool("search_docs", {"query": QUESTION})
        with pytest.raises(MCPError, match="does not answer"):
            await agent.list_tools()
        assert away.is_error
        assert f"the gateway at {root} does not answer" in said(away)
        assert "start it with `askdocs up`" in said(away)
        with starting.gateway(
            tmp_path,
            port=port,
            gateway_engine_url=engine.url,
            gateway_llms_public="true",
            **settings,
        ):
            found = await agent.call_tool("search_docs", {"query": QUESTION})
            async with over_stdio(root, "ask-wrong") as stranger:
                refused = await stranger.call_tool("search_docs", {"query": QUESTION})
            async with httpx.AsyncClient(trust_env=False) as http:
                text = (await http.get(f"{root}/llms.txt")).text
                keyless = (await http.post(f"{root}/mcp", json={})).status_code
    assert ANSWER in said(found)
    assert refused.is_error
    assert "this API key is not valid here" in said(refused)
    assert "ASKDOCS_KEY" in said(refused)
    # All that `docs` stands on, and no more.
    assert text.startswith("# Engineering\n\n> How we build things.\n")
    assert "Leave" not in text
    assert keyless == 401
