"""Two real vLLMs behind vLLM's router: tokens of prompts that are found in a cache, by policy.

    .venv/bin/python -m research.timings.prefix_hits [--pages 12] [--questions 6] [--json]

Needs vLLM in .cache/vllm (`python -m askdocs.environments vllm --home .cache/vllm`) and some 10 GB
of memory; on two cores it takes some ten minutes. The pages are made up, for each policy other ones
of the same length, so that none meets what another has left in a cache. They are asked in shuffled
order, two questions at a time, as the gateway asks: the page first, the question last. What is
counted is what both vLLMs tell in /metrics.
"""

import argparse
import asyncio
import json
import random
import re
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx

from askdocs import environments
from gateway.answering.grounding import prompt
from gateway.answering.grounding.excerpt import Excerpt
from gateway.upstream.engine import Engine
from tests import starting
from tests.scale.routed import ROOT, router
from tests.vllm_serving import INSTALL, convert, serving_folder
from wiki.pages.page import Page, Section

POLICIES = ("round_robin", "cache_aware", "consistent_hash")
WORDS = 250  # of a page: some 400 tokens
AT_ONCE = 2


def made_up(policy: str, number: int) -> Page:
    """A page that no other begins as."""
    chance = random.Random(f"{policy} {number}")
    words = " ".join(chance.choice(VOCABULARY) for _ in range(WORDS))
    section = Section(f"Page {number}", "page", (f"Page {number}",), words)
    return Page(f"{policy}-{number}.md", f"Page {number}", "http://wiki/", (section,))


VOCABULARY = re.findall(r"\w+", prompt.SYSTEM + (__doc__ or ""))


async def measure(
    policy: str, routed: str, engines: list[Engine], pages: int, questions: int
) -> dict[str, Any]:
    before = [await engine.prefix_cache() for engine in engines]
    asked = [(page, question) for page in range(pages) for question in range(questions)]
    random.Random(1).shuffle(asked)
    slots = asyncio.Semaphore(AT_ONCE)
    first: list[float] = []

    async with httpx.AsyncClient(timeout=600, trust_env=False) as client:

        async def ask(page: int, question: int) -> None:
            whole = made_up(policy, page)
            excerpt = Excerpt(whole, whole.sections, 0)
            messages = prompt.render([excerpt], f"What does it say of case {question}?")
            body = {"model": "base", "messages": messages, "max_tokens": 1, "temperature": 0}
            async with slots:
                began = time.monotonic()
                # As the gateway names the page, see gateway.dispatch.Call.session.
                named = {"x-session-id": f"{policy} {page}"}
                reply = await client.post(f"{routed}/chat/completions", json=body, headers=named)
                reply.raise_for_status()
                first.append(time.monotonic() - began)

        await asyncio.gather(*(ask(*one) for one in asked))
    told = []
    for engine, old in zip(engines, before, strict=True):
        new = await engine.prefix_cache()
        assert new is not None
        assert old is not None
        told.append((new.asked - old.asked, new.found - old.found))
    tokens, found = (sum(column) for column in zip(*told, strict=True))
    return {
        "policy": policy,
        "prompts": len(asked),
        "tokens": tokens,
        "found": round(found / tokens, 3),
        "first_token_p50": round(statistics.median(first), 2),
        "first_token_mean": round(statistics.mean(first), 2),
        "tokens_by_engine": [tokens for tokens, _ in told],
    }


async def run(folder: Path, urls: list[str], pages: int, questions: int) -> list[dict[str, Any]]:
    rows = []
    engines = [Engine(f"{url}/v1") for url in urls]
    for policy in POLICIES:
        with router(folder / f"{policy}.log", urls, "--policy", policy) as routed:
            rows.append(await measure(policy, routed.url, engines, pages, questions))
            print(rows[-1], file=sys.stderr, flush=True)
    for engine in engines:
        await engine.close()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pages", type=int, default=12)
    parser.add_argument("--questions", type=int, default=6)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    python = environments.find_vllm(ROOT / ".cache" / "vllm")
    if python is None:
        sys.exit(f"vLLM is not there: {INSTALL}")
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        folder = Path(place)
        model = convert(python, starting.shipped(), folder / "small")
        urls = []
        for number in range(2):
            print(f"starting replica {number + 1} of 2", file=sys.stderr, flush=True)
            log = folder / f"vllm-{number}.log"
            urls.append(stack.enter_context(serving_folder(python, model, log)))
        rows = asyncio.run(run(folder, urls, options.pages, options.questions))
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    print("| policy | prompts | tokens found in a cache | first token, median / mean, s |")
    print("|---|---|---|---|")
    for row in rows:
        print(
            f"| {row['policy']} | {row['prompts']} | {row['found']:.1%}"
            f" | {row['first_token_p50']} / {row['first_token_mean']} |"
        )


if __name__ == "__main__":
    main()
