"""A team's own retriever: its chunks in the same prompt."""

import json
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from core.openai_client import RequestRefused
from eval.systems.rag.own import OwnRetriever
from eval.systems.rag.pipeline import Retrieved
from eval.systems.rag.settings import RagSettings
from tests.speaking import Handler, serving
from tests.training import small
from wiki.sources.markdown import parse

PUMP = parse("pump.md", "# The pump\n\nIt pumps.\n", "http://wiki/")


class _Handler(Handler):
    server: "Own"

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.json(*self.server.answers(asked))


class Own(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: Callable[[dict[str, Any]], tuple[int, Any]] = lambda asked: (200, {})


@pytest.fixture
def own() -> Iterator[Own]:
    with serving(Own()) as server:
        yield server


async def retrieved(own: Own, folder: Path, **more: Any) -> Retrieved:
    address = f"http://127.0.0.1:{own.server_port}/retrieve"
    settings = RagSettings(retriever=address, k=20, keep=2, budget=200, **more)
    async with OwnRetriever(settings, [PUMP], small.tokenizer(folder)) as retriever:
        return await retriever.retrieve("How?")


async def test_the_best_chunks_that_fit_are_in_the_prompt(own: Own, tmp_path: Path) -> None:
    asked: list[dict[str, Any]] = []
    chunks = [
        {"text": " It pumps. ", "page": PUMP.url},
        {"text": "word " * 300, "page": "long.md"},
        {"text": "From elsewhere.", "page": "https://example.com/a"},
        {"text": "Beyond keep."},
    ]
    own.answers = lambda body: (asked.append(body), (200, {"chunks": chunks}))[1]
    found = await retrieved(own, tmp_path)
    assert asked == [{"question": "How?", "k": 20}]
    assert [part.sections[0].text for part in found.excerpts] == ["It pumps.", "From elsewhere."]
    assert found.excerpts[0].page is PUMP
    assert found.pages == ("pump.md", "long.md", "https://example.com/a", "")


@pytest.mark.parametrize(
    ("status", "body"),
    [(500, {}), (200, {}), (200, []), (200, {"chunks": [{"text": 3}]}), (200, {"chunks": [1]})],
)
async def test_what_is_no_answer_is_an_error_of_the_question(
    own: Own, tmp_path: Path, status: int, body: Any
) -> None:
    own.answers = lambda _: (status, body)
    with pytest.raises(RequestRefused, match="/retrieve: "):
        await retrieved(own, tmp_path)


@pytest.mark.parametrize("address", ["ftp://a", "http://a?key=secret", "http://me:secret@a", "x"])
def test_an_address_with_a_secret_is_refused(address: str) -> None:
    with pytest.raises(ValidationError):
        RagSettings(retriever=address)
