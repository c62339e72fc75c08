"""A replica behind vLLM's router is killed under load: the real router, the real gateway.

The engines are stand-ins that are slow as a GPU: what is tested is who asks whom again.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx
import pytest

from askdocs.supervision.checks import free_port
from research.bench.gpu import plan
from research.bench.upstream import MODEL
from tests import starting
from tests.scale.routed import Asked, Router, StandIn, config, continued, router, until

pytestmark = pytest.mark.slow

# A page about each. Far apart, so that no question meets the page of another.
WORDS = (
    *("ladder", "kettle", "passport", "lantern", "microscope", "saddle"),
    *("violin", "anchor", "telescope", "umbrella", "compass", "hammock"),
)
QUESTIONS = 4

# An answer of 200 tokens takes about two seconds, so that many are under way at any time.
GAP = 0.01


def owned(word: str) -> str:
    """In two words that no other page has: the number in a question is a word that none has."""
    return f"{word} of {word.capitalize()}ville"


def place(word: str) -> str:
    return f"The {owned(word)} is kept in the cupboard of the {word} room, behind its {word} sign."


def shelves(word: str) -> str:
    """Two seconds of an answer."""
    told = (
        f"On shelf {number} is a {word} that weighs {number} pounds." for number in range(10, 28)
    )
    return " ".join(told)


@dataclass
class Setting:
    engines: list[StandIn]
    router: Router
    gateway: starting.Gateway


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    folder = tmp_path_factory.mktemp("router")
    engines = [StandIn(free_port(), GAP) for _ in range(2)]
    try:
        for engine in engines:
            engine.start()
        urls = [engine.root for engine in engines]
        docs = folder / "docs"
        docs.mkdir()
        for word in WORDS:
            (docs / f"{word}.md").write_text(f"# The {word}\n\n{place(word)} {shelves(word)}\n")
        with router(folder / "router.log", urls) as routed:
            (folder / "askdocs.toml").write_text(config(routed.url, MODEL))
            with starting.gateway(
                folder,
                gateway_engine_url=routed.url,
                gateway_engine_model=MODEL,
                gateway_docs=str(docs),
                gateway_page_budget="999",  # one page, which the router knows by its prefix
            ) as gateway:
                yield Setting(engines, routed, gateway)
    finally:
        for engine in engines:
            engine.kill()


def question(number: int) -> dict[str, str]:
    return {"role": "user", "content": f"Say something. ({number})"}


async def ask(client: httpx.AsyncClient, number: int, stream: bool, grounded: bool) -> Asked:
    asked = question(number)
    if grounded:
        asked["content"] = f"Where is the {owned(WORDS[number % len(WORDS)])} kept? ({number})"
    body = {"model": "docs", "messages": [asked], "stream": stream}
    how = {"x-askdocs-grounding": "on" if grounded else "off"}
    try:
        reply = await client.post("/chat/completions", json=body, headers=how)
    except httpx.HTTPError as error:
        return Asked(stream, 0, repr(error))
    return Asked(stream, reply.status_code, reply.text)


async def load(setting: Setting, count: int, kill_at: int, grounded: bool = False) -> list[Asked]:
    """Ask, every other time for a stream; one engine is killed on the way."""
    headers = {"authorization": f"Bearer {starting.KEY}"}
    async with httpx.AsyncClient(
        base_url=setting.gateway.url, headers=headers, timeout=120, trust_env=False
    ) as client:
        tasks = []
        for number in range(count):
            tasks.append(asyncio.create_task(ask(client, number, number % 2 == 0, grounded)))
            await asyncio.sleep(0.04)
            if number == kill_at:
                setting.engines[0].kill()
        return list(await asyncio.gather(*tasks))


async def test_a_replica_that_is_killed_under_load_loses_no_request(setting: Setting) -> None:
    answers = await load(setting, 150, 60)
    print(Counter((one.stream, one.is_whole) for one in answers), setting.router.asked())
    assert min(setting.router.asked().values()) > 5  # both had something to do
    # Whole answers have not begun before they end: all of them come, also those under way.
    assert [one for one in answers if not (one.stream or one.is_whole)] == []
    # So do streams: those that had not begun, and the other engine goes on with those that had.
    assert [one for one in answers if not one.is_whole] == []
    for number, one in enumerate(answers):
        _, planned = plan([question(number)])
        assert one.said == "".join(planned.tokens)
    assert continued(setting.gateway) > 0


async def test_nor_does_it_lose_an_answer_that_stands_on_pages(setting: Setting) -> None:
    before = continued(setting.gateway)
    for _ in range(5):  # on a busy machine the engine may be killed between two answers
        setting.engines[0].kill()
        setting.engines[0].start()
        urls = {engine.root for engine in setting.engines}
        until(lambda urls=urls: setting.router.healthy() == urls, 60)
        answers = await load(setting, 100, 40, grounded=True)
        assert [one for one in answers if not one.is_whole] == []
        for number, one in enumerate(answers):
            word = WORDS[number % len(WORDS)]
            assert one.said.count(place(word)) == 1
        if continued(setting.gateway) > before:
            return
    raise AssertionError("no answer was continued by the other engine")


def test_with_one_engine_left_the_gateway_is_ready(setting: Setting) -> None:
    setting.engines[0].kill()
    until(lambda: setting.engines[0].root not in setting.router.healthy(), 60)
    assert httpx.get(f"{setting.gateway.root}/ready", timeout=10).status_code == 200


def test_a_replica_that_is_back_is_asked_again(setting: Setting) -> None:
    first = setting.engines[0]
    first.kill()
    until(lambda: first.root not in setting.router.healthy(), 60)
    first.start()
    until(lambda: first.root in setting.router.healthy(), 60)

    def asked() -> bool:
        body = {"model": MODEL, "messages": [{"role": "user", "content": "Hi. (7)"}]}
        session = {"x-session-id": f"{random.random()}"}
        url = f"{setting.router.url}/chat/completions"
        httpx.post(url, json=body, headers=session, timeout=60)
        return "7" in httpx.get(f"{first.root}/log", timeout=5).json()

    until(asked, 60)


def test_questions_on_a_page_go_to_the_replica_that_has_read_it(setting: Setting) -> None:
    for engine in setting.engines:
        httpx.get(f"{engine.root}/log", timeout=10)  # forgets what was asked before
    asked = [(page, number) for page in range(len(WORDS)) for number in range(QUESTIONS)]
    random.Random(1).shuffle(asked)

    def ask(page: int, number: int) -> int:
        question = f"Where is the {owned(WORDS[page])} kept? ({page * 100 + number})"
        body = {"model": "docs", "messages": [{"role": "user", "content": question}]}
        headers = {"authorization": f"Bearer {starting.KEY}"}
        url = f"{setting.gateway.url}/chat/completions"
        return httpx.post(url, json=body, headers=headers, timeout=120).status_code

    with ThreadPoolExecutor(12) as pool:
        assert set(pool.map(ask, *zip(*asked, strict=True))) == {200}
    logs = [httpx.get(f"{engine.root}/log", timeout=10).json() for engine in setting.engines]
    read = [{int(number) // 100 for number in log} for log in logs]
    assert sum(map(len, logs)) == len(asked)
    # Each page is read by one of them, and each of them has pages.
    assert sum(map(len, read)) == len(WORDS)
    assert all(read)
