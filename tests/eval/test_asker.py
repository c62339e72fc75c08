"""How each system asks, on a real index and over a real socket."""

import json
import math
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from core import openai_client
from core.errors import AskdocsError
from eval.questions.question import Question
from eval.running.answer import Answer
from eval.running.ask import Evaluation
from eval.running.run import Model, Provenance, QuestionSet, Run, WikiRecord
from eval.running.worker import Teller
from eval.systems.asker import Asker
from eval.systems.client import Client
from eval.systems.recorded import Recorded
from eval.systems.systems import System, parse
from eval.systems.wiki import Wiki
from gateway.answering.grounding.prompt import DOUBT, REFUSAL, SYSTEM
from gateway.upstream.engine import Engine
from tests.eval.queued import Reply, queued, words
from wiki.index import index
from wiki.sources.markdown import parse as markdown

SITE = "https://wiki.example.com/"
PAGES = {
    "coffee.md": "# Coffee\n\n## How do I descale it?\n\nPress the blue button. Pour acid into it.",
    "train.md": "# Train\n\nThe train leaves at nine. Book the train two days before it leaves.",
}
DESCALE = Question(
    id="q1",
    line=1,
    text="How do I descale the coffee machine?",
    answer="Press the blue button.",
    answerable=True,
    pages=("coffee.md",),
    type="how",
)
CAPITAL = Question(
    id="q2", line=2, text="What is the capital of France?", answer="", answerable=False, type="what"
)
PROVENANCE = Provenance(
    made=datetime(2026, 1, 1, tzinfo=UTC),
    commit="",
    versions={},
    engine="",
    engine_model="",
    machine={},
)
RUN = Run(
    questions=QuestionSet(file="q.jsonl", sha256="", split="", seed=0, ids=("q1", "q2")),
    wiki=WikiRecord(name="docs", pages=2, sha256=""),
    systems=("base-pages",),
    models={
        "base": Model(named="base", name="base", context=8192),
        "tuned": Model(named="docs", name="docs@v2", context=8192),
    },
    alias="docs",
    page_budget=500,
    max_tokens=60,
    at_once=1,
    rag=None,
    prompt_fingerprint="",
    provenance=PROVENANCE,
)


@asynccontextmanager
async def opened(
    file: Path, pages: dict[str, str], told: str = "", engine: str | None = None
) -> AsyncIterator[Wiki]:
    """A wiki of these pages, by path, whose alias tells its models that."""
    index.build(file, [markdown(path, text, SITE) for path, text in pages.items()])
    with closing(index.Index(file)) as made:
        (source,) = made.sources()
    wiki = Wiki(file, source.name, None, engine, told)
    yield wiki
    await wiki.close()


@pytest.fixture
async def wiki(tmp_path: Path) -> AsyncIterator[Wiki]:
    async with opened(tmp_path / "index.db", PAGES) as wiki:
        yield wiki


async def answered(
    wiki: Wiki,
    name: str,
    question: Question,
    *replies: Reply,
    run: Run = RUN,
    recorded: Path | None = None,
) -> tuple[Answer, list[tuple[dict[str, Any], dict[str, str]]]]:
    """The answer of a system, and what it has asked."""
    with queued(*replies) as gateway:
        async with Client(gateway.url, "secret", 60, 1) as client:
            (system,) = parse([name])
            asker = Asker(run, client, wiki, None, Recorded(recorded))
            assert asker.includes(system, question)
            answer = await asker.answer(system, question)
        return answer, gateway.asked


async def test_a_fault_while_asking_is_named_by_itself(wiki: Wiki, tmp_path: Path) -> None:
    """The end of the log is what people see; that of a group of exceptions is a line of dashes."""

    class Broken(Asker):
        async def answer(self, system: System, question: Question) -> Answer:
            raise AskdocsError("no way") if question.id == "q1" else ValueError("a fault")

    questions = (DESCALE, CAPITAL)
    (tmp_path / "questions.jsonl").write_text(
        "".join(f"{q.model_dump_json()}\n" for q in questions)
    )
    (system,) = parse(["base-pages"])
    async with Client("http://127.0.0.1:9/v1", "secret", 60, 2) as client:
        asker = Broken(RUN, client, wiki, None, Recorded(None))
        evaluation = Evaluation(tmp_path, 2, client, asker, Teller(os.open(os.devnull, 1)), None)
        with pytest.raises(AskdocsError, match="no way"):
            await evaluation.hold(system)


