"""The gate against runs that would fool a naive one."""

import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

from core.errors import AskdocsError
from eval.gate import gate
from eval.gate.gate import Check, Reference
from eval.questions import draw
from eval.questions.question import Question
from eval.questions.rows import Row
from eval.report import cost
from eval.report.build import report
from eval.report.comparison import Side, compare, pooled
from eval.report.report import Report
from eval.running.answer import Answer
from eval.scoring.scored import score
from eval.statistics import bootstrap, paired
from tests.eval import runs
from tests.eval.runs import Behaviour

BASE = Behaviour(accuracy=0.5)
TRIVIAL = {
    "first-sentence": Behaviour(first_sentence=True),
    "best-overlap": Behaviour(accuracy=0.2, false_refusals=0, true_refusals=0),
    "always-refuse": Behaviour(accuracy=0, false_refusals=1, true_refusals=1),
}
SUBJECT = "tuned-pages"


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "SAMPLES", 150)
    monkeypatch.setattr(bootstrap, "SAMPLES_OF_PERCENTILES", 60)


def measured(folder: Path, does: Behaviour, base: Behaviour = BASE, **how: int) -> Report:
    systems = {SUBJECT: does, "base-pages": base, **TRIVIAL}
    run = runs.write(folder, systems, runs.questions(**how))
    return reported(run)


def grounded(question: Question, answer: Answer) -> float:
    """The pages support what is right."""
    return float(question.answerable and question.answer in answer.text)


def reported(run: Path, subject: str | None = None) -> Report:
    return report(score(run, grounded=grounded), cost.read(), subject)


def checked(found: Report, against: str = "base-pages") -> list[Check]:
    """Every check of the gate."""
    numbers = found.system(against)
    assert numbers is not None
    compared = [one for one in found.comparisons if one.second == against]
    reference = Reference(against, numbers.measures, compared, True)
    checks = gate.decide(found, reference, gate.read())
    assert all(check.found for check in checks)
    return checks


def failed(found: Report, against: str = "base-pages") -> list[str]:
    """What the gate is not content with."""
    return [check.asks for check in checked(found, against) if not check.passed]


def about(words: str, failures: list[str]) -> bool:
    return any(words in failure for failure in failures)


def test_a_better_model_passes(tmp_path: Path) -> None:
    assert failed(measured(tmp_path, Behaviour(accuracy=0.75))) == []


@pytest.mark.slow
def test_a_model_that_is_as_good_passes_where_enough_was_asked(tmp_path: Path) -> None:
    assert failed(measured(tmp_path, Behaviour(accuracy=0.56), answerable=900)) == []


def test_where_few_were_asked_the_number_that_is_needed_is_said(tmp_path: Path) -> None:
    found = measured(tmp_path, Behaviour(accuracy=0.5))
    check = next(one for one in checked(found) if "at most 3 points below base-pages" in one.asks)
    assert not check.passed
    needed = int(re.search(r"about ([\d,]+) questions", check.found)[1].replace(",", ""))
    assert 1_500 < needed < 4_000


