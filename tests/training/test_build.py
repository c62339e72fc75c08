"""What a model learns from, of a small wiki with a real index."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from starlette.datastructures import Headers

from core.errors import AskdocsError
from gateway.answering.answer import GroundedAnswer
from gateway.answering.facts import CITED
from gateway.answering.grounding.confidence import Signals
from gateway.answering.grounding.ground import Grounding
from gateway.answering.grounding.prompt import REFUSAL, Message, conversation, instructed
from gateway.api.chat_request import take_apart
from gateway.api.plan import RequestPlan
from gateway.routing.aliases import Route
from gateway.routing.registry import Served
from gateway.settings import GatewaySettings
from gateway.telemetry import tracing
from gateway.upstream.salt import Salts
from tests.parts import require
from tests.training import small
from training.data import build, card
from training.data.build import Built, Options
from training.data.examples import CLOSED, GAP, GROUNDED, PARTIAL, REMOVED, UNANSWERABLE, Example
from training.data.tokens import Tokens
from wiki.index import embed
from wiki.index.embed import Embedder
from wiki.index.index import Index
from wiki.pages.page import Page
from wiki.rights import PUBLIC
from wiki.search.hits import Hit
from wiki.search.query import Sought
from wiki.search.search import Search

pytestmark = pytest.mark.slow

# Above these the positions are uneven with a probability of 1 %: 1 and 2 degrees of freedom.
CHI_SQUARE = {2: 6.63, 3: 9.21}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("small")


@pytest.fixture(scope="module")
def built(folder: Path) -> Built:
    return small.built(folder, small.questions())


def everything(built: Built) -> list[Example]:
    return [example for examples in built.parts.values() for example in examples]


def of(built: Built, kind: str) -> list[Example]:
    return [example for example in everything(built) if example.kind == kind]


def read(example: Example) -> str:
    """What the model reads before the question."""
    return str(example.prompt[0]["content"])


def titles(example: Example) -> list[str]:
    return re.findall(r'^<page title="(.*)">$', read(example), re.M)


def device(example: Example) -> str:
    return f"The {example.row.pages[0].removesuffix('.md')}"


def grease(example: Example) -> str:
    """What only the page says that answers."""
    return example.row.answer.split()[-1].strip(".")


def test_the_page_that_answers_stands_where_it_is_said_to(built: Built) -> None:
    for example in of(built, GROUNDED):
        assert example.position
        assert titles(example)[example.position - 1] == device(example)
        assert titles(example).count(device(example)) == 1
        assert grease(example) in read(example)
        assert CITED.sub("", example.answer).replace(" .", ".") == example.row.answer


def test_answers_cite_the_section_that_they_stand_on(built: Built) -> None:
    for example in of(built, GROUNDED):
        cited = CITED.search(example.answer)
        assert cited, example.answer
        section = re.search(rf"^\[{cited[1]}\] (.*?)(?=^\[|^</page>)", read(example), re.M | re.S)
        assert section
        assert grease(example) in section[1]
        assert example.support == "supported"


def test_no_page_answers_where_it_was_taken_away(built: Built) -> None:
    assert of(built, REMOVED)
    for example in of(built, REMOVED):
        assert titles(example)
        assert device(example) not in titles(example)
        assert grease(example) not in read(example)
        assert example.answer == REFUSAL


def test_what_lost_its_page_stands_beside_its_grounded_twin(built: Built) -> None:
    for examples in built.parts.values():
        grounded = {e.row.line for e in examples if e.kind == GROUNDED}
        removed = [e.row.line for e in examples if e.kind == REMOVED]
        assert len(removed) == len(set(removed))
        assert grounded >= set(removed)


def test_the_shares_are_those_asked_for(built: Built) -> None:
    for examples in built.parts.values():
        kinds = Counter(example.kind for example in examples)
        assert kinds[GROUNDED] / len(examples) == pytest.approx(0.8, abs=0.03)
        assert abs(kinds[REMOVED] - kinds[UNANSWERABLE]) <= 1
    rows = {name: {e.row.line for e in examples} for name, examples in built.parts.items()}
    assert 0.08 <= len(rows["validation"]) / sum(map(len, rows.values())) <= 0.12


def test_every_position_is_as_likely(built: Built) -> None:
    for number, most in CHI_SQUARE.items():
        places = Counter(e.position for e in of(built, GROUNDED) if len(e.pages) == number)
        expected = sum(places.values()) / number
        assert expected > 15
        off = sum((places[n] - expected) ** 2 / expected for n in range(1, number + 1))
        assert off < most


def test_other_pages_are_those_that_are_found(built: Built, folder: Path) -> None:
    """Beside a pump stand pages that have words of the question, and no odd ones."""
    with closing(Index(folder / "work" / "index.db")) as index:
        search = Search(index, None)
        for example in of(built, GROUNDED)[:40]:
            found = [hit.page.path for hit in search.find(example.row.question, limit=50)]
            assert set(example.pages) <= set(found)


@pytest.mark.parametrize("budget", [180, 999, 3000])
def test_prompts_are_what_the_gateway_sends_for_these_pages(tmp_path: Path, budget: int) -> None:
    made = small.built(tmp_path, small.questions()[::4], budget=budget)
    require_sent(made, tmp_path, None)
    whole = [
        all(section.text in read(example) for section in made.pages[path].sections)
        for example in everything(made)
        for path in example.pages
    ]
    assert all(whole) == (budget > 180)


@pytest.mark.slow
def test_prompts_are_what_the_gateway_sends_by_meaning_too(tmp_path: Path) -> None:
    embedder = embed.load()
    require(embedder is not None, "the embedding model is not installed: run make setup")
    made = small.built(tmp_path, small.questions()[::8], embedder, budget=500)
    assert made.embedded
    require_sent(made, tmp_path, embedder)


def test_prompts_are_what_an_alias_with_instructions_sends(tmp_path: Path) -> None:
    told = "You answer for the workshop.\nName the tool first."
    made = small.built(tmp_path, small.questions()[::16], instructions=told, closed_book=0.2)
    require_sent(made, tmp_path, None)
    assert all(told in read(example) for example in everything(made))
    for example in of(made, CLOSED):
        question = [{"role": "user", "content": example.row.question}]
        assert example.prompt == instructed(question, told)


def require_sent(made: Built, folder: Path, embedder: Embedder | None) -> None:
    """Every prompt is the gateway's own."""
    tokens = Tokens(folder / "tokenizer.json")
    with closing(Index(folder / "work" / "index.db")) as index:
        for example in everything(made):
            if example.kind == CLOSED:
                continue
            pages = [made.pages[path] for path in example.pages]
            grounding = Found(index, tokens.counts, embedder)
            grounding.pages = pages
            sending = sent(grounding, example.row.question, made.options)
            assert example.prompt == asyncio.run(sending)


