"""Marks of answers, what is measured of them, and what a judge and a person say."""

import json
import math
import random
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from core import openai_client
from core.errors import AskdocsError
from eval.questions.question import Question
from eval.running.answer import Answer
from eval.scoring import judge as judge_module
from eval.scoring import mark
from eval.scoring.groups import groups
from eval.scoring.judge import RUBRIC, Judge, Panel, stored_panel
from eval.scoring.mark import Mark, compared, marks, read
from eval.scoring.meanings import Meanings
from eval.scoring.measures import BY_NAME, MEASURES, pairs
from eval.scoring.scored import score
from eval.scoring.similarity import Similarity
from eval.statistics import agreement, bootstrap
from gateway.answering.grounding.prompt import REFUSAL
from tests.eval import runs
from tests.eval.judging import Endpoint, endpoint
from tests.eval.runs import Behaviour
from tests.parts import require
from tests.waiting import async_until
from wiki.index.embed import Embedder, load

__all__ = ["endpoint"]

GOLD = "Press F5 to reload the page."
ASKED = Question(
    id="q", line=1, text="How do I reload?", answer=GOLD, answerable=True, pages=("keys.md",),
    type="how", page_tokens=700,
)  # fmt: skip
NOTHING = Question(id="n", line=2, text="Why?", answer="", answerable=False, type="why")


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "SAMPLES", 200)
    monkeypatch.setattr(bootstrap, "SAMPLES_OF_PERCENTILES", 100)


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    found = load()
    require(found is not None, "make setup-dev")
    assert found is not None
    return found


def said(text: str, asked: Question = ASKED, **facts: Any) -> Mark:
    return mark.mark(asked, Answer(system="base-pages", question=asked.id, text=text, **facts))


def value(name: str, *found: Mark) -> float | None:
    estimate = BY_NAME[name].estimate(found)
    return None if estimate is None else estimate.value


def test_a_refusal_is_a_wrong_answer_where_a_page_answers_and_a_right_one_where_none_does() -> None:
    wrong, right = said(REFUSAL), said(REFUSAL, NOTHING)
    assert (wrong.f1, wrong.near, wrong.answered) == (0, False, False)
    assert value("false_refusals", wrong, right) == 1
    assert value("true_refusals", wrong, right) == 1
    assert value("hallucinated", wrong, right) == 0
    assert value("accuracy", wrong, right) == 0


def test_an_error_is_neither_an_answer_nor_a_refusal() -> None:
    lost = said("", error="away", total_s=600.0)
    assert value("accuracy", lost) == 0
    assert value("false_refusals", lost) == 0
    assert value("answered", lost) == 0
    assert value("errors", lost) == 1
    assert value("total_p99", lost) is None
    assert value("true_refusals", said("", NOTHING, error="away")) == 0
    assert value("hallucinated", said("", NOTHING, error="away")) == 0


def test_words_about_nothing_are_made_up() -> None:
    assert value("hallucinated", said("Because of the rain.", NOTHING), said(GOLD)) == 1


def test_an_answer_is_worth_what_the_pages_support() -> None:
    def worth(text: str, grounded: float | None, asked: Question = ASKED) -> float | None:
        given = Answer(system="base-pages", question=asked.id, text=text)
        return value("supported_utility", mark.mark(asked, given, grounded=lambda *_: grounded))

    assert worth("Press it.", 1.0) == 1
    assert worth("Press it. The page does not say how often.", 1.0) == 0.5
    assert worth("Press it.", 0.9) == -1
    assert worth("Press it.", 1.0, NOTHING) == -1, "it quotes a page that does not answer"
    assert worth("Press it.", None) is None, "not measured"
    right = mark.mark(ASKED, Answer(system="a", question="q", text=GOLD), grounded=lambda *_: 1.0)
    assert value("supported_utility", right, said(REFUSAL)) == 0.5, "a refusal counts 0"


def test_pages_are_counted_where_they_stand() -> None:
    two, one = ("a.md", "keys.md"), ("a.md",)
    second = said(GOLD, prompt_pages=two, found_pages=two, cited_pages=("keys.md",))
    missed = said(GOLD, prompt_pages=one, found_pages=two, cited_pages=one)
    assert second.position == 2
    assert value("recall_1", second, missed) == 0
    assert value("recall_3", second, missed) == 0.5
    assert value("cited_right", second, missed) == 0.5
    assert value("recall_1", said(GOLD)) is None, "without pages there is no recall"
    assert value("cited_right", said(GOLD)) is None
    recorded = said(GOLD, prompt_pages=("keys.md",))
    assert value("recall_1", recorded) is None, "nobody knows what it has found"


