"""Learning answered questions, with a real index and the real embedding model."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from gateway.core.errors import AskdocsError
from gateway.knowledge.search import calibration, embed, index
from gateway.knowledge.search.answered import MemoryMatch
from gateway.knowledge.search.embed import Embedder
from gateway.knowledge.search.learn import Learned, learn, question_id
from gateway.knowledge.search.rows import StoredAnswer
from gateway.knowledge.search.search import Search
from gateway.knowledge.search.writer import Writer
from gateway.knowledge.wiki.page import Page, Section

pytestmark = pytest.mark.slow

# What people call a thing, and the name under which the wiki writes about it.
THINGS = {
    "printer": "Aquila",
    "calendar": "Borealis",
    "password": "Carina",
    "signature": "Draco",
    "backup": "Eridanus",
    "camera": "Fornax",
    "invoice": "Gemini",
    "keyboard": "Hydra",
}
ASKED = (
    "The {} does not work any more since the update",
    "How do I switch the {} off?",
    "Where are the settings of the {}? I looked everywhere.",
    "My {} is gone!",
    "Can I share one {} between two computers?",
    "{} asks for permission each time I start the laptop",
)


def page(name: str) -> Page:
    text = f"# {name}\n\nThe {name} unit is set up in the panel. Ask the team of {name} for help."
    section = Section(name, name.lower(), (name,), text)
    return Page(f"{name.lower()}.md", name, f"http://wiki/{name.lower()}/", (section,))


def rows(*things: str) -> list[MemoryMatch]:
    return [
        MemoryMatch(f"qa.jsonl:{n}", asked.format(thing), (f"docs/{THINGS[thing].lower()}.md",))
        for thing in things or THINGS
        for n, asked in enumerate(ASKED, start=1)
    ]


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    found = embed.load()
    assert found is not None
    return found


class Wiki:
    def __init__(self, file: Path, embedder: Embedder) -> None:
        self.writing: Callable[[], AbstractContextManager[Writer]] = partial(index.writing, file)
        with self.writing() as writer:
            for name in (*THINGS.values(), "Indus", "Lyra"):
                writer.put("wiki", page(name), "")
        self.search = Search(index.Index(file), embedder)

    def learn(self, rows: list[MemoryMatch], *, dry_run: bool = False) -> Learned:
        return learn(self.search, self.writing, rows, dry_run=dry_run)

    def first(self, question: str) -> str:
        return self.search.find(question)[0].page.title


@pytest.fixture
def wiki(tmp_path: Path, embedder: Embedder) -> Iterator[Wiki]:
    made = Wiki(tmp_path / "index.db", embedder)
    yield made
    made.search.index.close()


def test_what_was_learnt_finds_pages_that_words_cannot(wiki: Wiki) -> None:
    learned = wiki.learn(rows())
    assert (learned.added, learned.known, learned.before) == (48, 0, None)
    assert learned.after.is_on
    assert learned.after.votes["1"] > learned.after.text["1"] + 0.4
    assert wiki.first("is there a way to restore a backup from yesterday?") == "Eridanus"
    assert wiki.first("the camera shows a black picture") == "Fornax"
    # The index keeps it for whoever opens it.
    stored = calibration.load(wiki.search.index.memory())
    assert stored == learned.after
    assert len(wiki.search.index.answers()) == 48


def test_a_page_that_answered_nothing_is_where_it_was(wiki: Wiki) -> None:
    questions = ["What does Indus do with a camera?", "Lyra", "printer of the team of Lyra"]
    wiki.learn([])  # the vectors of the pages
    before = [[hit.page.path for hit in wiki.search.find(one, limit=10)] for one in questions]
    assert wiki.learn(rows()).after.is_on
    after = [[hit.page.path for hit in wiki.search.find(one, limit=10)] for one in questions]
    assert before != after
    for was, now in zip(before, after, strict=True):
        assert was.index("indus.md") == now.index("indus.md")
        assert was.index("lyra.md") == now.index("lyra.md")


def test_the_same_rows_twice_are_the_same_answers(wiki: Wiki) -> None:
    first = wiki.learn([*rows(), *rows("camera")])
    assert (first.added, first.known) == (48, 6)
    again = wiki.learn([MemoryMatch("", f"  {one.question.upper()}", one.pages) for one in rows()])
    assert (again.added, again.changed, again.known) == (0, 0, 48)
    assert again.before == first.after
    assert again.after.votes == first.after.votes
    assert len(wiki.search.index.answers()) == 48


def test_a_later_answer_takes_the_place_of_an_earlier_one(wiki: Wiki) -> None:
    wiki.learn(rows("camera"))
    one = rows("camera")[0]
    learned = wiki.learn([MemoryMatch("", one.question, ("lyra.md",))])
    assert (learned.added, learned.changed, learned.known) == (0, 1, 0)
    stored = {answer.id: answer.paths for answer in wiki.search.index.answers()}
    assert stored[question_id(one.question)] == ("lyra.md",)


def test_what_an_evaluation_asks_is_not_learnt_and_forgotten_if_it_was(wiki: Wiki) -> None:
    wiki.learn(rows("camera", "printer"))
    again = [replace(row, held_out="camera" in row.question) for row in rows("camera", "printer")]
    learned = wiki.learn(again)
    assert (learned.held_out, learned.known, learned.after.answers) == (6, 6, 6)
    assert not any("camera" in one.question for one in wiki.search.index.answers())


def test_a_page_that_is_deleted_takes_its_votes_with_it(wiki: Wiki) -> None:
    wiki.learn(rows())
    question = "the camera shows a black picture"
    assert wiki.first(question) == "Fornax"
    with wiki.writing() as writer:
        writer.remove("wiki", "fornax.md")
    assert "Fornax" not in [hit.page.title for hit in wiki.search.find(question, limit=10)]
    assert wiki.learn([]).after.answers == 42
    with wiki.writing() as writer:
        writer.put("wiki", page("Fornax"), "")
    assert wiki.first(question) == "Fornax"


def test_too_few_answers_change_nothing(wiki: Wiki) -> None:
    wiki.learn([])  # the vectors of the pages
    before = wiki.search.find("the camera shows a black picture")
    learned = wiki.learn(rows("camera", "printer"))
    assert not learned.after.is_on
    assert wiki.search.find("the camera shows a black picture") == before


def test_rows_of_no_use_are_counted_and_named(wiki: Wiki) -> None:
    learned = wiki.learn(
        [
            MemoryMatch("qa.jsonl:1", "Who are you?", ()),
            MemoryMatch("qa.jsonl:2", "Where is it?", ("docs/nowhere.md", "lyra.md")),
            MemoryMatch("qa.jsonl:3", "And why?", ("nowhere.md",)),
        ]
    )
    assert (learned.added, learned.without_page) == (1, 1)
    assert learned.unknown == ("qa.jsonl:2: docs/nowhere.md", "qa.jsonl:3: nowhere.md")


def test_a_dry_run_measures_and_writes_nothing(wiki: Wiki) -> None:
    wiki.learn([])  # the vectors of the pages
    generation, measured = wiki.search.index.generation, wiki.search.index.memory()
    learned = wiki.learn(rows(), dry_run=True)
    assert learned.added == 48
    assert learned.after.votes["1"] > 0.5
    assert (wiki.search.index.generation, wiki.search.index.memory()) == (generation, measured)
    assert wiki.search.index.answers() == []


def test_answers_that_somebody_adds_meanwhile_are_measured_too(wiki: Wiki) -> None:
    opened = 0
    other = StoredAnswer("other", "Where is the lamp?", ("lyra.md",))

    @contextmanager
    def writing() -> Iterator[Writer]:
        nonlocal opened
        opened += 1
        if opened == 4:  # missing vectors twice, then what is stored, then what is new
            with wiki.writing() as writer:
                writer.put_answers([other])
        with wiki.writing() as writer:
            yield writer

    learned = learn(wiki.search, writing, rows("camera"))
    assert opened > 4
    assert learned.after.answers == 7
    assert len(wiki.search.index.answers()) == 7


def test_without_the_model_nothing_is_learnt(wiki: Wiki) -> None:
    with pytest.raises(AskdocsError, match="make setup"):
        learn(Search(wiki.search.index, None), wiki.writing, rows())
    assert wiki.search.index.answers() == []
