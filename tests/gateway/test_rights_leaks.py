"""What a reader gets does not depend on pages that they may not read.

Not only is no such page shown: whatever is asked through any door, a reader gets to the last digit
what an index gives that holds nothing but the pages of the reader.
"""

import asyncio
import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import AskdocsError
from gateway.answering.grounding.ground import Grounding, Library
from gateway.api.agents import llms
from gateway.api.agents.pages import Pages
from gateway.upstream.engine import estimates
from tests.gateway.conftest import SITE, page
from wiki.index import vectors
from wiki.index.embed import MODEL
from wiki.index.index import Index, writing
from wiki.index.missing import embed_missing
from wiki.rights import EVERYTHING, PUBLIC, Groups, Reader, both
from wiki.rules import NO_RULES, Rule, Rules

WORDS = [
    "tea",
    "coffee",
    "salary",
    "merger",
    "badge",
    "door",
    "printer",
    "Falcon",
    "layoff",
    "holiday",
]
NAMES = ("hr", "board", "eng")
WIKIS = ("a", "b/c")


class Hashing:
    """Texts with the same words are alike; no model has to be loaded.

    By the name of the bundled one: the two numbers of another are fitted to the whole index.
    """

    model = MODEL

    def embed(self, texts: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float32]]:
        found = np.zeros((len(texts), 384), np.float32)
        for row, text in enumerate(texts):
            for word in text.lower().split():
                found[row, hashlib.sha256(word.encode()).digest()[0]] += 1
        return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9)

    def ask(self, question: str) -> np.ndarray[Any, np.dtype[np.float32]]:
        vector: np.ndarray[Any, np.dtype[np.float32]] = self.embed([question])[0]
        return vector


EMBEDDER: Any = Hashing()

sets = st.frozensets(st.sampled_from(NAMES), max_size=2)
groups = st.none() | st.lists(sets, max_size=2).map(tuple)
texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=12).map(" ".join)


@st.composite
def wikis(draw: st.DrawFn) -> dict[tuple[str, str], tuple[str, Groups | None]]:
    count = draw(st.integers(1, 7))
    pages = {}
    for number in range(count):
        title, body, link = draw(texts), draw(texts), draw(st.integers(0, count - 1))
        folder = draw(st.sampled_from(["", "open/", "shut/"]))
        text = f"# {title}\n\n{body}. Also known as Wren ({draw(texts)}).\n\n"
        text += f"## {draw(texts)}\n\nSee [{draw(texts)}](/{link}/).\n"
        wiki = draw(st.sampled_from(WIKIS))
        pages[wiki, f"{folder}{number}.md"] = text, draw(groups)
    return pages


def built(
    file: Path,
    pages: Mapping[tuple[str, str], str],
    given: Mapping[Any, Groups | None],
) -> Index:
    with writing(file) as writer:
        for (wiki, path), text in pages.items():
            writer.put(wiki, page(path, text), "1", given.get((wiki, path)))
    embed_missing(partial(writing, file), EMBEDDER)
    return Index(file)


def everything(grounding: Grounding, question: str, page_url: str) -> str:
    """All that the doors of the gateway give for a question."""
    index = grounding.index
    gives: list[Any] = []
    for url in (None, page_url):
        looked = asyncio.run(grounding.look_up(question, url))
        for hit in looked.hits:
            gives.append([hit.page.url, hit.score, [[f.url, f.score] for f in hit.passages]])
            gives.append(str(hit.why))
        gives.append([looked.words, looked.signals, looked.is_answered, looked.sought])
    grounds = asyncio.run(grounding.ground(question, 400))
    gives.append([[e.page.url, [s.text for s in e.sections]] for e in grounds.excerpts])
    gives.append([one.url for one in grounds.best])
    pages = Pages(grounding)
    gives.append(pages.search(question, 20).text())
    gives.append([[place.uri, one.text] for place, one in pages.listed(None)[0]])
    for name in (page_url, page_url.removeprefix(SITE).rstrip("/") + ".md"):
        try:
            gives.append(pages.read(name).text())
        except AskdocsError as error:
            gives.append(str(error))
    gives.append("".join(llms.overview(index)) + "".join(llms.whole(index)))
    gives.append([index.size, len(index.numbers()), index.count("a"), index.vocabulary()])
    gives.append([one.name for one in index.sources()])
    gives.append(sorted([one.path, one.text] for one in index.pages()))
    gives.append(sorted(index.paths()))
    gives.append(sorted(index.of(["a"]) - set(index.numbers())))
    return json.dumps(gives, default=str)