def test_recall_is_by_rank_and_the_position_by_place() -> None:
    """A prompt has its pages in the order of their paths, so that the same ones share a prefix."""
    pages = ("a.md", "keys.md", "z.md")
    best = said(GOLD, prompt_pages=pages, found_pages=("keys.md", "z.md", "a.md"))
    third = said(GOLD, prompt_pages=pages[:2], found_pages=("x.md", "y.md", "a.md", "keys.md"))
    assert (best.position, best.rank) == (2, 1)
    assert (third.position, third.rank) == (2, 2), "of what was in the prompt"
    assert value("recall_1", best, third) == 0.5
    assert value("recall_3", best, third) == 1


def test_the_last_answer_counts_and_half_a_line_none(tmp_path: Path) -> None:
    run = runs.write(tmp_path, {"base-pages": Behaviour()}, runs.questions(2, 0))
    first = Answer(system="base-pages", question="q0", error="away")
    stray = Answer(system="base-pages", question="of another run", text="x")
    last = Answer(system="base-pages", question="q0", text="at last")
    lines = [one.model_dump_json() for one in (first, stray, last)]
    (run / "answers.jsonl").write_text("\n".join([*lines, lines[2][:30]]))
    (found,) = score(run).marks["base-pages"]
    assert found.answer.text == "at last"
    (run / "answers.jsonl").write_text("")
    with pytest.raises(AskdocsError, match="has no answers"):
        score(run)
    with pytest.raises(AskdocsError, match=r"questions\.jsonl: cannot be read"):
        score(tmp_path / "nowhere")


@pytest.mark.parametrize("accuracy", [0.6, 0.9])
def test_a_set_accuracy_is_measured(tmp_path: Path, accuracy: float) -> None:
    asked = runs.questions(50, 20)

    def told(given: Answer) -> Answer:
        number = int(given.question[1:])
        right = asked[number].answer if number < accuracy * 50 else "Nobody could say that."
        return given.model_copy(update={"text": right if number < 50 else REFUSAL})

    found = score(runs.write(tmp_path, {"base-pages": Behaviour()}, asked, change=told))
    for name, truth in (("accuracy", accuracy), ("true_refusals", 1), ("false_refusals", 0)):
        estimate = BY_NAME[name].estimate(found.marks["base-pages"])
        assert estimate is not None
        assert estimate.value == pytest.approx(truth)
        assert estimate.low <= truth <= estimate.high
        assert estimate.high - estimate.low > 0.06


def test_every_measure_is_made_of_a_whole_run(tmp_path: Path, embedder: Embedder) -> None:
    run = runs.write(tmp_path, {"tuned-pages": Behaviour()}, runs.questions(20, 10))
    found = score(run, Similarity(run, embedder), lambda *_: True, lambda *_: 0.5).marks[
        "tuned-pages"
    ]
    assert {m.name for m in MEASURES if m.estimate(found) is None} == set()
    assert len({m.title for m in MEASURES}) == len(MEASURES)


def test_contaminated_questions_are_a_group_and_nothing_else(tmp_path: Path) -> None:
    found = score(runs.write(tmp_path, {"base-rag": Behaviour()}, runs.questions(40, 10, 7)))
    assert len(found.marks["base-rag"]) == 57
    assert len(found.fair["base-rag"]) == 50
    split = groups(found.marks["base-rag"])
    assert {name: len(inside) for name, inside in split["contaminated"].items()} == {
        "no": 40,
        "yes": 7,
    }
    assert next(iter(split["page"])) == "up to 500 tokens"
    assert set(split["position"]) == {"1", "2"}
    assert sum(len(inside) for inside in split["type"].values()) == 47


def test_only_the_same_questions_are_pairs() -> None:
    other = ASKED.model_copy(update={"answer": "Another one."})
    assert len(pairs([said(GOLD)], [said("x")])) == 1
    assert pairs([said(GOLD)], [said("x", other)]) == []