class Found(Grounding):
    """One whose search finds certain pages, in the order in which it would."""

    pages: Sequence[Page]

    def find(self, sought: Sought, *_: Any) -> tuple[list[Hit], Signals]:
        ranked = [hit.page.path for hit in self.search.hits(sought, limit=50)]
        rank = {path: place for place, path in enumerate(ranked)}
        order = sorted(self.pages, key=lambda page: rank.get(page.path, len(rank)))
        return self.search.of(sought, order), Signals(5, 1.0, 1.0, 1.0, None)


async def sent(grounding: Found, question: str, options: Options) -> list[Message]:
    """The messages of the gateway's own request."""
    asked = take_apart({"messages": [{"role": "user", "content": question}]}, Headers())
    grounds = await grounding.ground(asked.question, options.budget)
    route = Route("docs", ("docs",), instructions=options.instructions)
    made = SimpleNamespace(scope={}, request={}, route=route, endpoint="", alias="docs")
    made.salts = Salts("", "", PUBLIC)
    plan = cast(RequestPlan, made)
    texts = conversation(asked.question, instructions=options.instructions)
    answer = GroundedAnswer(
        GatewaySettings(), grounding, asked, texts, grounds, plan, 100, keeps_text=False
    )
    messages: list[Message] = (await answer.call(tracing.OFF).render(Served("docs")))["messages"]
    return messages


def test_as_served_what_the_gateway_finds_decides_what_is_learnt(tmp_path: Path) -> None:
    pump = "alphapump"
    rows = [
        *small.questions(),
        {
            "question": f"How often and by whom is the filter of the {pump} replaced?",
            "answer": f"Replace the filter of the {pump} every 3 weeks. Call Bob in hall 99.",
        },
        {"question": f"What colour is the {pump}?", "answer": "It is painted green in Rome."},
        {"question": "Quux zzyzx?", "answer": "Never."},
    ]
    made = small.built(tmp_path, rows, as_served=True)
    require_sent(made, tmp_path, None)
    by_question = {example.row.question: example for example in everything(made)}
    part = by_question[rows[-3]["question"]]
    assert part.kind == PARTIAL
    assert "every 3 weeks" in part.answer
    assert "Bob" not in part.answer
    assert part.answer.endswith(GAP)
    refused = by_question[rows[-2]["question"]]
    assert (refused.kind, refused.answer) == (REMOVED, REFUSAL)
    assert rows[-1]["question"] not in by_question, "the gateway refuses without a model"
    kinds = Counter(example.kind for example in everything(made))
    assert kinds[GROUNDED] > 150
    facts = card.card(
        made, tmp_path / "qa_pairs.jsonl", "wiki", Tokens(tmp_path / "tokenizer.json")
    )
    assert sum(part["kinds"]["partial"] for part in facts["splits"].values()) == kinds[PARTIAL]
    assert 0 < facts["left_out"]["cut"] < 20


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(
    tmp_path: Path, built: Built
) -> None:
    again = small.built(tmp_path / "again", small.questions())
    other = small.built(tmp_path / "other", small.questions(), seed=1)
    written = []
    for number, one in enumerate((built, again, other)):
        (tmp_path / str(number)).mkdir()
        written.append(build.write(one, tmp_path / str(number)))
    assert written[0] == written[1]
    assert not set(written[0].values()) & set(written[2].values())


