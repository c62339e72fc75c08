"""The first page of a report."""

from pathlib import Path

import pytest

from eval.report import cost, front, html, plots
from eval.report.build import report
from eval.report.markdown import markdown
from eval.report.report import Report
from eval.scoring.scored import score
from eval.statistics import bootstrap
from tests.eval import runs
from tests.eval.runs import Behaviour

DOES = {
    "base-rag": Behaviour(accuracy=0.3),
    "base-pages": Behaviour(accuracy=0.7),
    "tuned-pages": Behaviour(accuracy=0.75),
}


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Report:
    monkeypatch.setattr(bootstrap, "SAMPLES", 150)
    monkeypatch.setattr(bootstrap, "SAMPLES_OF_PERCENTILES", 60)
    return report(score(runs.write(tmp_path, DOES, runs.questions(120, 40))), cost.read())


def test_it_says_what_the_declared_contrasts_come_to(made: Report) -> None:
    told = front.sentence(made)
    assert told.startswith("tuned-pages is ")
    assert "more accurate than base-rag (95 % confidence interval +" in told
    assert "tuned-pages and base-pages do not differ significantly" in told
    assert "says nothing about answers as long as these (60 tokens" in told
    none = made.model_copy(update={"contrasts": []})
    assert front.sentence(none).startswith("No contrast was declared")


def test_words_call_no_long_answer_wrong(made: Report) -> None:
    """A quotation has no tokens, and a person's answer may be longer than it."""
    (subject,) = (one for one in made.systems if one.name == made.subject)
    quoting = subject.model_copy(
        update={
            "measures": {
                name: number
                for name, number in subject.measures.items()
                if name != "completion_tokens"
            }
        }
    )
    others = [one for one in made.systems if one.name != made.subject]
    short = made.model_copy(update={"systems": [*others, quoting]})
    assert not front.too_long(short)
    assert "wrong" in plots.front(short)[-1].title
    long = short.model_copy(update={"answer_words": 80.0})
    assert "(80 words on average)" in front.sentence(long)
    bars = plots.front(long)[-1]
    assert "wrong" not in bars.svg + bars.title
    assert "not confirmed" in bars.svg
    assert "not confirmed" in markdown(long)
    judged = long.model_copy(update={"accuracy": "judged"})
    assert not front.too_long(judged)


def test_the_effects_of_training_are_one_sentence(made: Report) -> None:
    one = next(one for one in made.contrasts if one.second == "base-pages")
    changed = {"first": "tuned-rag", "second": "base-rag", "says": "better"}
    told = front.sentence(
        made.model_copy(update={"contrasts": [one, one.model_copy(update=changed)]})
    )
    assert told.startswith(
        "Training helps with rag; it makes no significant difference with pages."
    )


def test_shares_of_right_wrong_and_refused_add_up(made: Report) -> None:
    bars = front.outcomes(made)
    assert [name for name, *_ in bars] == list(DOES)
    for _, *shares in bars:
        assert sum(shares) == pytest.approx(1)


def test_at_a_glance_an_invented_answer_is_beside_its_cost(made: Report) -> None:
    glance = front.at_a_glance(made)
    assert glance.head[1] == "hallucinated (unanswerable questions)"
    assert "groundedness" not in glance.head, "nothing measured it"
    assert [row[0] for row in glance.body] == list(DOES)
    assert all(" % (" in row[1] for row in glance.body)
    assert {len(row) for row in glance.body} == {len(glance.head)}
    number = made.systems[0].measures["token_f1"]
    one = made.systems[0].model_copy(update={"measures": {"groundedness": number}})
    grounded = front.at_a_glance(made.model_copy(update={"systems": [one]}))
    assert grounded.head[:2] == ["system", "groundedness"]


def test_the_page_begins_with_it(made: Report) -> None:
    page, text = html.html(made), markdown(made)
    for shown in (page, text):
        assert shown.index("do not differ significantly") < shown.index(
            "Accuracy covers answerable"
        )
        assert front.SOURCE.split(".")[0] in shown
    assert page.index('id="differences-title"') < page.index('id="claim"')
    assert page.index('id="outcomes-title"') < page.index('id="claim"')
    names = [plot.name for plot in plots.front(made)]
    assert names == ["differences", "outcomes"]
    none = made.model_copy(update={"contrasts": []})
    assert [plot.name for plot in plots.front(none)] == ["outcomes"]