def test_meanings_are_compared_once(tmp_path: Path, embedder: Embedder) -> None:
    first = Similarity(tmp_path, embedder)
    like, unlike = first("Reload with F5.", GOLD), first("The harvest was poor.", GOLD)
    assert like > 0.6 > 0.3 > unlike
    assert first(GOLD, GOLD) == pytest.approx(1, abs=1e-3)
    stored_panel = (tmp_path / "similar.jsonl").read_text()
    (tmp_path / "similar.jsonl").write_text(stored_panel + '{"texts": "half')
    again = Similarity(tmp_path, embedder)
    assert again("Reload with F5.", GOLD) == like
    again("Press F6.", GOLD)  # on a line of its own
    behind = (tmp_path / "similar.jsonl").read_text()
    assert behind.startswith(stored_panel)
    Similarity(tmp_path, embedder)("Press F6.", GOLD)
    assert (tmp_path / "similar.jsonl").read_text() == behind


def test_meanings_are_compared_side_by_side_and_go_on_where_they_were_stopped(
    tmp_path: Path, embedder: Embedder
) -> None:
    texts = [(f"Reload page {number} with F5.", GOLD) for number in range(20)]
    told: list[tuple[int, int]] = []

    def stop(done: int, total: int) -> None:
        told.append((done, total))
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Similarity(tmp_path, embedder).compare(texts, stop)
    assert told == [(done, 20) for done in range(1, 6)]
    again = Similarity(tmp_path, embedder)
    again.compare([*texts, *texts], lambda *state: told.append(state))
    assert told[5:] == [(done, 15) for done in range(1, 16)]
    rows = (tmp_path / "similar.jsonl").read_text().splitlines()
    assert len(rows) == 20
    alone = tmp_path / "alone"
    alone.mkdir()
    assert [again(*pair) for pair in texts] == [
        Similarity(alone, embedder)(*pair) for pair in texts
    ]
    assert (tmp_path / "similar.jsonl").read_text().splitlines() == rows


def answers(*texts: str) -> list[tuple[Question, Answer]]:
    return [(ASKED, Answer(system=f"c{n}", question="q", text=t)) for n, t in enumerate(texts)]


async def test_a_judge_is_asked_once_for_each_text(tmp_path: Path, endpoint: Endpoint) -> None:
    asked = answers("Press F5.", "Turn it off.", "Press F5.")
    judge, told = Judge(tmp_path, "j", endpoint.url), []
    await judge.ask(asked, lambda done, total: told.append((done, total)))
    assert [judge(*one) for one in asked] == [True, False, True]
    assert told == [(1, 2), (2, 2)]
    assert "Reply with one JSON object" in endpoint.asked[0]["messages"][0]["content"]
    with (tmp_path / "judged.jsonl").open("a") as file:
        file.write('{"texts": "cut')
    again = Judge(tmp_path, "j", endpoint.url)
    await again.ask([*asked, *answers("F5!")], lambda *_: None)
    assert len(endpoint.asked) == 3
    assert [again(*one) for one in asked] == [True, False, True]
    third = Judge(tmp_path, "j", endpoint.url)
    assert third(*answers("F5!")[0]) is True  # it came behind the half line
    assert Judge(tmp_path, "another", endpoint.url)(*asked[0]) is None


async def test_a_judge_sees_the_pages_and_of_two_both_must_agree(
    tmp_path: Path, endpoint: Endpoint
) -> None:
    ((asked, given),) = answers("F5")
    asked = asked.model_copy(update={"pages": ("gold.md",)})
    given = given.model_copy(update={"cited_pages": ("cited.md", "gone.md")})
    pages = {"gold.md": "Press F5. " * 2000, "cited.md": "Press F6.", "other.md": "Nothing."}
    one, other = (Judge(tmp_path, name, endpoint.url, None, pages) for name in ("gpt-5", "claude"))
    await one.ask([(asked, given)], lambda *_: None)
    shown = json.loads(endpoint.asked[0]["messages"][1]["content"])["pages"]
    assert shown == {"gold.md": pages["gold.md"][:8000], "cited.md": "Press F6."}
    panel = Panel([one, other])
    assert panel(asked, given) is None
    await other.ask([(asked, given)], lambda *_: None)
    assert panel(asked, given) is True
    assert panel.name == f"gpt-5 at {endpoint.url} and claude at {endpoint.url}"
    assert stored_panel(tmp_path, panel.name)(asked, given) is True
    text = (tmp_path / "judged.jsonl").read_text()
    first, second = text.splitlines()
    no = second.replace('"correct": true', '"correct": false')
    (tmp_path / "judged.jsonl").write_text(f"{first}\n{no}\n")
    assert stored_panel(tmp_path, panel.name)(asked, given) is False


