"""Which questions got worse since an earlier run, and the files about them for a CI."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from askdocs.commands import evaluate
from askdocs.evaluation import run_folder
from core.errors import AskdocsError
from eval.questions.question import Question
from eval.report.changes import Change, compare, junit, markdown
from eval.running.answer import Answer
from eval.scoring.mark import Mark, mark
from eval.systems.rag import settings
from gateway.answering.grounding.prompt import REFUSAL
from tests.eval import runs
from tests.eval.runs import Behaviour

GOLD = "Turn the valve left until it clicks 3 times."
ASKED = Question(
    id="q", line=1, text="How?", answer=GOLD, answerable=True, pages=("a.md",), type="how"
)
OPEN = ASKED.model_copy(update={"answer": "", "answerable": False, "pages": ()})


def said(text: str, question: Question = ASKED, grounded: float | None = 1.0, **more: str) -> Mark:
    given = Answer(system="base-pages", question="q", text=text, **more)  # type: ignore[arg-type]
    return mark(question, given, grounded=lambda *_: grounded)


@pytest.mark.parametrize(
    ("before", "now", "reasons"),
    [
        (said(GOLD), said(GOLD), []),
        (said("Perhaps."), said("No idea at all."), []),
        (said(GOLD), said("Turn it right."), ["was right"]),
        (said(GOLD), said(REFUSAL), ["is refused now"]),
        (said(REFUSAL), said("Turn it right."), []),
        (said(GOLD), said(GOLD, grounded=0.5), ["has a claim that the pages do not support"]),
        (said(GOLD, grounded=None), said(GOLD, grounded=0.5), []),
        (said(GOLD), said("", error="busy"), ["ends in an error: busy"]),
        (said("", error="busy"), said("Turn it right."), []),
        (said(REFUSAL, OPEN), said("Four.", OPEN), ["answers what the wiki does not say"]),
        (said("Four.", OPEN), said(REFUSAL, OPEN), []),
    ],
)
def test_what_got_worse_has_a_reason(before: Mark, now: Mark, reasons: list[str]) -> None:
    assert Change(before, now).reasons == reasons


def test_junit_has_a_test_for_each_question_with_both_answers() -> None:
    changes = [Change(said(GOLD), said("\x00 <b>")), Change(said(GOLD), said(GOLD))]
    suite = ElementTree.fromstring(junit("base-pages", changes))
    assert (suite.attrib["tests"], suite.attrib["failures"]) == ("2", "1")
    (failure,) = suite.iter("failure")
    assert failure.text == f"before:\n{GOLD}\n\nnow:\n\ufffd <b>"
    assert failure.attrib["message"] == "was right"


def test_no_answer_ends_its_block_in_a_comment() -> None:
    text = markdown("base-pages", [Change(said(GOLD), said("```\n@everyone"))])
    assert "````text\n```\n@everyone\n````" in text
    assert text.startswith("## base-pages: 1 of 1 questions are answered worse")


def test_the_last_run_is_found_and_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = runs.questions(20, 5)
    good = runs.write(tmp_path / "a", {"base-pages": Behaviour(accuracy=0.9)}, asked)
    bad = runs.write(tmp_path / "b", {"base-pages": Behaviour(accuracy=0.1)}, asked)
    assert run_folder.earlier("last", bad, tmp_path) == good
    assert run_folder.earlier("a", bad, tmp_path) == good
    assert evaluate._got_worse(good, bad, tmp_path / "no index", print_text=True)
    assert "was right" in capsys.readouterr().out
    assert "questions are answered worse" in (bad / "worse.md").read_text()
    assert not evaluate._got_worse(good, good, tmp_path / "no index", print_text=False)
    assert (good / "junit.xml").exists()
    with pytest.raises(AskdocsError, match="no such run"):
        run_folder.earlier("c", bad, tmp_path)
    with pytest.raises(AskdocsError, match="has no other run"):
        run_folder.earlier("last", good, tmp_path / "a")


def test_only_questions_of_both_runs_are_compared() -> None:
    other = ASKED.model_copy(update={"id": "r"})
    assert len(compare([said(GOLD)], [said(GOLD), said(GOLD, other)])) == 1


def test_the_seedling_is_a_configuration_of_rag() -> None:
    seedling = settings.load(Path("seedling"))
    assert (seedling.chunk_tokens, seedling.k, seedling.keep) == (512, 20, 5)
    assert seedling.rerank
    assert seedling.mmr_lambda < 1
