from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import AskdocsError
from eval.questions.rows import Row
from training.data.leaks import FILE, contaminated, encoded, hashed, read, trained

LEARNT = [
    Row(1, "How do I descale the coffee machine in the kitchen?", "So.", cluster=""),
    Row(2, "Where is the train?", "There.", cluster="c1"),
    Row(3, "Why?", "Because."),
]
ASKED = [
    Row(1, "How do I descale the coffee machine in our kitchen?", "So."),
    Row(2, "When does it leave?", "Soon.", cluster="c1"),
    Row(3, "How do I grind coffee?", "So."),
    Row(4, "why", "So."),
]


def test_a_question_that_was_learnt_or_almost_is_a_leak() -> None:
    assert contaminated(ASKED, LEARNT) == {1, 2, 4}
    assert contaminated(ASKED, []) == set()


def test_hashes_find_the_same_leaks_as_the_rows_and_tell_no_word(tmp_path: Path) -> None:
    file = tmp_path / FILE
    file.write_text(encoded(LEARNT))
    assert contaminated(ASKED, read(file)) == contaminated(ASKED, LEARNT)
    text = file.read_text()
    assert not any(word in text for word in ("descale", "coffee", "train", "c1", "There"))
    assert encoded(reversed(LEARNT)) == text
    assert hashed(hashed(LEARNT[0])) == hashed(LEARNT[0])


def test_labels_that_change_after_the_training_hide_no_leak(tmp_path: Path) -> None:
    file = tmp_path / FILE
    file.write_text(encoded(LEARNT))
    today = [replace(row, split="test") for row in LEARNT]
    assert contaminated(today, read(file)) == {1, 2, 3}
    assert contaminated(today, trained(today)) == set()


def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("[]")
    with pytest.raises(AskdocsError, match=r"trained.json: cannot be read"):
        read(tmp_path / FILE)


def test_questions_that_are_only_like_each_other_are_none() -> None:
    same = [Row(1, "How do I grind coffee?", "So."), Row(2, "How do I grind coffee?", "So.")]
    assert contaminated(same, [Row(1, "Where is the train?", "There.")]) == set()


def test_rows_of_the_split_test_are_not_learnt() -> None:
    rows = [Row(1, "Q?", "A", split="test"), Row(2, "R?", "A", split="train"), Row(3, "S?", "A")]
    assert [row.line for row in trained(rows)] == [2, 3]
