"""From a question to pages, or to none."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial

import pytest

from gateway.answering.grounding.ground import ALONE, Grounding, Grounds, Library
from gateway.answering.grounding.prompt import render
from tests.gateway.conftest import SITE
from wiki.index.embed import Embedder
from wiki.index.index import Index, writing
from wiki.index.missing import embed_missing
from wiki.rights import PUBLIC
from wiki.rules import NO_RULES
from wiki.search.rerank import InTime
from wiki.search.search import Search

Make = Callable[..., Index]


async def count(texts: Sequence[str]) -> list[int]:
    return [len(text) // 4 + 1 for text in texts]


FILLER = "Further reading is to be found in the archive of the museum.\n\n"


@pytest.fixture
def wiki(indexed: Make) -> Index:
    return indexed(
        z_backup="# Backup\n\nMake a backup of the server every night.\n\n" + FILLER,
        a_restore="# Restore\n\nRestore the backup of the server after a failure.\n\n" + FILLER,
        ports="# Ports\n\nThe port is 4000. Change the port in the settings.\n\n" + FILLER,
        long="# Long\n\n"
        + "\n\n".join(f"## Part {n}\n\nTopic{n} of zebras. " * 20 for n in range(40)),
    )


def ground(
    index: Index,
    question: str,
    budget: int = 2000,
    page_url: str | None = None,
) -> Grounds:
    return asyncio.run(Grounding(index, count).ground(question, budget, page_url))


def paths(grounds: Grounds) -> list[str]:
    return [part.page.path for part in grounds.excerpts]


def test_the_page_that_answers_is_chosen(wiki: Index) -> None:
    assert paths(ground(wiki, "How do I change the port?")) == ["ports.md"]


class Counting:
    """A reranker that counts the questions."""

    def __init__(self) -> None:
        self.asked = 0

    def scores(self, question: str, texts: Sequence[str], seconds: float) -> list[float]:
        self.asked += 1
        return [0.0] * len(texts)


@pytest.mark.parametrize("beside", [0.1, None])
async def test_only_a_reranker_that_moves_pages_is_asked_for_those_of_the_turn_before(
    wiki: Index, beside: float | None
) -> None:
    reranker = Counting()
    search = Search(wiki, None, InTime(reranker, 8, 60.0, beside))
    grounding = Grounding(wiki, count, search=search)
    before = await grounding.before(["How do I restore a backup?"])
    assert [part.page.path for part in before] == ["a_restore.md", "z_backup.md"]
    assert reranker.asked == (1 if beside is None else 0)
    await grounding.look_up("How do I restore a backup?")
    assert reranker.asked == (2 if beside is None else 1)


@pytest.mark.parametrize("question", ["Wie kann ich ein backup machen?", "backup と restore"])
def test_the_bundled_reranker_is_asked_in_english_alone(wiki: Index, question: str) -> None:
    reranker = Counting()
    Search(wiki, None, InTime(reranker, 8, 60.0, 0.1)).find(question)
    assert reranker.asked == 0
    Search(wiki, None, InTime(reranker, 8, 60.0)).find(question)
    assert reranker.asked == 1


@pytest.mark.parametrize(
    "question",
    [
        "What is the capital of France?",
        "Who won the football championship in 1998?",
        "Write a poem about kangaroos and port wine in Lisbon harbour.",
        "?",
        "how do I do this",
        "",
    ],
)
def test_a_question_from_outside_is_refused(wiki: Index, question: str) -> None:
    assert paths(ground(wiki, question)) == []


def test_a_refusal_still_names_the_pages_that_came_nearest(wiki: Index) -> None:
    grounds = ground(wiki, "Which kangaroos jump over a harbour near the port of Lisbon?")
    assert grounds.excerpts == ()
    assert grounds.tokens == 0
    assert [page.path for page in grounds.best] == ["ports.md"]


def test_a_question_without_words_is_about_the_page_that_the_reader_is_on(wiki: Index) -> None:
    assert paths(ground(wiki, "How do I do this?", page_url=f"{SITE}ports/#x")) == ["ports.md"]


def test_a_question_from_outside_is_refused_on_every_page(wiki: Index) -> None:
    asked = "What is the capital of France?"
    assert paths(ground(wiki, asked, page_url=f"{SITE}ports/")) == []


def test_an_address_that_is_none_of_the_wikis_changes_nothing(wiki: Index) -> None:
    asked = "How do I change the port?"
    for url in ("https://elsewhere.example/", "http://[", "\ud800"):
        assert ground(wiki, asked, page_url=url) == ground(wiki, asked)


def test_pages_stand_in_the_order_of_their_paths_whatever_their_rank(indexed: Make) -> None:
    made = indexed(a="# One\n\nSet a port.", b="# Two\n\nSet a port.", c="# X\n\nElse.")
    for here in ("a", "b"):
        grounds = ground(made, "How to set a port?", page_url=f"{SITE}{here}/")
        assert grounds.best[0].path == f"{here}.md"
        assert paths(grounds) == ["a.md", "b.md"]


def test_a_question_that_points_at_the_readers_page_is_answered_from_it(wiki: Index) -> None:
    asked = "How do I change this?"
    grounds = ground(wiki, asked, page_url=f"{SITE}a_restore/")
    assert not grounds.excerpts or "a_restore.md" in paths(grounds)
    assert grounds.best[0].path == "a_restore.md"


@pytest.mark.parametrize(("budget", "pages"), [(ALONE - 1, 1), (ALONE, 2)])
def test_the_budget_alone_decides_how_many_pages_there_are(
    wiki: Index, budget: int, pages: int
) -> None:
    assert len(ground(wiki, "backup of the server", budget).excerpts) == pages


def test_a_page_whose_passages_fill_little_of_the_budget_is_in_the_prompt(indexed: Make) -> None:
    made = indexed(
        **{f"p{n}": f"# Printer {n}\n\nThe printer needs toner number {n}." for n in range(10)}
    )
    assert len(ground(made, "Which toner does the printer need?").excerpts) == 10


@pytest.mark.parametrize("budget", [200, 320, 500, 1000, 5000])
@pytest.mark.parametrize("question", ["topic7 of zebras", "backup of the server"])
def test_the_budget_is_kept(wiki: Index, budget: int, question: str) -> None:
    grounds = ground(wiki, question, budget)
    assert 0 < grounds.tokens <= budget
    text = "".join(part.text for part in grounds.excerpts)
    assert len(text) // 4 <= budget


@pytest.mark.parametrize(
    ("warm", "room", "whole"),
    [(True, 50_000, True), (True, 1000, False), (False, 50_000, False), (True, 0, False)],
)
def test_a_page_beyond_the_budget_stands_whole_where_the_engine_has_read_it_ahead(
    wiki: Index, warm: bool, room: int, whole: bool
) -> None:
    grounding = Grounding(wiki, count)
    (long,) = (page for page in wiki.pages() if page.path == "long.md")
    number = wiki.number(long)
    assert number is not None
    if warm:
        grounding.warm.add(number)
    grounds = asyncio.run(grounding.ground("topic7 of zebras", 500, warm_page=room))
    (part,) = grounds.excerpts
    assert part.page == long
    assert (part.is_whole, grounds.is_warm) == (whole, whole)
    assert whole or part.tokens <= 500


def test_a_page_is_counted_once_and_again_when_it_has_changed(indexed: Make) -> None:
    counted: list[str] = []

    async def counting(texts: Sequence[str]) -> list[int]:
        counted.extend(texts)
        return await count(texts)

    async def ask(*wikis: Index) -> None:
        grounding = Grounding(wikis[0], counting)
        for wiki in wikis:
            grounding.index = grounding.search.index = wiki
            await grounding.ground("change the port", 2000)

    old, new = indexed(a="# Port\n\nChange it."), indexed(a="# Port\n\nDo not change the port.")
    asyncio.run(ask(old, old, new, old, new))
    assert counted == ["# Port\n\nChange it.\n\n", "# Port\n\nDo not change the port.\n\n"]


def test_what_is_counted_is_what_stands_in_the_prompt(indexed: Make) -> None:
    counted: list[str] = []

    async def counting(texts: Sequence[str]) -> list[int]:
        counted.extend(texts)
        return await count(texts)

    made = indexed(a="# Port\n\nChange <|im_end|> it.")
    grounds = asyncio.run(Grounding(made, counting).ground("change the port", 2000))
    assert counted[0].strip() in render(grounds.excerpts, "?")[0]["content"]


def test_a_question_that_goes_on_is_read_with_the_one_before_it(wiki: Index) -> None:
    async def ask(history: list[str]) -> Grounds:
        grounding = Grounding(wiki, count)
        return await grounding.ground("And topic7?", 400, history=history)

    grounds = asyncio.run(ask(["Where are the zebras?"]))
    assert grounds.sought == "Where are the zebras?\nAnd topic7?"
    assert paths(grounds) == ["long.md"]
    assert "Topic7 of zebras" in grounds.excerpts[0].text


def test_words_alone_say_whether_a_question_without_spaces_is_answered(
    indexed: Make, embedder: Embedder
) -> None:
    """To an English model all Japanese is alike."""
    index = indexed(
        a="# 印刷\n\nプリンタを接続してから、設定画面を開きます。",
        b="# バックアップ\n\n毎晩データを別のディスクに保存します。",
    )
    embed_missing(partial(writing, index.file), embedder)
    grounding = Grounding(index, count, embedder)
    for question, found in [
        ("プリンタの設定画面を開く方法", ["a.md"]),
        ("バックアップを保存するディスクは?", ["b.md"]),
        ("確定申告", []),
        ("京都の天気予報", []),
    ]:
        grounds = asyncio.run(grounding.ground(question, 2000))
        assert [page.path for page in grounds.best[: len(grounds.excerpts[:1])]] == found, question
        assert grounds.signals.similarity is None
    # Two bigrams are about one word.
    assert grounding.find(grounding.search.sought("vim 京都の天気"))[1].words == 3
    assert grounding.find(grounding.search.sought("open the printer"))[1].similarity is not None


def test_a_page_of_many_short_sections_answers_what_one_of_them_is_about(
    indexed: Make, embedder: Embedder
) -> None:
    sections = {
        "Float": "Each till starts with 120 pounds. Count it with a second person.",
        "Tips": "What is in the jar is shared out each Sunday by hours worked.",
        "Deliveries": "Refuse cream that arrives warmer than seven degrees.",
        "Alarm": "Disarm it within forty seconds; every lead has a personal code.",
        "Printers": "Take the roll out and clean the head with a swab.",
        "Parking": "The yard is for vans. Bicycles stand behind the flour store.",
    }
    text = "\n\n".join(f"## {name}\n\n{body}" for name, body in sections.items())
    index = indexed(shop=f"# The shop\n\n{text}", oven="# Oven\n\nWarm it up for an hour.")
    embed_missing(partial(writing, index.file), embedder)
    grounding = Grounding(index, count, embedder)

    def answered(question: str) -> bool:
        return bool(asyncio.run(grounding.ground(question, 2000)).excerpts)

    assert answered("who gets the tips in the jar?")
    assert answered("where can I park my bike?")
    assert not answered("What is the capital of France?")
    assert not answered("How do I write a decorator in Python?")


def test_before_pages_have_vectors_a_long_question_about_something_else_is_refused(
    indexed: Make, embedder: Embedder
) -> None:
    index = indexed(
        tips="# Tips\n\nWhat is in the jar is shared out each Sunday by hours worked.",
        float="# Float\n\nEach till starts with 120 pounds. Count it with a second person.",
        parking="# Parking\n\nThe yard is for vans. Bicycles stand behind the flour store.",
    )
    grounding = Grounding(index, count, embedder)

    def answered(question: str) -> bool:
        return bool(asyncio.run(grounding.ground(question, 2000)).excerpts)

    assert not answered(
        "Our band plays at a festival on Sunday and the sound engineer cannot come. I have worked"
        " with mixers before, but never for so many hours, and can count to four. Which microphone"
        " should stand near the drums, and how loud may the second guitar be?"
    )
    assert answered(
        "On Sunday I worked eight hours with Ann, who had started at noon, and when we closed there"
        " was a lot of money in the jar, more than in any week before. She says that I get half of"
        " the tips. How are they shared out?"
    )


def test_the_passage_is_found_by_what_it_means_too(indexed: Make, embedder: Embedder) -> None:
    sections = {
        "Counterfeit notes": "Keep the note, write down what the person looked like, call 101.",
        "Cashing up": "Count the drawer with somebody of the shop, and seal the bag.",
        "Refunds": "Up to twenty pounds anybody may give money back against a receipt.",
    }
    text = "\n\n".join(f"## {name}\n\n{body}" for name, body in sections.items())
    index = indexed(cash=f"# Cash and tills\n\n{text}", oven="# Oven\n\nWarm it up for an hour.")
    embed_missing(partial(writing, index.file), embedder)
    grounding = Grounding(index, count, embedder)
    question = "somebody paid with a fake banknote"
    part = asyncio.run(grounding.ground(question, 30))
    assert [section.heading for section in part.excerpts[0].sections] == ["Counterfeit notes"]


async def test_a_page_that_many_ask_for_at_once_is_counted_once(wiki: Index) -> None:
    counted: list[int] = []

    async def slowly(texts: Sequence[str]) -> list[int]:
        counted.append(len(texts))
        await asyncio.sleep(0.2)
        return await count(texts)

    grounding = Grounding(wiki, slowly)
    (page,) = (page for page in wiki.pages() if page.path == "ports.md")
    asking = [asyncio.create_task(grounding.counts(page)) for _ in range(20)]
    await asyncio.sleep(0.05)
    asking[0].cancel()  # who asked first leaves, and the others still get it
    assert len({tuple(await task) for task in asking[1:]}) == 1
    assert counted == [len(page.sections)]


async def test_a_count_that_failed_is_tried_again(wiki: Index) -> None:
    fails = [True]

    async def counts(texts: Sequence[str]) -> list[int]:
        if fails.pop():
            raise OSError("away")
        return await count(texts)

    grounding = Grounding(wiki, counts)
    (page,) = (page for page in wiki.pages() if page.path == "ports.md")
    with pytest.raises(OSError, match="away"):
        await grounding.counts(page)
    fails.append(False)
    assert len(await grounding.counts(page)) == len(page.sections)


@pytest.mark.parametrize(
    "question", ["How do I change the port?", "What is the capital of France?"]
)
def test_no_part_of_the_index_is_read_in_the_event_loop(
    wiki: Index, question: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    places: list[str] = []
    take = Index.reading

    def reading(self: Index) -> AbstractContextManager[sqlite3.Connection]:
        places.append(threading.current_thread().name)
        return take(self)

    grounding = Grounding(wiki, count)
    grounding.warm = {1}
    monkeypatch.setattr(Index, "reading", reading)
    view = Library(grounding, NO_RULES).opened_to(PUBLIC)
    places.clear()
    asyncio.run(view.ground(question, 2000, f"{SITE}ports/"))
    assert places
    assert {place.rpartition("_")[0] for place in places} == {"search"}
