from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import AskdocsError
from eval.questions.draw import distinct, draw, of_split, questions
from eval.questions.kinds import type_of
from eval.questions.question import distinct as distinct_questions
from eval.questions.rows import Row
from eval.systems.systems import NAMES, parse

FILE = Path("rows.jsonl")


def rows(answerable: int, unanswerable: int) -> list[Row]:
    return [
        Row(
            n + 1,
            f"Question {n}?",
            "Answer",
            pages=("a.md",),
            answerable=n < answerable,
            id=f"q{n}",
        )
        for n in range(answerable + unanswerable)
    ]


@given(
    answerable=st.integers(1, 60),
    unanswerable=st.integers(0, 60),
    seed=st.integers(0, 5),
    data=st.data(),
)
def test_a_limit_keeps_the_share_of_answerable_questions(
    answerable: int, unanswerable: int, seed: int, data: st.DataObject
) -> None:
    limit = data.draw(st.integers(1, answerable + unanswerable))
    drawn = draw(FILE, rows(answerable, unanswerable), seed, limit)
    assert len(drawn) == limit
    share = answerable / (answerable + unanswerable)
    assert abs(sum(row.answerable for row in drawn) - share * limit) <= 0.5
    assert [row.line for row in drawn] == sorted({row.line for row in drawn})


def test_a_seed_draws_the_same_rows_again_and_another_one_others() -> None:
    def drawn(seed: int) -> list[int]:
        return [row.line for row in draw(FILE, rows(100, 50), seed, 20)]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_more_rows_hardly_change_what_is_drawn() -> None:
    before = {row.id for row in draw(FILE, rows(100, 0), 0, answerable=50)}
    after = {row.id for row in draw(FILE, rows(101, 0), 0, answerable=50)}
    assert len(before & after) >= 49


def test_so_many_of_a_kind_are_drawn_and_too_many_are_refused() -> None:
    drawn = draw(FILE, rows(30, 20), 0, answerable=10, unanswerable=5)
    assert Counter(row.answerable for row in drawn) == {True: 10, False: 5}
    with pytest.raises(AskdocsError, match=r"rows.jsonl: has 20 unanswerable rows: lower --un"):
        draw(FILE, rows(30, 20), 0, unanswerable=21)


def test_nothing_drawn_is_reported_with_the_options_to_raise() -> None:
    with pytest.raises(
        AskdocsError, match=r"raise --answerable or --unanswerable \(it has 3 and 0"
    ):
        draw(FILE, rows(3, 0), 0, answerable=0)


def test_of_near_copies_one_is_drawn_and_the_seed_decides_which() -> None:
    """By their words, whatever their ids, and by their cluster."""
    same = [Row(n, f"{'Please, ' * n}how do I brew coffee?", "A", id=f"q{n}") for n in range(1, 9)]
    one_answer = [Row(n, f"Wording {n}, again?", "B", cluster="b") for n in range(9, 12)]
    other = Row(12, "Where is the tea?", "C")
    everything = [*same, *one_answer, other]
    found = [distinct(everything, seed) for seed in range(5)]
    assert {tuple(row.answer for row in rows) for rows in found} == {("A", "B", "C")}
    assert len({rows[0].line for rows in found}) > 1
    assert found[0] == distinct(everything, 0)
    assert distinct(rows(30, 20), 0) == rows(30, 20)


def test_of_near_copies_in_a_run_the_contaminated_one_stays() -> None:
    same = [Row(n, "How do I brew?", "A", id=f"q{n}", pages=("a.md",)) for n in range(1, 4)]
    asked = questions(FILE, same, ["a.md"], {2})
    assert [one.id for one in distinct_questions(asked)] == ["q2"]
    assert [one.id for one in distinct_questions(questions(FILE, same, ["a.md"], ()))] == ["q1"]


def test_the_split_is_test_where_rows_have_one() -> None:
    split = [Row(1, "Q?", "A", split="train"), Row(2, "R?", "A", split="test")]
    assert [row.line for row in of_split(FILE, split, None)[0]] == [2]
    assert of_split(FILE, [Row(1, "Q?", "A")], None)[1] == ""
    with pytest.raises(
        AskdocsError, match=r"no row has split = 'validation' \(the splits are train, t"
    ):
        of_split(FILE, split, "validation")


def test_a_question_knows_the_wikis_own_path_of_its_page() -> None:
    row = Row(7, " How do I brew? \n", "Press.", pages=("docs/coffee.md",), id="x")
    (found,) = questions(FILE, [row], ["coffee.md", "tea.md"], {7})
    assert (found.text, found.pages, found.type) == ("How do I brew?", ("coffee.md",), "how")
    assert found.contaminated


def test_rows_that_cannot_be_asked_are_reported_with_their_lines() -> None:
    bad = [
        Row(1, "Q?", "A", id="same", pages=("a.md",)),
        Row(2, "R?", "A", id="same", pages=("a.md",)),
        Row(3, "S?", "A"),
        Row(4, "T?", "A", pages=("gone.md",)),
    ]
    with pytest.raises(AskdocsError) as told:
        questions(FILE, bad, ["a.md"], ())
    assert [line.split(": ")[0] for line in str(told.value).splitlines()] == [
        "rows.jsonl:2",
        "rows.jsonl:3",
        "rows.jsonl:4",
    ]


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("How do I print?", "how"),
        ("Printing\n\nI have a printer. Where is its menu?", "where"),
        ("Can I print what I see?", "yes-no"),
        ("Thunderbird 115 - why is it slow", "why"),
        ("The printer is broken", "statement"),
        ("Two accounts, one inbox?", "other"),
        ("does not print", "statement"),
        ("Wie kann ich drucken?", "other"),
        ("Was ist ein Konto?", "other"),
        ("Will jemand drucken, wenn der Drucker aus ist?", "other"),
        ("Is het mogelijk om te printen?", "other"),
        ("Has probado por IMAP?", "other"),
        ("如何打印？", "other"),
        ("Was the printer ever on?", "yes-no"),
    ],
)
def test_the_kind_of_a_question_is_that_of_its_first_line_that_asks(
    question: str, kind: str
) -> None:
    assert type_of(question) == kind


def test_systems_are_named_and_an_unknown_one_is_refused() -> None:
    chosen = parse(["always-refuse", "tuned-rag"])
    assert [(one.name, one.method, one.role) for one in chosen] == [
        ("tuned-rag", "rag", "tuned"),
        ("always-refuse", "always-refuse", None),
    ]
    assert len(parse(NAMES)) == 11
    for names in (["base-rga"], []):
        with pytest.raises(AskdocsError, match=r"--systems: .*base-rag"):
            parse(names)
