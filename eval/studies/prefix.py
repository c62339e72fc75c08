"""What the prefix cache saves: time to the first token of a second question on the same page.

    python -m eval.studies.prefix --engine-url http://127.0.0.1:8001/v1 [--docs docs] [--json]

Pages of some 4,000 tokens are made of the wiki's pages. The first question about each finds an
engine that has never read it, the second asks about another section. The prompt is the gateway's
own, with the section beside the question. Exit code 1 when the median ratio is above `--most`.
"""

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx

from gateway.answering.grounding import prompt
from gateway.answering.grounding.excerpt import Excerpt
from gateway.core.errors import AskdocsError
from gateway.core.sse import events
from gateway.knowledge.sources import folder
from gateway.knowledge.wiki.page import Page, Section
from gateway.upstream.engine import Engine

MOST = 0.04


@dataclass(frozen=True)
class Asked:
    """A question that was asked."""

    tokens: int
    """Of its prompt."""
    cached: int
    """Of these, the ones that the engine had read before."""
    seconds: float
    """To the first token of the answer."""


@dataclass(frozen=True)
class Pair:
    """Two questions about two sections of one page."""

    page: str
    first: Asked
    second: Asked

    @property
    def ratio(self) -> float:
        return self.second.seconds / self.first.seconds


async def measure(url: str, pages: Sequence[Page], tokens: int) -> list[Pair]:
    """Ask twice about each of `pages`.

    Raises:
        AskdocsError: no engine answers at `url`.
        httpx.HTTPError: it failed.
    """
    engine = Engine(url)
    try:
        # The first request of an engine pays for its warm-up.
        await engine.measure_prefill(words=30)
        pairs = []
        for page in pages:
            excerpt = Excerpt(page, page.sections, tokens)
            sections = [section for section in page.sections if section.body]
            # Sections of the middle, far apart: neither is what a reader would meet first.
            first, second = sections[len(sections) // 3], sections[2 * len(sections) // 3]
            pairs.append(
                Pair(
                    page.title,
                    await _ask(engine, excerpt, first),
                    await _ask(engine, excerpt, second),
                )
            )
        return pairs
    finally:
        await engine.close()


async def long_pages(docs: Path, url: str, tokens: int, count: int) -> list[Page]:
    """`count` pages of about `tokens` tokens, each joined of other pages of the folder.

    Raises AskdocsError: the folder has too little text, or no engine answers.
    """
    engine = Engine(url)
    stamp = time.time_ns()  # no cache knows a page of that name
    made: list[Page] = []
    sections: list[Section] = []
    have = 0
    try:
        for page in folder.read(docs, "http://wiki/").pages:
            for section in page.sections:
                cost = await engine.count(section.text + "\n\n")
                if have + cost > tokens:
                    title = f"Handbook {stamp + len(made)}"
                    made.append(
                        Page(f"{title}.md", title, f"http://wiki/{len(made)}/", tuple(sections))
                    )
                    if len(made) == count:
                        return made
                    sections, have = [], 0
                sections.append(section)
                have += cost
    finally:
        await engine.close()
    raise AskdocsError(
        f"{docs} has text for {len(made)} pages of {tokens} tokens, and {count} are wanted:"
        " name another folder with --docs, or fewer with --pages"
    )


async def _ask(engine: Engine, excerpt: Excerpt, section: Section) -> Asked:
    messages = prompt.render([excerpt], section.heading)
    body: dict[str, Any] = {
        "model": (await engine.model()).id,
        "messages": messages,
        "max_tokens": 1,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    first = None
    usage: dict[str, Any] = {}
    began = time.monotonic()
    async with (
        httpx.AsyncClient(timeout=600) as http,
        http.stream("POST", f"{engine.url}/chat/completions", json=body) as reply,
    ):
        reply.raise_for_status()
        async for data in events(reply.aiter_bytes()):
            if data.startswith("{"):
                chunk = json.loads(data)
                usage = chunk.get("usage") or usage
                if any(choice["delta"].get("content") for choice in chunk["choices"]):
                    first = first or time.monotonic() - began
    if first is None:
        raise AskdocsError(f"the engine at {engine.url} answered without a word")
    details = usage.get("prompt_tokens_details") or {}
    return Asked(usage["prompt_tokens"], details.get("cached_tokens") or 0, first)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--engine-url", required=True, help="base URL of the engine, with /v1")
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="folder of Markdown")
    parser.add_argument("--tokens", type=int, default=4000, help="tokens of a page")
    parser.add_argument("--pages", type=int, default=5, help="how many")
    parser.add_argument("--most", type=float, default=MOST, help="largest median ratio")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    try:
        pairs = asyncio.run(_measured(options))
    except (AskdocsError, httpx.HTTPError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    ratio = statistics.median(pair.ratio for pair in pairs)
    if options.json:
        print(json.dumps({"pairs": [asdict(pair) for pair in pairs], "ratio": ratio}, indent=2))
    else:
        for pair in pairs:
            print(
                f"{pair.first.tokens:,} tokens: first {pair.first.seconds:.2f} s,"
                f" second {pair.second.seconds:.3f} s ({pair.ratio:.1%}),"
                f" {pair.second.cached:,} of {pair.second.tokens:,} tokens cached"
            )
        print(f"median {ratio:.1%}")
    return 0 if ratio <= options.most else 1


async def _measured(options: argparse.Namespace) -> list[Pair]:
    pages = await long_pages(options.docs, options.engine_url, options.tokens, options.pages)
    return await measure(options.engine_url, pages, options.tokens)


if __name__ == "__main__":
    sys.exit(main())