async def test_recorded_answers_are_not_asked_for(wiki: Wiki, tmp_path: Path) -> None:
    file = tmp_path / "answers.jsonl"
    answers: list[dict[str, Any]] = [
        {"system": "a", "answer": "Press the blue button.", "pages": ["docs/coffee.md", "no.md"]},
        {"system": "b", "answer": "Unfortunately the pages do not mention this."},
        {"system": "c", "answer": " "},
    ]
    file.write_text("".join(json.dumps({"question": DESCALE.text, **a}) + "\n" for a in answers))
    found = {}
    for name in ("a", "b", "c"):
        found[name], asked = await answered(wiki, f"recorded-{name}", DESCALE, recorded=file)
        assert asked == []
    assert found["a"].text == "Press the blue button."
    assert found["a"].prompt_pages == ("coffee.md",)
    assert [one.is_refusal for one in found.values()] == [False, True, False]
    assert found["c"].error == "the recorded answer is empty"
    assert not Recorded(file).has("recorded-a", CAPITAL)
    # Progress counts the answers that there are, not questions without a row.
    assert Recorded(file).count(("first-sentence", "recorded-a"), [CAPITAL]) == 1


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "is not a recorded answer .*: Invalid JSON"),
        ("[1]", "is not a recorded answer .*: Input should be"),
        ('{"question": "How?"}', "is not a recorded answer .*: answer: Field required"),
        ('{"question": "How?", "answer": 1}', "is not .*: answer: Input should be a valid string"),
        ('{"question": "How?", "answer": "So.", "system": "A b"}', "system 'A b': name it"),
        ('{"question": " Why? ", "answer": "So."}', "recorded answers this question twice"),
    ],
)
def test_what_is_no_recorded_answer_is_named(tmp_path: Path, line: str, says: str) -> None:
    file = tmp_path / "answers.jsonl"
    file.write_text('{"question": "Why?", "answer": "So."}\n' + line)
    with pytest.raises(AskdocsError, match=f"answers.jsonl:2: {says}"):
        Recorded(file)


async def test_closed_book_is_the_question_alone(wiki: Wiki) -> None:
    chunks = words("Try", " acid.")
    chunks[0]["choices"][0]["logprobs"] = {"content": [{"token": "Try acid.", "logprob": -0.5}]}
    answer, ((body, headers),) = await answered(wiki, "tuned-closed", DESCALE, Reply(chunks))
    assert body["model"] == "docs@v2"
    assert body["messages"] == [{"role": "user", "content": DESCALE.text}]
    assert "x-askdocs-model" not in headers
    assert (answer.system, answer.question, answer.text) == ("tuned-closed", "q1", "Try acid.")
    assert answer.confidence == pytest.approx(math.exp(-0.5))
    assert answer.prompt_pages == answer.cited_pages == ()


async def test_the_product_is_asked_as_its_users_ask_and_tells_its_pages(wiki: Wiki) -> None:
    coffee = {"url": f"{SITE}coffee/", "title": "Coffee"}
    facts = {
        "confidence": 0.3,
        "sources": [{"url": f"{SITE}coffee/#how-do-i-descale-it"}],
        "pages": [coffee, {"url": f"{SITE}train/"}],
    }
    reading = {"choices": [], "askdocs": {"reading": [coffee]}}
    chunks = [reading, *words("Press it.", f"\n\n{DOUBT}", askdocs=facts)]
    answer, ((body, headers),) = await answered(wiki, "tuned-pages", DESCALE, Reply(chunks))
    assert (body["model"], headers["x-askdocs-model"]) == ("docs", "docs@v2")
    assert "logprobs" not in body  # a gateway in extractive mode would let the model answer
    assert answer.text == "Press it."
    assert answer.confidence == 0.3
    assert answer.prompt_pages == answer.cited_pages == ("coffee.md",)
    assert answer.found_pages == ("coffee.md", "train.md")
    assert 0 < answer.retrieval_s <= answer.total_s


