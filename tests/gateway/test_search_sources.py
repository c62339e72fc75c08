"""A question to some of the wikis in an index finds pages of those alone."""

import asyncio
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from gateway.answering.grounding.ground import Grounding
from tests.gateway.conftest import SITE, page
from wiki.index.embed import Embedder
from wiki.index.index import Index, writing
from wiki.index.missing import embed_missing
from wiki.search import ranking
from wiki.search.search import Search

LEAVE = "# {0}\n\nAsk the people team for leave of {0} days.\n"
QUESTION = "Whom do I ask for leave?"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory, embedder: Embedder) -> Path:
    """Many pages of `it` that answer as well as the few of `hr`."""
    file = tmp_path_factory.mktemp("two") / "index.db"
    with writing(file) as writer:
        for number in range(30):
            writer.put("it", page(f"it/{number}.md", LEAVE.format(number)), "1")
        writer.put("hr", page("hr/leave.md", "# Holidays\n\nThe office grants holidays."), "1")
        writer.put("hr", page("hr/pay.md", "# Pay\n\nSalaries come on the first."), "1")
    embed_missing(partial(writing, file), embedder)
    return file


@pytest.fixture
def index(file: Path) -> Iterator[Index]:
    index = Index(file)
    yield index
    index.close()


def found(search: Search, sources: Sequence[str], page_url: str | None = None) -> list[str]:
    hits = search.hits(search.sought(QUESTION), page_url, 300, sources)
    return [hit.page.path for hit in hits]


@pytest.mark.parametrize("few", [2, ranking.FEW])
def test_what_another_wiki_answers_better_is_not_in_the_way(
    index: Index, embedder: Embedder, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranking, "CANDIDATES", 20)
    monkeypatch.setattr(ranking, "FEW", few)
    search = Search(index, embedder)
    assert not [path for path in found(search, ()) if path.startswith("hr/")]
    assert found(search, ["hr"])[0] == "hr/leave.md"
    assert {path.partition("/")[0] for path in found(search, ["it"])} == {"it"}
    assert found(search, ["hr", "it"])[0].startswith("it/")
    assert found(search, ["nobody"]) == []


def test_the_page_that_the_reader_is_on_does_not_count_when_its_wiki_is_not_asked(
    index: Index, embedder: Embedder
) -> None:
    search = Search(index, embedder)
    assert found(search, ["hr"], f"{SITE}it/3/") == found(search, ["hr"])


def test_to_name_all_wikis_is_to_name_none(index: Index) -> None:
    search = Search(index, None)
    everything = found(search, ())
    assert everything
    assert found(search, ["hr", "it"]) == found(search, ["it", "hr"]) == everything


def test_a_question_that_only_another_wiki_answers_is_refused(
    index: Index, embedder: Embedder
) -> None:
    async def count(texts: Sequence[str]) -> list[int]:
        return [len(text) // 4 + 1 for text in texts]

    grounding = Grounding(index, count, embedder)
    question = "Whom do I ask for leave of 7 days?"
    for sources, path in (((), "it/7.md"), (("it",), "it/7.md")):
        grounds = asyncio.run(grounding.ground(question, 900, sources=sources))  # one page
        assert [part.page.path for part in grounds.excerpts] == [path]
    question = "When do salaries come?"
    assert asyncio.run(grounding.ground(question, 2000, sources=["hr"])).excerpts
    assert not asyncio.run(grounding.ground(question, 2000, sources=["it"])).excerpts
