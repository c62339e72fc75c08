from eval.questions.rows import Row
from training.data.leaks import leaked, trained


def test_a_question_that_was_learnt_or_almost_is_a_leak() -> None:
    learnt = [
        Row(1, "How do I descale the coffee machine in the kitchen?", "So."),
        Row(2, "Where is the train?", "There.", cluster="c1"),
    ]
    asked = [
        Row(1, "How do I descale the coffee machine in our kitchen?", "So."),
        Row(2, "When does it leave?", "Soon.", cluster="c1"),
        Row(3, "How do I grind coffee?", "So."),
    ]
    assert leaked(asked, learnt) == {1, 2}
    assert leaked(asked, []) == set()


def test_questions_that_are_only_like_each_other_are_none() -> None:
    same = [Row(1, "How do I grind coffee?", "So."), Row(2, "How do I grind coffee?", "So.")]
    assert leaked(same, [Row(1, "Where is the train?", "There.")]) == set()


def test_rows_of_the_split_test_are_not_learnt() -> None:
    rows = [Row(1, "Q?", "A", split="test"), Row(2, "R?", "A", split="train"), Row(3, "S?", "A")]
    assert [row.line for row in trained(rows)] == [2, 3]