def check(
    pages: Mapping[tuple[str, str], tuple[str, Groups | None]],
    reader: Reader,
    question: str,
    at: int,
    shut: frozenset[str] | None,
) -> None:
    rules = NO_RULES
    if shut is not None:
        rules = Rules({"shut": Rule(path="shut/", groups=tuple(shut))}, "everybody")
    of_rule = None if shut is None else (shut,)
    with tempfile.TemporaryDirectory() as folder:
        texts = {key: text for key, (text, _) in pages.items()}
        own = {key: given for key, (_, given) in pages.items()}
        url = page(sorted(pages)[at % len(pages)][1], "# A\n").url
        index = built(Path(folder) / "all.db", texts, own)
        # What the reader may read, by the definition, apart from the code that applies it.
        are_groups = any(given is not None for given in own.values())
        mine = {}
        for key, text in texts.items():
            asked = both(own[key], of_rule if key[1].startswith("shut/") else None)
            if asked is None and shut is None and are_groups:
                continue
            if all(some & reader.groups for some in asked or ()):  # type: ignore[operator]
                mine[key] = text
        other = built(Path(folder) / "mine.db", mine, {})
        try:
            library = Library(Grounding(index, estimates, EMBEDDER), rules)
            gives = everything(library.opened_to(reader), question, url)
            assert gives == everything(Grounding(other, estimates, EMBEDDER), question, url)
        finally:
            index.close()
            other.close()


questions = st.builds("{} {}?".format, texts, st.sampled_from([*WORDS, "Wren", "falkon", "this"]))
asked = given(
    wikis(),
    st.frozensets(st.sampled_from(NAMES)).map(Reader),
    questions,
    st.integers(0, 6),
    st.none() | sets,
)


@asked
@settings(max_examples=8)
def test_nothing_that_any_door_gives_depends_on_a_page_of_others(
    pages: Any, reader: Reader, question: str, at: int, shut: frozenset[str] | None
) -> None:
    check(pages, reader, question, at, shut)


@pytest.mark.slow
@pytest.mark.parametrize("exact", [0, vectors.EXACT])
def test_nothing_that_any_door_gives_depends_on_a_page_of_others_at_length(
    exact: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors, "EXACT", exact)

    @asked
    @settings(max_examples=50)
    def run(pages: Any, reader: Reader, question: str, at: int, shut: Any) -> None:
        check(pages, reader, question, at, shut)

    run()


def test_a_right_that_is_taken_away_is_gone_with_the_sync_that_saw_it(tmp_path: Path) -> None:
    file = tmp_path / "index.db"
    pages = {
        ("a", "pay.md"): "# Salary\n\nThe salary is high.\n",
        ("a", "tea.md"): "# Tea\n\nTea.\n",
    }
    index = built(file, pages, {})
    library = Library(Grounding(index, estimates, EMBEDDER), NO_RULES)

    def found(reader: Reader) -> list[str]:
        hits = asyncio.run(library.opened_to(reader).look_up("the salary")).hits
        return [hit.page.path for hit in hits]

    open_to_all = library.opened_to(PUBLIC)  # a request that is under way
    assert "pay.md" in found(PUBLIC)
    with writing(file) as writer:
        writer.regroup("a", "pay.md", (frozenset({"hr"}),), "2")
        writer.regroup("a", "tea.md", (), "2")
    assert found(PUBLIC) == ["tea.md"] or found(PUBLIC) == []
    assert "pay.md" in found(Reader(frozenset({"hr"})))
    assert "pay.md" in found(EVERYTHING)
    assert "pay.md" not in [one.path for one in open_to_all.index.pages()]
    assert open_to_all.index.by_url(page("pay.md", "# A\n").url) is None
    with pytest.raises(KeyError):
        open_to_all.index.page(index.paths()["pay.md"])
    index.close()


def test_pages_without_groups_are_for_nobody_beside_pages_that_have_some(tmp_path: Path) -> None:
    pages = {("a", "pay.md"): "# Pay\n", ("a", "tea.md"): "# Tea\n", ("b", "x.md"): "# X\n"}
    index = built(tmp_path / "index.db", pages, {("a", "pay.md"): (frozenset({"hr"}),)})

    def seen(without: Any, **rules: Rule) -> set[str]:
        library = Library(Grounding(index, estimates, EMBEDDER), Rules(rules, without))
        return set(library.opened_to(PUBLIC).index.paths())

    assert seen(None) == set()
    assert seen(None, b=Rule(wiki="b", groups=("everybody",))) == {"x.md"}
    assert seen("everybody") == {"tea.md", "x.md"}
    assert seen("nobody") == set()
    index.close()


def test_a_rule_without_pages_closes_pages_without_groups(tmp_path: Path) -> None:
    """A mistake in its path opens nothing."""
    index = built(tmp_path / "index.db", {("a", "tea.md"): "# Tea\n"}, {})
    mistaken = Rules({"hr": Rule(path="h/", groups=("hr",))})
    for rules, paths in ((NO_RULES, {"tea.md"}), (mistaken, set[str]())):
        library = Library(Grounding(index, estimates, EMBEDDER), rules)
        assert set(library.opened_to(PUBLIC).index.paths()) == paths
    index.close()