async def test_a_verdict_depends_on_the_pages_that_were_shown(
    tmp_path: Path, endpoint: Endpoint
) -> None:
    ((asked, given),) = answers("F5")
    asked = asked.model_copy(update={"pages": ("gold.md",)})

    def judge(text: str | None = None) -> Judge:
        pages = {} if text is None else {"gold.md": text, "other.md": text}
        return Judge(tmp_path, "j", endpoint.url, None, pages)

    async def verdict(text: str | None = None) -> bool | None:
        asking = judge(text)
        await asking.ask([(asked, given)], lambda *_: None)
        assert stored_panel(tmp_path, asking.name)(asked, given) == asking(asked, given)
        return asking(asked, given)

    assert await verdict() is True
    endpoint.right = "F6"
    assert judge("Press F5.")(asked, given) is None
    assert await verdict("Press F5.") is False
    assert judge("Press F6.")(asked, given) is None
    assert await verdict() is True  # and is the last one again
    assert len(endpoint.asked) == 2
    rows = (tmp_path / "judged.jsonl").read_text()
    assert [await verdict() for _ in range(2)] == [True, True]
    assert (tmp_path / "judged.jsonl").read_text() == rows


async def test_judges_of_one_name_at_two_endpoints_are_two(
    tmp_path: Path, endpoint: Endpoint
) -> None:
    secret = endpoint.url.replace("//", "//me:secret@").replace("127.0.0.1", "localhost")
    one, other = (Judge(tmp_path, "j", url) for url in (endpoint.url, secret))
    ((asked, given),) = pair = answers("F5")
    await one.ask(pair, lambda *_: None)
    endpoint.right = "F6"
    await other.ask(pair, lambda *_: None)
    assert [judge(asked, given) for judge in (one, other)] == [True, False]
    panel = Panel([one, other])
    assert "secret" not in panel.name + (tmp_path / "judged.jsonl").read_text()
    assert [judge(asked, given) for judge in stored_panel(tmp_path, panel.name).judges] == [
        True,
        False,
    ]


async def test_a_secret_in_the_query_of_a_judge_is_shown_nowhere(tmp_path: Path) -> None:
    judge = Judge(tmp_path, "j", "http://me:secret@127.0.0.1:9/v1?key=secret#secret")
    assert judge.name == "j at http://127.0.0.1:9/v1"
    with pytest.raises(AskdocsError) as error:
        await judge.ask(answers("F5"), lambda *_: None)
    assert "http://127.0.0.1:9/v1" in str(error.value)
    assert "secret" not in str(error.value)


async def test_a_judge_that_does_not_say_is_no_judge(tmp_path: Path, endpoint: Endpoint) -> None:
    asked = answers("F5", 'mumble "}\n{"correct": true}')
    judge = Judge(tmp_path, "j", endpoint.url)
    with pytest.raises(AskdocsError, match="no verdict on 1 of 2 answers"):
        await judge.ask(asked, lambda *_: None)
    assert [judge(*one) for one in asked] == [True, None]


async def test_a_judge_that_reasons_is_asked_without_limits(
    tmp_path: Path, endpoint: Endpoint
) -> None:
    endpoint.unsupported = ("max_tokens", "temperature")
    judge, asked = Judge(tmp_path, "o3", endpoint.url), answers("F5", "F6")
    await judge.ask(asked[:1], lambda *_: None)
    assert [set(body) & {*endpoint.unsupported} for body in endpoint.asked] == [
        {"max_tokens", "temperature"},
        {"temperature"},
        set(),
    ]
    await judge.ask(asked, lambda *_: None)
    assert [judge(*one) for one in asked] == [True, False]
    assert len(endpoint.asked) == 4