@pytest.mark.parametrize("refused", [True, False])
async def test_the_product_itself_says_what_is_a_refusal(wiki: Wiki, refused: bool) -> None:
    facts = {"refused": refused, "reason": "unsupported", "mode": "generative"}
    text = "Press it." if refused else f"{REFUSAL} But press it."
    answer, _ = await answered(wiki, "base-pages", DESCALE, Reply(words(text, askdocs=facts)))
    assert answer.is_refusal is refused


async def test_of_quotations_the_words_count_and_not_the_links(wiki: Wiki) -> None:
    url = f"{SITE}coffee/#how-do-i-descale-it"
    facts = {
        "mode": "extractive",
        "refused": False,
        "sources": [{"url": url, "quote": "Press it."}],
    }
    said = Reply(words(f"> Press it.\n\n[Coffee]({url})", f"\n\n{DOUBT}", askdocs=facts))
    answer, _ = await answered(wiki, "base-pages", DESCALE, said)
    assert answer.text == "Press it."
    assert answer.cited_pages == ("coffee.md",)


async def test_pages_are_ranked_as_the_search_has_them_and_stand_as_the_prompt_does(
    wiki: Wiki,
) -> None:
    coffee, train = ({"url": f"{SITE}{name}/"} for name in ("coffee", "train"))
    reading = {"choices": [], "askdocs": {"reading": [coffee, train]}}
    chunks = [reading, *words("At nine.", askdocs={"pages": [train, coffee]})]
    answer, _ = await answered(wiki, "base-pages", DESCALE, Reply(chunks))
    assert answer.prompt_pages == ("coffee.md", "train.md")
    assert answer.found_pages == ("train.md", "coffee.md")


async def test_a_page_that_the_index_does_not_have_ends_the_run(wiki: Wiki) -> None:
    reading = {"choices": [], "askdocs": {"reading": [{"url": "https://other.example.com/"}]}}
    with pytest.raises(AskdocsError, match=r"other\.example\.com/, which is not in .*another wiki"):
        await answered(wiki, "base-pages", DESCALE, Reply([reading, *words("No.")]))


async def test_the_oracle_has_the_right_page_in_front_and_cites_it(wiki: Wiki) -> None:
    reply = Reply(words("Press the blue button."))
    answer, ((body, _),) = await answered(wiki, "base-oracle", DESCALE, reply)
    system, user = body["messages"]
    assert system["content"].startswith(SYSTEM)
    assert PAGES["coffee.md"].partition("\n\n")[2] in system["content"]
    assert user["content"] == DESCALE.text
    assert answer.prompt_pages == answer.found_pages == answer.cited_pages == ("coffee.md",)


async def test_those_that_read_are_reported_what_the_alias_tells(tmp_path: Path) -> None:
    """As the product is by the gateway; closed-book is the question alone."""
    reply = Reply(words("Press it."))
    async with opened(tmp_path / "index.db", PAGES, "For HR.") as wiki:
        _, ((read, _),) = await answered(wiki, "base-oracle", DESCALE, reply)
        _, ((closed, _),) = await answered(wiki, "base-closed", DESCALE, reply)
    assert read["messages"][0]["content"].startswith(f"{SYSTEM}\n\nFor HR.\n\n<page ")
    assert [message["role"] for message in closed["messages"]] == ["user"]