@pytest.mark.parametrize("a_page", [1, 5])
@pytest.mark.parametrize("size", [100, 400, 1600])
def test_a_model_that_is_ten_points_worse_does_not_pass(size: int, a_page: int) -> None:
    """Of 400 simulated runs: what the gate decides by is `paired.shares`. Half of the questions
    are as hard as their page, of which each has `a_page`."""
    margin, draws = gate.read().margin, np.random.default_rng(0)
    passed = 0
    for _ in range(400):
        page = np.repeat(np.arange(size // a_page), a_page)
        by_page, other = draws.random((2, size // a_page))
        hard = np.where(draws.random(size) < 0.5, by_page[page], draws.random(size))
        changed = np.where(draws.random(size // a_page)[page] < 0.3, other[page], hard)
        base, worse = (hard < 0.6).astype(float), (changed < 0.5).astype(float)
        passed += paired.shares(worse, base, [str(one) for one in page]).low > -margin
    assert passed < 0.05 * 400


def test_a_model_that_is_as_good_passes_four_times_out_of_five() -> None:
    margin, draws, size = gate.read().margin, np.random.default_rng(0), 2700
    assert gate.questions_needed(margin) == pytest.approx(2616, abs=2)
    passed = 0
    for _ in range(400):
        one = (draws.random(size) < 0.5).astype(float)
        # On 3 of 10 questions the other one is right where this one is wrong, or the reverse.
        other = np.where(draws.random(size) < 0.3, 1 - one, one)
        passed += paired.shares(other, one).low > -margin
    assert 0.72 * 400 < passed < 0.9 * 400


def test_one_that_always_refuses_is_found_out(tmp_path: Path) -> None:
    failures = failed(measured(tmp_path, Behaviour(false_refusals=1, true_refusals=1)))
    assert about("false refusals", failures)
    assert about("points below base-pages", failures)
    assert about("unanswerable questions more often", failures)
    assert about("accurate than always-refuse", failures)
    assert not about("hallucinated", failures)


def test_one_that_refuses_at_random_is_found_out(tmp_path: Path) -> None:
    never = Behaviour(accuracy=0.5, false_refusals=0.5, true_refusals=0.5)
    failures = failed(measured(tmp_path, Behaviour(0.9, 0.5, 0.5), never))
    assert failures == ["it refuses unanswerable questions more often than answerable ones"]


def test_one_that_copies_the_first_sentence_is_found_out(tmp_path: Path) -> None:
    copied = Behaviour(first_sentence=True)
    failures = failed(measured(tmp_path, copied, Behaviour(accuracy=0.2)))
    assert about("accurate than first-sentence", failures)
    assert about("unanswerable questions more often", failures)


def test_one_that_is_better_on_contaminated_questions_alone_is_found_out(tmp_path: Path) -> None:
    knows = Behaviour(accuracy=0.3, contaminated_accuracy=1)
    found = measured(tmp_path, knows, contaminated=150)
    assert about("points below base-pages", failed(found))
    subject = found.system(SUBJECT)
    assert subject is not None
    assert subject.answers == 210
    assert found.questions["contaminated"] == 150
    contaminated = subject.groups["contaminated"]
    assert contaminated["yes"]["accuracy"].value > 0.9 > contaminated["no"]["accuracy"].value


def test_most_questions_contaminated_leaves_too_few(tmp_path: Path) -> None:
    found = measured(tmp_path, Behaviour(accuracy=0.8), answerable=30, contaminated=300)
    assert about("that are not contaminated", failed(found))


def test_a_run_in_which_nobody_looked_for_leaks_is_found_out(tmp_path: Path) -> None:
    does = {SUBJECT: Behaviour(accuracy=0.75), "base-pages": BASE, **TRIVIAL}
    run = runs.write(tmp_path, does, trained=None)
    assert failed(reported(run)) == ["checked for contaminated questions"]
    base = reported(run, "base-pages")
    assert not about("leaks", failed(base, "first-sentence")), "it has learnt from no rows"


def test_a_few_questions_of_both_tell_nothing(tmp_path: Path) -> None:
    """Even where both said the same, fifteen do not show that neither is worse."""
    does = {SUBJECT: Behaviour(accuracy=0.75), "base-pages": BASE, **TRIVIAL}
    run = runs.write(tmp_path, does)
    lines = (run / "answers.jsonl").read_text().splitlines()
    answers = [Answer.model_validate_json(line) for line in lines]
    of_both = {f"q{number}" for number in (*range(15), *range(150, 165))}
    told = {one.question: one for one in answers if one.system == SUBJECT}
    copies = [
        told[one.question].model_copy(update={"system": "base-pages"})
        if one.system == "base-pages"
        else one
        for one in answers
        if one.system != "base-pages" or one.question in of_both
    ]
    text = "".join(f"{one.model_dump_json()}\n" for one in copies)
    (run / "answers.jsonl").write_text(text)
    failures = failed(reported(run))
    assert "base-pages was asked the same number" in failures
    assert about("at most 3 points below base-pages", failures)


def test_one_that_is_better_by_luck_is_found_out(tmp_path: Path) -> None:
    lucky = Behaviour(accuracy=1, false_refusals=0, true_refusals=1)
    failures = failed(measured(tmp_path, lucky, answerable=8, unanswerable=4))
    assert about("at least 100 answerable", failures)


def test_one_whose_questions_are_copies_is_found_out(tmp_path: Path) -> None:
    """Of five questions twenty times each, and eight times five that no page answers."""
    file, good = Path("rows.jsonl"), Behaviour(accuracy=0.9)
    verbs = ("drained", "sealed", "oiled", "painted", "cleaned")
    rows = [
        Row(
            number + 1,
            f"How is the {'valve' if number < 100 else 'moon'} {verbs[number % 5]}?",
            f"Turn it {number} times." if number < 100 else "",
            pages=("valve.md",),
            answerable=number < 100,
            id=f"q{number}",
        )
        for number in range(140)
    ]
    with pytest.raises(AskdocsError, match="has 5 answerable rows: lower --answerable 100"):
        draw.draw(file, draw.distinct(rows, 0), 0, answerable=100, unanswerable=40)
    # As they are drawn, and as earlier releases have asked them.
    for name, asked in (("now", draw.distinct(rows, 0)), ("before", rows)):
        questions = draw.questions(file, asked, ["valve.md"], ())
        does = {SUBJECT: good, "base-pages": Behaviour(accuracy=0.4), **TRIVIAL}
        found = reported(runs.write(tmp_path / name, does, questions))
        assert found.questions == {"answerable": 5, "unanswerable": 5, "contaminated": 0}
        assert {one.answers for one in found.systems} == {10}
        assert about("at least 100 answerable", failed(found))


def test_one_that_answers_everything_is_found_out(tmp_path: Path) -> None:
    bold = Behaviour(accuracy=0.8, false_refusals=0, true_refusals=0)
    failures = failed(measured(tmp_path, bold))
    assert about("hallucinated", failures)
    assert about("unanswerable questions more often", failures)
    assert not about("points below base-pages", failures)
    # Even where what answers now is no better.
    nothing_new = failed(measured(tmp_path / "2", bold, Behaviour(0.5, 0, 0)))
    assert nothing_new == ["it refuses unanswerable questions more often than answerable ones"]


def test_one_that_is_accurate_but_slow_is_found_out(tmp_path: Path) -> None:
    failures = failed(measured(tmp_path, Behaviour(accuracy=0.9, seconds=3)))
    assert len(failures) == 1
    assert about("p95", failures)
    failures = failed(measured(tmp_path / "2", Behaviour(0.9, seconds=40), Behaviour(seconds=40)))
    assert failures == ["99 of 100 answers within 30 s"]


def test_one_that_fails_now_and_then_is_found_out(tmp_path: Path) -> None:
    assert "errors at most 1%" in failed(measured(tmp_path, Behaviour(accuracy=0.9, fails=0.05)))


def test_a_reference_that_fails_is_not_beaten(tmp_path: Path) -> None:
    base = Behaviour(accuracy=0.4, fails=0.05)
    assert failed(measured(tmp_path, Behaviour(accuracy=0.8), base)) == ["errors at most 1%"]


def test_ten_points_of_harm_are_excluded_before_three_are(tmp_path: Path) -> None:
    checks = checked(measured(tmp_path, Behaviour(accuracy=0.56)))
    assert gate.decision(checks) == "canary"
    worse = checked(measured(tmp_path / "2", Behaviour(accuracy=0.2)))
    assert gate.decision(worse) == "stop"
    assert gate.decision(checked(measured(tmp_path / "3", Behaviour(accuracy=0.75)))) == "promote"


def test_without_groundedness_only_a_canary_is_allowed(tmp_path: Path) -> None:
    measured(tmp_path, Behaviour(accuracy=0.75))
    checks = checked(report(score(tmp_path), cost.read()))
    (failed_check,) = (check for check in checks if not check.passed)
    assert "not measured: the wiki's pages have changed since" in failed_check.found
    assert gate.decision(checks) == "canary"


def test_nothing_valid_is_measured_on_long_answers_by_words(tmp_path: Path) -> None:
    """Two systems that are right 0 times out of 100 are not as good as each other."""

    def long(answer: Answer) -> Answer:
        return answer.model_copy(update={"text": "Open the settings first. " * 9})

    does = {SUBJECT: Behaviour(), "base-pages": BASE, **TRIVIAL}
    found = reported(runs.write(tmp_path, does, change=long))
    base = found.system("base-pages")
    assert base is not None
    reference = Reference("base-pages", base.measures, found.comparisons, True)
    with pytest.raises(AskdocsError, match="no valid measure: by word comparison"):
        gate.valid(found, reference)
    gate.valid(found.model_copy(update={"accuracy": "judged"}), reference)


@pytest.mark.slow  # sixty runs
@pytest.mark.parametrize(("wrong", "decision"), [(0, "promote"), (0.1, "stop"), (0.3, "stop")])
def test_good_answers_that_were_made_wrong_get_the_right_verdict(
    tmp_path: Path, wrong: float, decision: str
) -> None:
    """The base model's own answers, of which a share of those that are right was made wrong."""
    right = 0
    for seed in range(20):
        draws = np.random.default_rng(seed)
        does = {SUBJECT: BASE, "base-pages": Behaviour(accuracy=0.9), **TRIVIAL}
        run = runs.write(tmp_path / str(seed), does, seed=seed)
        lines = (run / "answers.jsonl").read_text().splitlines()
        answers = [Answer.model_validate_json(line) for line in lines]
        others = [one for one in answers if one.system != SUBJECT]
        copies = [one for one in others if one.system == "base-pages"]
        good = [at for at, one in enumerate(copies) if one.text.startswith("Certainly")]
        for at in draws.choice(good, round(wrong * len(good)), replace=False):
            copies[at] = copies[at].model_copy(update={"text": "Nobody could say which lever."})
        copies = [one.model_copy(update={"system": SUBJECT}) for one in copies]
        (run / "answers.jsonl").write_text(
            "".join(f"{one.model_dump_json()}\n" for one in [*others, *copies])
        )
        right += gate.decision(checked(reported(run))) == decision
    assert right >= 19


def test_silence_is_no_consent(tmp_path: Path) -> None:
    """A run without baselines, cut off in the middle, with half of the answers."""
    run = runs.write(tmp_path, {SUBJECT: Behaviour(accuracy=0.9), "base-pages": BASE})
    lines = (run / "answers.jsonl").read_text().splitlines(keepends=True)
    of = [Answer.model_validate_json(line) for line in lines]
    kept = [line for line, one in zip(lines, of, strict=True) if one.question < "q2"]
    (run / "answers.jsonl").write_text("".join(kept) + lines[-1][:40])
    failures = failed(reported(run))
    assert "every question was asked" in failures
    assert sum("more accurate than" in failure for failure in failures) == 3


def test_times_of_another_machine_are_not_compared(tmp_path: Path) -> None:
    found = measured(tmp_path, Behaviour(accuracy=0.8, seconds=3))
    before = score(runs.write(tmp_path / "before", {SUBJECT: BASE}, seed=2), grounded=grounded)
    now = score(tmp_path, grounded=grounded)
    sides = [((SUBJECT, now.fair[SUBJECT]), ("before", before.fair[SUBJECT]))]
    numbers = report(before, cost.read()).system(SUBJECT)
    assert numbers is not None

    def checks(same_machine: bool) -> list[Check]:
        reference = Reference("before", numbers.measures, compare(sides), same_machine)
        return gate.decide(found, reference, gate.read())

    assert all(check.passed for check in checks(False))
    assert [c.asks for c in checks(True) if not c.passed] == [
        "p95 of the whole answer at most 1.25 times that of before"
    ]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("answerable = 0", "answerable: Input should be greater than or equal to 1"),
        ("speed = 3", "speed: Extra inputs are not permitted"),
        ("answerable = ", "is not TOML"),
        ("answerable = true", "answerable: Input should be a valid integer"),
        ("slower = true", "slower: Input should be a valid number"),
    ],
)
def test_a_broken_threshold_is_named(tmp_path: Path, line: str, says: str) -> None:
    file = tmp_path / "thresholds.toml"
    key = line.split(" ")[0]
    others = [one for one in gate.FILE.read_text().splitlines() if not one.startswith(f"{key} =")]
    file.write_text("\n".join([*others, line]))
    with pytest.raises(AskdocsError, match=says):
        gate.read(file)
    assert set(tomllib.loads(gate.FILE.read_text())) == set(gate.Thresholds.model_fields)


@pytest.mark.parametrize("key", gate.Thresholds.model_fields)
def test_a_threshold_that_is_missing_is_named(tmp_path: Path, key: str) -> None:
    file = tmp_path / "thresholds.toml"
    lines = gate.FILE.read_text().splitlines()
    file.write_text("\n".join(one for one in lines if not one.startswith(f"{key} =")))
    with pytest.raises(AskdocsError, match=f"{key}: Field required: see thresholds.toml"):
        gate.read(file)


def test_runs_that_are_repeated_count_together_and_one_that_is_copied_does_not(
    tmp_path: Path,
) -> None:
    def side(folder: Path, seed: int) -> tuple[Side, Side]:
        does = {SUBJECT: Behaviour(accuracy=0.55), "base-pages": BASE}
        found = score(runs.write(folder, does, seed=seed)).fair
        return (SUBJECT, found[SUBJECT]), ("base-pages", found["base-pages"])

    one, other = side(tmp_path / "1", 1), side(tmp_path / "2", 2)
    (alone,) = (each for each in compare([one]) if each.measure == "accuracy")
    (twice,) = (each for each in pooled([one, one]) if each.measure == "accuracy")
    (both,) = (each for each in pooled([one, other]) if each.measure == "accuracy")
    assert twice.n == both.n == 2 * alone.n
    assert twice.value == alone.value
    assert twice.high - twice.low == pytest.approx(alone.high - alone.low, rel=0.05)
    assert both.high - both.low < 0.9 * (alone.high - alone.low)
    found = measured(tmp_path / "3", Behaviour(accuracy=0.55))
    numbers = found.system("base-pages")
    assert numbers is not None
    reference = Reference("base-pages", numbers.measures, found.comparisons, True)
    reference = reference._replace(pooled=[both], by_run={"accuracy": [0.021, -0.01]})
    checks = gate.decide(found, reference, gate.read())
    assert any("; 2 runs: +2.1, -1.0" in check.found for check in checks)
