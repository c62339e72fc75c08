"""Two real vLLMs behind vLLM's router and the gateway: what they find in their caches, and a kill.

tests/scale/test_router.py kills stand-ins, with more load and answers that are known to the letter.
Two vLLMs on two cores read some 80 tokens a second: this takes ten minutes.
"""

import asyncio
import os
import random
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from gateway.upstream.engine import Engine
from tests import starting
from tests.scale.routed import Asked, Router, config, continued, router
from tests.vllm_serving import serving_folder

pytestmark = [pytest.mark.slow, pytest.mark.chaos, pytest.mark.timeout(1800)]

# A page about each; every other one is asked about by turns, so that no policy meets what another
# has left in a cache.
WORDS = (
    *("ladder", "kettle", "passport", "lantern", "microscope", "saddle", "violin", "anchor"),
    *("telescope", "umbrella", "compass", "hammock", "pumpkin", "trumpet", "blanket", "scissors"),
    *("mirror", "candle", "bicycle", "helmet", "basket", "carpet", "hammer", "whistle"),
)
QUESTIONS = 3
AT_ONCE = 2
# Beside the file that is shipped: the same engines behind another router.
BY_TURNS = """
[gateway.models.turns]
url = "{url}"
model = "base"

[gateway.aliases.by-turns]
targets = "turns"
grounding = true
"""


def page(word: str) -> str:
    """Some 450 tokens."""
    told = (
        f"On shelf {number} is a {word} that weighs {number} pounds." for number in range(10, 40)
    )
    return f"# The {word}\n\n{' '.join(told)}\n"


@dataclass
class Setting:
    urls: list[str]
    router: Router
    gateway: starting.Gateway

    def client(self) -> httpx.AsyncClient:
        headers = {"authorization": f"Bearer {starting.KEY}"}
        return httpx.AsyncClient(
            base_url=self.gateway.url, headers=headers, timeout=300, trust_env=False
        )


@pytest.fixture(scope="module")
def setting(
    vllm_python: Path, small_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Setting]:
    folder = tmp_path_factory.mktemp("replicas")
    docs = folder / "docs"
    docs.mkdir()
    for word in WORDS:
        (docs / f"{word}.md").write_text(page(word))
    with ExitStack() as stack:

        def serve(number: int) -> str:
            log = folder / f"vllm-{number}.log"
            return stack.enter_context(serving_folder(vllm_python, small_folder, log))

        with ThreadPoolExecutor(2) as pool:
            urls = list(pool.map(serve, range(2)))
        routed = stack.enter_context(router(folder / "router.log", urls))
        turns = stack.enter_context(router(folder / "turns.log", urls, "--policy", "round_robin"))
        text = config(routed.url, "base") + BY_TURNS.format(url=turns.url)
        (folder / "askdocs.toml").write_text(text)
        gateway = starting.gateway(
            folder,
            gateway_engine_url=routed.url,
            gateway_engine_model="base",
            gateway_docs=str(docs),
        )
        yield Setting(urls, routed, stack.enter_context(gateway))


async def found(setting: Setting, alias: str, words: Sequence[str]) -> float:
    """The share of prompts that the engines find in their caches: questions in shuffled order."""
    asked = [(word, number) for word in words for number in range(QUESTIONS)]
    random.Random(1).shuffle(asked)
    slots = asyncio.Semaphore(AT_ONCE)
    engines = [Engine(f"{url}/v1") for url in setting.urls]

    async with setting.client() as client:

        async def ask(word: str, number: int) -> None:
            question = f"What is on shelf {number + 10} of the {word}?"
            messages = [{"role": "user", "content": question}]
            body = {"model": alias, "messages": messages, "max_tokens": 1}
            async with slots:
                (await client.post("/chat/completions", json=body)).raise_for_status()

        before = [await engine.prefix_cache() for engine in engines]
        await asyncio.gather(*(ask(*one) for one in asked))
        after = [await engine.prefix_cache() for engine in engines]
    for engine in engines:
        await engine.close()
    told = [
        (new.asked - old.asked, new.found - old.found)
        for old, new in zip(before, after, strict=True)
        if old and new
    ]
    assert all(tokens for tokens, _ in told)  # both had something to do
    return sum(hits for _, hits in told) / sum(tokens for tokens, _ in told)


async def test_more_of_prompts_is_found_in_a_cache_than_by_turns(setting: Setting) -> None:
    shipped = await found(setting, "docs", WORDS[::2])
    turns = await found(setting, "by-turns", WORDS[1::2])
    print(f"found: {shipped:.1%} as shipped, {turns:.1%} by turns")
    assert shipped > turns + 0.1


def kill(url: str) -> None:
    """The whole replica, with its workers."""
    address = ("127.0.0.1", httpx.URL(url).port)
    listening = [one for one in psutil.net_connections("tcp4") if one.status == "LISTEN"]
    (pid,) = {one.pid for one in listening if one.laddr == address}
    assert pid
    os.killpg(os.getpgid(pid), signal.SIGKILL)


async def test_a_replica_that_is_killed_while_it_writes_loses_no_answer(setting: Setting) -> None:
    before, routed = continued(setting.gateway), setting.router.asked()
    begun: set[int] = set()
    many = asyncio.Event()

    async with setting.client() as client:

        async def ask(number: int) -> Asked:
            messages = [{"role": "user", "content": f"Tell me a story. ({number})"}]
            body = {"model": "docs", "messages": messages, "max_tokens": 40, "stream": True}
            off = {"x-askdocs-grounding": "off"}
            text = ""
            try:
                async with client.stream(
                    "POST", "/chat/completions", json=body, headers=off
                ) as reply:
                    async for part in reply.aiter_text():
                        text += part
                        begun.add(number)
                        if len(begun) == 15:
                            many.set()
            except httpx.HTTPError as error:
                return Asked(True, 0, f"{text}{error!r}")
            return Asked(True, reply.status_code, text)

        tasks = [asyncio.create_task(ask(number)) for number in range(20)]
        await asyncio.wait_for(many.wait(), 300)
        kill(setting.urls[0])
        # These come before the router knows.
        tasks += [asyncio.create_task(ask(number)) for number in range(20, 30)]
        answers = await asyncio.gather(*tasks)
    asked = {url: count - routed.get(url, 0) for url, count in setting.router.asked().items()}
    print(asked, continued(setting.gateway) - before)
    assert min(asked.values()) > 5
    assert [one for one in answers if not (one.is_whole and one.said.strip())] == []
    assert continued(setting.gateway) > before