async def test_what_is_no_clear_verdict_is_none(
    tmp_path: Path, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judge_module, "SILENT", 1.0)
    yes, no = ('{"correct": true, "reason": "so"}', '{"correct": false, "reason": "no"}')
    texts = {
        "plain": (yes, True),
        "fenced": (f"Here it is:\n```json\n{no}\n```", False),
        "said twice": (f"{yes}\n{yes}", True),
        "contradictory": (f"{yes} On second thought: {no}", None),
        "thoughtful": (f"<think>Perhaps {no}</think>{yes}", True),
        "malformed": ('{"correct": "perhaps"', None),
        "cut": ('{"correct": tr', None),
        "quoting": (r'{"correct": false, "reason": "It says \"correct\": true."}', False),
        "empty": ("", None),
        "refusing": (None, None),
    }
    endpoint.says = {
        text: {
            "message": {"content": content, "refusal": "I can't help." if content is None else None}
        }
        for text, (content, _) in texts.items()
    }
    judge, asked = Judge(tmp_path, "j", endpoint.url), answers(*texts)
    await judge.ask(asked, lambda *_: None)
    assert {given.text: judge(question, given) for question, given in asked} == {
        text: verdict for text, (_, verdict) in texts.items()
    }
    rows = [json.loads(line) for line in (tmp_path / "judged.jsonl").read_text().splitlines()]
    assert sum(row["reason"] == "I can't help." for row in rows) == 1


async def test_a_judge_whose_thoughts_take_all_tokens_is_asked_without_a_limit(
    tmp_path: Path, endpoint: Endpoint
) -> None:
    endpoint.thinks = True
    judge, asked = Judge(tmp_path, "j", endpoint.url), answers("F5", "F6")
    await judge.ask(asked[:1], lambda *_: None)
    await judge.ask(asked, lambda *_: None)
    assert [judge(*one) for one in asked] == [True, False]
    assert ["max_tokens" in body for body in endpoint.asked] == [True, False, False]


async def test_a_judge_that_does_not_answer_in_time_is_asked_again(
    tmp_path: Path, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judge_module, "SECONDS", 0.5)
    monkeypatch.setattr(openai_client, "PAUSE", 0.01)
    never = threading.Event()
    endpoint.hangs = [never]
    judge = Judge(tmp_path, "j", endpoint.url)
    ((asked, given),) = pair = answers("F5")
    await judge.ask(pair, lambda *_: None)
    never.set()
    assert judge(asked, given) is True
    assert len(endpoint.asked) >= 2


async def test_a_judge_that_is_busy_is_asked_again(
    tmp_path: Path, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openai_client, "PAUSE", 0.01)
    endpoint.refusing = [429, 503, 500]
    judge, asked = Judge(tmp_path, "j", endpoint.url), answers("F5", "F6")
    await judge.ask(asked, lambda *_: None)
    assert [judge(*one) for one in asked] == [True, False]
    assert len(endpoint.asked) == 5


async def test_what_was_judged_is_kept_when_the_judge_goes(
    tmp_path: Path, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openai_client, "PATIENCE", 0.1)
    judge = Judge(tmp_path, "j", endpoint.url)
    await judge.ask(answers("F5"), lambda *_: None)
    endpoint.status = 503
    with pytest.raises(AskdocsError, match=r"'j' at http.* answered for long: 503: .*are kept"):
        await judge.ask(answers("F5", "F6"), lambda *_: None)
    endpoint.status = 400
    with pytest.raises(AskdocsError, match=r"'j' at http.* refuses: 400: .*are kept"):
        await judge.ask(answers("F6"), lambda *_: None)
    assert Judge(tmp_path, "j", endpoint.url)(*answers("F5")[0]) is True
    for url in ("http://127.0.0.1:9/v1", "http://127.0.0.1:80a/v1"):
        with pytest.raises(AskdocsError, match=r"does not answer .*--judge-url"):
            await Judge(tmp_path, "j", url).ask(answers("F7"), lambda *_: None)


def test_the_rubric_is_published() -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "reference/evaluation.md"
    assert f"```text\n{RUBRIC}\n```" in page.read_text(encoding="utf-8")


def test_kappa_is_the_published_one() -> None:
    # The example of https://en.wikipedia.org/wiki/Cohen%27s_kappa: 20, 5, 10, 15; 0.4.
    told = [(True, True)] * 20 + [(True, False)] * 5 + [(False, True)] * 10 + [(False, False)] * 15
    found = agreed(told)
    assert found.kappa == pytest.approx(0.4)
    # 0.5 is chance: of Wilson's 0.562 to 0.809 of 35 of 50, what is above it.
    assert (found.low, found.high) == pytest.approx((0.125, 0.618), abs=0.001)
    assert (found.size, found.share) == (50, 0.7)
    assert agreement.agreement({("c", "q"): True}, {}) is None