def test_the_files_have_the_columns_that_trl_takes(tmp_path: Path, built: Built) -> None:
    build.write(built, tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "train.jsonl").read_text().splitlines()]
    assert len(rows) == len(built.parts["train"])
    for row in rows:
        assert list(row) == ["prompt", "completion", "meta"]
        assert [message["role"] for message in row["prompt"]] == ["system", "user"]
        assert [message["role"] for message in row["completion"]] == ["assistant"]
        messages = [*row["prompt"], *row["completion"]]
        assert all(set(message) == {"role", "content"} for message in messages)
        assert all(message["content"].strip() for message in messages)
    assert [row["meta"]["line"] for row in rows] == sorted(row["meta"]["line"] for row in rows)


def test_no_question_is_used_twice_and_those_of_test_stay_apart(tmp_path: Path) -> None:
    rows = small.questions()[::3]
    for row in rows[::5]:
        row["split"] = "test"
    made = small.built(tmp_path, rows)
    used = [(one.row.line, one.kind == REMOVED) for one in everything(made)]
    assert len(used) == len(set(used))
    parts = [{one.row.line for one in examples} for examples in made.parts.values()]
    assert sum(map(len, parts)) == len(set().union(*parts))
    for name, examples in made.parts.items():
        assert examples
        assert all(((one.row.line - 1) % 5 == 0) == (name == "test") for one in examples)
    assert len(made.split.test) == len(rows[::5])


def test_rows_of_test_without_anything_to_read_are_left_out(tmp_path: Path) -> None:
    rows = small.questions()[::3]
    rows += [{"question": "How old is it?", "answer": "Nine years.", "split": "test"}]
    made = small.built(tmp_path, rows)
    assert sorted(made.parts) == ["train", "validation"]
    assert len(made.mixed["test"].pageless) == 1


def test_a_copy_of_the_page_is_no_fair_refusal(tmp_path: Path) -> None:
    wiki = small.wiki(tmp_path)
    for page in list(wiki.glob("alpha*.md")):
        text = page.read_text().replace("# The", "# About the")
        page.with_name(f"copy-{page.name}").write_text(text)
    rows = [row for row in small.questions() if "alpha" in row.get("context_doc", "alpha")]
    made = small.built(tmp_path, rows, refusals=0.5)
    assert len(of(made, REMOVED)) > 10
    assert not [e for e in of(made, REMOVED) if grease(e) in read(e)]
    assert [e for e in of(made, GROUNDED) if f"copy-{e.row.pages[0]}" in e.pages]


def test_all_pages_that_answer_are_there_and_go_together(tmp_path: Path) -> None:
    rows = small.questions()[::3]
    for row in rows:
        if "context_doc" in row:
            row["context_docs"] = ["omegafan.md", "alphalamp.md"]
    made = small.built(tmp_path, rows)
    for example in of(made, GROUNDED):
        assert example.golds == example.row.pages
        assert set(example.golds) <= set(example.pages)
        assert example.position
        assert example.pages[example.position - 1] == example.golds[0]
    for example in of(made, REMOVED):
        assert not set(example.pages) & {"omegafan.md", "alphalamp.md", example.row.pages[0]}
    places = Counter(e.position for e in of(made, GROUNDED) if len(e.pages) == 3)
    assert len(places) == 3


def test_a_page_that_lost_the_answer_when_it_was_cut_is_not_trained_on(tmp_path: Path) -> None:
    wiki = small.wiki(tmp_path)
    for page in wiki.glob("*.md"):  # too long to be in a prompt beside what the question names
        text = f"Colour {page.stem[::-1]}, always. " + "It was painted by hand. " * 30
        page.write_text(f"{page.read_text()}\n## Other\n\n{text}\n")
    rows = small.questions()[::4]
    for number, row in enumerate(rows):
        if "context_doc" in row and number % 2:
            name = Path(row["context_doc"]).stem
            row["answer"] = f"Colour {name[::-1]}, always."
    made = small.built(tmp_path, rows, budget=60, refusals=0)
    answerable = sum(len(mixed.answerable) for mixed in made.mixed.values())
    assert 0 < len(of(made, GROUNDED)) < answerable
    for example in of(made, GROUNDED):
        last = example.row.answer.split()[1].strip(",") if "Colour" in example.answer else ""
        assert (last or grease(example)) in read(example)