async def test_a_page_of_another_wiki_is_not_the_right_one_because_its_path_is(
    tmp_path: Path,
) -> None:
    file, other = tmp_path / "index.db", "https://other.example.com/"
    better = PAGES["coffee.md"].replace("# Coffee\n", "# The coffee machine\n")
    with index.writing(file) as writer:
        writer.put("own", markdown("coffee.md", PAGES["coffee.md"], SITE), "")
        writer.put("other", markdown("coffee.md", better, other), "")
    reading = {"choices": [], "askdocs": {"reading": [{"url": f"{other}coffee/"}]}}
    facts = {"sources": [{"url": f"{other}coffee/#how-do-i-descale-it"}]}
    for sources, path in (((), f"{other}coffee/"), (["own"], "coffee.md")):
        wiki = Wiki(file, "own", None, None, "", sources)
        found, _ = await answered(wiki, "best-overlap", DESCALE)
        assert found.prompt_pages == found.found_pages[:1] == found.cited_pages == (path,)
        said = Reply([reading, *words("Yes.", askdocs=facts)])
        product, _ = await answered(wiki, "base-pages", DESCALE, said)
        assert product.prompt_pages == product.cited_pages == (f"{other}coffee/",)
        await wiki.close()


async def test_a_busy_engine_is_asked_again_for_the_tokens_of_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures: list[Exception] = [httpx.ConnectTimeout("busy")]

    async def counts(_: Engine, texts: Sequence[str]) -> list[int]:
        if failures:
            raise failures.pop()
        return [len(text.split()) for text in texts]

    monkeypatch.setattr(openai_client, "PAUSE", 0.01)
    monkeypatch.setattr(Engine, "counts", counts)
    async with opened(tmp_path / "index.db", PAGES, engine="http://127.0.0.1:9/v1") as wiki:
        (excerpt,) = await wiki.whole("coffee.md", DESCALE.text, 500)
    assert "blue button" in excerpt.text
    assert not failures


async def test_what_refuses_cites_nothing(wiki: Wiki) -> None:
    answer, _ = await answered(wiki, "base-oracle", DESCALE, Reply(words(REFUSAL)))
    assert answer.text == REFUSAL
    assert answer.cited_pages == ()


async def test_nothing_is_asked_where_there_is_nothing_to_read(wiki: Wiki) -> None:
    answer, asked = await answered(wiki, "base-oracle", CAPITAL)
    assert (answer.text, asked) == (REFUSAL, [])
    assert answer.first_token_s == answer.total_s


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("first-sentence", "Press the blue button."),
        ("best-overlap", "Press the blue button."),
        ("always-refuse", REFUSAL),
    ],
)
async def test_readers_that_understand_nothing_read_what_the_product_finds(
    wiki: Wiki, name: str, text: str
) -> None:
    answer, asked = await answered(wiki, name, DESCALE)
    assert (answer.text, asked) == (text, [])
    assert answer.prompt_pages == ("coffee.md",)
    assert answer.cited_pages == (() if text == REFUSAL else ("coffee.md",))


async def test_they_read_the_page_first_that_is_found_best(tmp_path: Path) -> None:
    """Where several are read, the product has them in the order of their paths."""
    pages = {
        "a_old.md": "# Backup of the old server\n\nMake a backup of the server every week.",
        "z_new.md": "# Backup of the server\n\nMake a backup of the server every night.",
    }
    several = RUN.model_copy(update={"page_budget": 1000})
    asked = DESCALE.model_copy(
        update={"text": "How do I make a backup of the server?", "pages": ("z_new.md",)}
    )
    async with opened(tmp_path / "index.db", pages) as wiki:
        found = await wiki.grounds(asked.text, 1000)
        assert [excerpt.page.path for excerpt in found.excerpts] == ["a_old.md", "z_new.md"]
        answer, _ = await answered(wiki, "first-sentence", asked, run=several)
    assert answer.text == "Make a backup of the server every night."
    assert answer.prompt_pages == answer.found_pages == ("z_new.md", "a_old.md")


async def test_an_error_of_one_question_is_kept_with_it(wiki: Wiki) -> None:
    refused = Reply(status=400, body='{"error": {"message": "too long"}}')
    answer, _ = await answered(wiki, "base-closed", DESCALE, refused)
    assert answer.error == "400: too long"
    assert answer.text == ""
