"""What an engine's prefix cache tells a key of what others have sent: a gateway on real engines."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from core import database
from gateway.access.keys import Keys
from gateway.answering.grounding.excerpt import Excerpt
from gateway.answering.grounding.prompt import render
from tests import starting
from tests.conformance.vllm_metrics import Vllm
from tests.waiting import until
from wiki.index.index import Index

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

CLOSED = " ".join(
    f"The Falcon severance of step {n} is {n * 7919 % 99_991} euros." for n in range(12)
)
OPEN = " ".join(f"Tea number {n} is served in kitchen {n * 31 % 97}." for n in range(12))
PAGES = {
    "tea.md": f"---\ngroups: everybody\n---\n# Tea\n\n{OPEN}\n",
    "pay.md": f"---\ngroups: hr\n---\n# Falcon severance\n\n{CLOSED}\n",
}
PAY = "What is the Falcon severance?"
TEA = "In which kitchen is tea served?"


class Asking:
    """Keys of a gateway, and how much of their prompts its engine finds in its cache."""

    def __init__(self, gateway: starting.Gateway, engine: str) -> None:
        self.gateway = gateway
        self._engine = engine.removesuffix("/v1")
        store = database.open(gateway.database)
        keys = Keys(store)
        self.keys = {
            "hr": keys.create("hr", groups=["hr"])[1],
            "boss": keys.create("boss", groups=["hr", "board"])[1],
            "plain": keys.create("plain")[1],
            "guest": keys.create("guest")[1],
        }
        store.dispose()

    def cached(self, key: str, path: str = "chat/completions", **body: Any) -> float:
        """The share of the prompt that was cached."""
        before = self._counts()
        reply = httpx.post(
            f"{self.gateway.url}/{path}",
            json={"model": "base", "max_tokens": 1, **body},
            headers={"authorization": f"Bearer {self.keys[key]}"},
            timeout=120,
        )
        assert reply.status_code == 200, reply.text
        assert not re.search(r"cache|timings", reply.text)
        asked, found = (now - then for now, then in zip(self._counts(), before, strict=True))
        return found / asked

    def docs(self, key: str, *said: str) -> float:
        return self.cached(key, model="docs", messages=turns(*said))

    def _counts(self) -> tuple[float, float]:
        metrics = httpx.get(f"{self._engine}/metrics", timeout=30).text
        sums: dict[str, float] = {}
        for name, value in re.findall(r"^([a-z:_]+)(?:\{.*\})? (\S+)$", metrics, re.M):
            sums[name] = sums.get(name, 0) + float(value)
        if "vllm:prefix_cache_queries_total" in sums:
            return sums["vllm:prefix_cache_queries_total"], sums["vllm:prefix_cache_hits_total"]
        found = sums["llamacpp:prompt_tokens_cached_total"]
        return sums["llamacpp:prompt_tokens_total"] + found, found


def turns(*said: str) -> list[dict[str, str]]:
    roles = ("user", "assistant")
    return [{"role": roles[n % 2], "content": text} for n, text in enumerate(said)]


@pytest.fixture(scope="module", params=["llama.cpp", "vllm"])
def asking(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Asking]:
    folder = tmp_path_factory.mktemp("cache")
    if request.param == "vllm":
        url = Vllm(request.getfixturevalue("vllm_url")).url
        with _gateway(folder, url) as gateway:
            yield _prefilled(gateway, url)
        return
    shallow: Path = request.getfixturevalue("shallow")
    with starting.engine(folder, gguf=shallow) as engine, _gateway(folder, engine.url) as gateway:
        yield _prefilled(gateway, engine.url)


def _gateway(folder: Path, engine: str) -> Any:
    wiki = folder / "wiki"
    wiki.mkdir()
    for path, text in PAGES.items():
        (wiki / path).write_text(text)
    return starting.gateway(
        folder,
        gateway_engine_url=engine,
        gateway_docs=str(wiki),
        gateway_docs_kind="preview",
        gateway_page_budget="900",  # one page for each question
        gateway_max_tokens="16",
        gateway_prefill="true",
    )


def _prefilled(gateway: starting.Gateway, engine: str) -> Asking:
    until(lambda: "pages prefilled" in gateway.log.read_text(), 60)
    return Asking(gateway, engine)


def guessed(asking: Asking, path: str, question: str) -> list[dict[str, Any]]:
    """The prompt of a question about a page, guessed without a mistake."""
    index = Index(asking.gateway.home.parent / "index.db")
    page = index.by_path(path)
    index.close()
    assert page is not None
    return render([Excerpt(page, page.sections, 1)], question)


def test_only_pages_for_everybody_are_prefilled(asking: Asking) -> None:
    assert "1 of 1 pages prefilled" in asking.gateway.log.read_text()
    assert asking.docs("guest", "Which kitchen has tea number 5?") > 0.7


def test_who_may_not_read_a_page_does_not_learn_that_a_guess_of_it_is_right(
    asking: Asking,
) -> None:
    asking.docs("hr", PAY)
    guess = guessed(asking, "pay.md", PAY)
    for key in ("plain", "boss"):  # it would tell the boss who has asked
        assert asking.cached(key, messages=guess) < 0.1
    assert asking.cached("plain", messages=guess, cache_salt="0123456789abcdef") > 0.9  # its own
    text = "\n".join(message["content"] for message in guess)
    assert asking.cached("plain", "completions", prompt=text) < 0.1


def test_readers_of_the_same_pages_share_them(asking: Asking) -> None:
    asking.docs("hr", PAY)
    assert asking.docs("boss", "How many euros is the Falcon severance of step 3?") > 0.7


def test_pages_for_everybody_are_shared_by_all_keys(asking: Asking) -> None:
    asking.docs("hr", TEA)
    assert asking.docs("plain", "In which kitchen is tea number 3 served?") > 0.7


def test_a_key_does_not_learn_what_another_has_sent(asking: Asking) -> None:
    secret = " ".join(f"The offer to Wrenfield has clause {n * 7919 % 9973}." for n in range(12))
    told = [{"role": "system", "content": "You write letters."}, *turns(secret)]
    assert asking.cached("hr", messages=told) < 0.3
    assert asking.cached("plain", messages=told) < 0.3
    assert asking.cached("hr", messages=told) > 0.9
    for prompt in (secret, f"<|fim_prefix|>{secret}<|fim_suffix|>end<|fim_middle|>"):
        assert asking.cached("hr", "completions", prompt=prompt) < 0.1
        assert asking.cached("plain", "completions", prompt=prompt) < 0.1


def test_a_conversation_about_public_pages_is_its_own_keys(asking: Asking) -> None:
    answer = " ".join(f"As I know, the reserve {n} is {n * 7919 % 9973}." for n in range(20))
    said = (TEA, answer, "And where is tea number 4 served?")
    asking.docs("hr", *said)
    assert asking.docs("guest", *said) < 0.1
    assert asking.docs("hr", *said) > 0.9


def test_agents_share_no_prompts(asking: Asking) -> None:
    function = {"name": "look", "parameters": {"type": "object", "properties": {}}}
    told = [{"role": "system", "content": "You write code."}, *turns(f"Read this. {CLOSED}")]
    body: dict[str, Any] = {"tools": [{"type": "function", "function": function}]}
    body |= {"model": "docs", "messages": told}
    asking.cached("hr", **body)
    assert asking.cached("guest", **body) < 0.3
    assert asking.cached("hr", **body) > 0.9