def test_answers_can_begin_with_the_sentences_that_they_stand_on(tmp_path: Path) -> None:
    made = small.built(tmp_path, small.questions()[::8], quotes=True)
    for example in of(made, GROUNDED):
        first, *_, answer = example.answer.split("\n\n")
        assert first.startswith("> ")
        assert CITED.sub("", first)[2:].strip() in read(example)
        assert grease(example) in example.answer
        assert set(CITED.findall(first)) == set(CITED.findall(answer))


def texts() -> Iterator[dict[str, Any]]:
    for number in range(60):
        yield {
            "question": f"Where is crate{number} of lot{number} kept?",
            "answer": f"In hall{number}.",
            "context": f"Crate{number} of lot{number} is kept in hall{number}, by the door.",
        }


def test_a_text_of_the_row_is_a_page_at_any_position(tmp_path: Path) -> None:
    rows = [*texts(), *({**row, "answerable": False, "answer": ""} for row in texts())]
    for number, row in enumerate(rows[60:]):
        row["question"] = f"Who painted box{number} in shed{number}?"
    made = small.built(tmp_path, rows, refusals=0.3)
    for example in of(made, GROUNDED):
        assert example.position
        title = titles(example)[example.position - 1]
        assert title == example.row.context
        assert example.pages[example.position - 1] == ""
        assert example.row.context in read(example)
    places = Counter(e.position for e in of(made, GROUNDED) if len(e.pages) == 3)
    assert len(places) == 3
    assert max(places.values()) - min(places.values()) <= 2
    for example in of(made, UNANSWERABLE):
        assert example.row.context in read(example)
    for example in of(made, REMOVED):
        assert example.row.context not in read(example)


def test_rows_without_a_page_are_closed_book_or_left_out(tmp_path: Path) -> None:
    rows = [
        *small.questions()[::3],
        *({"question": f"Bare{n} thing{n}?", "answer": "It is."} for n in range(40)),
    ]
    made = small.built(tmp_path / "without", rows)
    assert of(made, CLOSED) == []
    assert sum(len(mixed.pageless) for mixed in made.mixed.values()) == 40
    made = small.built(tmp_path / "with", rows, closed_book=0.45)
    closed = of(made, CLOSED)
    answerable = sum(row.get("answerable", True) for row in rows)
    assert len(closed) == pytest.approx(0.45 * answerable, abs=1)
    assert sum(not example.row.pages for example in closed) == 40
    for example in closed:
        assert example.prompt == [{"role": "user", "content": example.row.question}]


def test_an_answer_cannot_end_its_own_turn(tmp_path: Path) -> None:
    rows = small.questions()[::4]
    for row in rows:
        if row.get("answer"):
            row["answer"] += " Then <|im_end|> all."
    made = small.built(tmp_path, rows)
    answers = [example.answer for example in of(made, GROUNDED)]
    assert all(answer.endswith(" Then &lt;|im_end|> all.") for answer in answers)


def test_unknown_pages_are_named_with_their_lines(tmp_path: Path) -> None:
    rows = small.questions()[::3]
    rows[6]["context_doc"] = "gone.md"
    with pytest.raises(AskdocsError, match=r"qa_pairs.jsonl:7: the wiki has no page 'gone.md'"):
        small.built(tmp_path / "strict", rows)
    made = small.built(tmp_path / "skip", rows, skip_unknown=True)
    assert [row.line for row in made.skipped] == [7]
    assert 7 not in [example.row.line for example in everything(made)]


def test_rows_that_have_nothing_to_read_are_an_error(tmp_path: Path) -> None:
    rows = [{"question": f"Bare{n} thing{n}?", "answer": "It is."} for n in range(40)]
    with pytest.raises(AskdocsError, match=r"qa_pairs.jsonl: none of the 36 rows for train has a"):
        small.built(tmp_path, rows)


def test_a_wiki_with_too_few_pages_takes_the_places_that_there_are(tmp_path: Path) -> None:
    wiki = small.wiki(tmp_path)
    for page in wiki.glob("*.md"):
        if page.stem not in ("alphafan", "alphalamp"):
            page.unlink()
    rows = [row for row in small.questions() if row.get("context_doc", "")[5:10] == "alpha"]
    rows = [row for row in rows if row["context_doc"][10:] in ("fan.md", "lamp.md")]
    made = small.built(tmp_path, rows, refusals=0)
    grounded = of(made, GROUNDED)
    assert len(grounded) == len(rows)
    assert {len(example.pages) for example in grounded} == {1, 2}
    for example in grounded:
        assert example.is_limited == (len(example.pages) > 1)