def test_kappa_of_few_or_of_perfect_agreement_is_not_sure() -> None:
    same = [(True, True), (False, False)]
    few, many = agreed(same), agreed(same * 25)
    assert [few.kappa, many.kappa, few.high, many.high] == pytest.approx([1] * 4)
    assert few.low < 0 < many.low < 0.9
    worst = agreed([(True, False), (False, True), (True, True)])
    assert worst.kappa == pytest.approx(-0.5)
    assert worst.low == -1
    one_sided = agreed([(True, True)] * 8 + [(True, False)] * 2)
    assert one_sided.kappa == pytest.approx(0)
    assert one_sided.low < 0 < one_sided.high
    for verdict in (True, False):
        assert agreed([(verdict, verdict)] * 30)[:3] == (None, -math.inf, math.inf)


def test_kappa_is_in_its_interval_as_often_as_it_says() -> None:
    """Where nearly all agree, too: there a bootstrap held it in six samples of ten."""
    luck = random.Random(0)
    kappa, yes = 0.97, 0.8
    differ = (1 - kappa) * yes * (1 - yes)  # of each kind
    shares = [yes - differ, differ, differ, 1 - yes - differ]
    kinds = [(True, True), (True, False), (False, True), (False, False)]
    found = [agreed(luck.choices(kinds, shares, k=100)) for _ in range(200)]
    assert sum(one.low <= kappa <= one.high for one in found) >= 180


def agreed(told: Sequence[tuple[bool, bool]]) -> agreement.Agreement:
    """Of labels, and what was said beside them."""
    labels, judged = ({("c", str(n)): one[side] for n, one in enumerate(told)} for side in (0, 1))
    found = agreement.agreement(labels, judged)
    assert found is not None
    return found


def test_a_label_that_is_none_is_named_with_its_line(tmp_path: Path) -> None:
    row = {"question": "q0", "system": "base-pages", "correct": True}
    file = runs.labels(tmp_path / "labels.jsonl", [row, {**row, "correct": "yes"}])
    with pytest.raises(AskdocsError, match=r"labels.jsonl:2: is not a label"):
        agreement.read(file)
    assert agreement.read(runs.labels(file, [row])) == {("base-pages", "q0"): True}
    with pytest.raises(AskdocsError, match="no labels"):
        agreement.read(runs.labels(file, []))


async def test_meanings_are_compared_while_the_next_answers_are_asked_for(
    tmp_path: Path, embedder: Embedder
) -> None:
    does = {name: Behaviour() for name in ("base-pages", "tuned-pages")}
    run = runs.write(tmp_path, does, runs.questions(20, 5))
    asked, answers = read(run)
    told: list[tuple[int, int]] = []
    async with Meanings(run, embedder, lambda *far: told.append(far)) as meanings:
        for name in does:
            await meanings.compare(name, asked, answers[name])
            assert not meanings.is_idle  # and the next one can be asked
    similar = Similarity(run, embedder)
    more: list[tuple[int, int]] = []
    found = [one for marked in marks(asked, answers).values() for one in marked]
    similar.compare(compared(found), lambda *far: more.append(far))
    assert more == []  # nothing is left to do
    assert len((run / "similar.jsonl").read_text().splitlines()) == len(set(compared(found))) > 20
    assert all(total <= 20 for _, total in told)  # only of the last system


async def test_meanings_of_an_evaluation_that_breaks_off_are_kept_as_far_as_they_are(
    tmp_path: Path, embedder: Embedder
) -> None:
    run = runs.write(tmp_path, {"base-pages": Behaviour()}, runs.questions(200, 0))
    asked, answers = read(run)
    stored = run / "similar.jsonl"

    async def break_off() -> None:
        async with Meanings(run, embedder, lambda *_: None) as meanings:
            await meanings.compare("base-pages", asked, answers["base-pages"])
            await async_until(lambda: stored.is_file() and stored.read_text())
            raise AskdocsError("the gateway is away")

    with pytest.raises(AskdocsError, match="the gateway is away"):
        await break_off()
    rows = stored.read_text().splitlines()
    assert 0 < len(rows) < len(compared(marks(asked, answers)["base-pages"]))
    assert all(json.loads(row) for row in rows)
