"""What a search costs an agent: over MCP, beside the same search without it and the bare search.

    .venv/bin/python research/timings/agents.py --docs docs [--searches 400]

The queries are headings of the wiki, each asked once, by one of four ways in turn: the second time
its vectors would be there. The gateway is a real one, with an engine, on this machine; the client
is the SDK's, in this process.
"""

import argparse
import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import httpx2
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from gateway.answering.grounding.ground import Grounding
from gateway.api.agents.pages import Pages
from gateway.upstream.engine import estimates
from tests import starting
from wiki.index import embed
from wiki.index.index import Index

LIMIT = 5


async def measure(root: str, index: Index, searches: int) -> dict[str, list[float]]:
    """Seconds of each search, by the way it took."""
    grounding = Grounding(index, estimates, embed.load())
    pages = Pages(grounding)
    headings = [s.heading for page in index.pages() for s in page.sections if len(s.heading) > 12]
    queries = list(dict.fromkeys(headings))
    random.Random(1).shuffle(queries)
    queries = queries[:searches]
    headers = {"authorization": f"Bearer {starting.KEY}"}
    command = StdioServerParameters(
        command=str(starting.REPO / ".venv" / "bin" / "askdocs"),
        args=["mcp", "--url", root],
        env={"ASKDOCS_KEY": starting.KEY},
    )
    async with (
        httpx2.AsyncClient(headers=headers, trust_env=False) as http,
        Client(streamable_http_client(f"{root}/mcp", http_client=http)) as agent,
        Client(command) as local,
    ):
        await agent.list_tools()
        await local.list_tools()
        ways: dict[str, Callable[[str], Awaitable[Any]]] = {
            "bare search": lambda q: asyncio.to_thread(grounding.search.find, q, None, LIMIT),
            "with section and excerpt": lambda q: asyncio.to_thread(pages.search, q, LIMIT),
            "over MCP, HTTP": lambda q: agent.call_tool("search_docs", {"query": q}),
            "over MCP, stdio": lambda q: local.call_tool("search_docs", {"query": q}),
        }
        took: dict[str, list[float]] = {way: [] for way in ways}
        for query, (way, search) in zip(queries, cycle(ways.items()), strict=False):
            began = time.perf_counter()
            await search(query)
            took[way].append(time.perf_counter() - began)
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--docs", type=Path, required=True)
    parser.add_argument("--searches", type=int, default=400)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        docs = str(options.docs.absolute())
        with (
            starting.engine(folder) as engine,
            starting.gateway(folder, gateway_engine_url=engine.url, gateway_docs=docs) as gateway,
        ):
            index = Index(folder / "index.db")
            while index.embedded()[1] < index.size:
                time.sleep(0.5)
            took = asyncio.run(measure(gateway.root, index, options.searches))
            index.close()
    print("milliseconds")
    for way, seconds in took.items():
        cuts = statistics.quantiles([1000 * one for one in seconds], n=100)
        shown = f"median {cuts[49]:6.1f}   p90 {cuts[89]:6.1f}   p99 {cuts[98]:6.1f}"
        print(f"{way:26} {len(seconds)} searches   {shown}")


if __name__ == "__main__":
    main()
