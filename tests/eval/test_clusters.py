"""Rows that must stay together."""

import tracemalloc
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from eval.questions.clusters import clusters, near
from eval.questions.rows import Row
from wiki.pages.words import stems

# Few words, so that many questions are alike; more than five, so that the shortcut is at work.
WORDS = [f"word{letter}" for letter in "abcdefghijkl"]
questions = st.lists(st.sampled_from(WORDS), min_size=1, max_size=12).map(" ".join)


def rows(asked: Sequence[str], of: Sequence[str] = ()) -> list[Row]:
    names = [*of, *[""] * (len(asked) - len(of))]
    return [
        Row(line=n, question=question, answer="a", cluster=name)
        for n, (question, name) in enumerate(zip(asked, names, strict=True), start=1)
    ]


def together(groups: list[list[Row]]) -> set[frozenset[int]]:
    return {frozenset(row.line for row in group) for group in groups}


def by_hand(given_rows: Sequence[Row]) -> set[frozenset[int]]:
    """Compare each with each, and join as long as anything changes."""
    groups = [{row.line} for row in given_rows]
    for one in given_rows:
        for other in given_rows:
            a, b = set(stems(one.question)), set(stems(other.question))
            alike = 5 * len(a & b) >= 4 * len(a | b)
            if alike or (one.cluster and one.cluster == other.cluster):
                touched = [g for g in groups if one.line in g or other.line in g]
                groups = [g for g in groups if g not in touched] + [set().union(*touched)]
    return set(map(frozenset, groups))


@given(st.lists(st.tuples(questions, st.sampled_from(["", "", "x", "y"])), max_size=12))
def test_groups_are_those_of_comparing_each_with_each(
    asked: list[tuple[str, str]],
) -> None:
    made = rows([question for question, _ in asked], [name for _, name in asked])
    assert together(clusters(made)) == by_hand(made)


def test_case_and_punctuation_make_no_other_question() -> None:
    made = rows(["How do I do it?", "how do I DO it", "What is it?"])
    assert together(clusters(made)) == {frozenset({1, 2}), frozenset({3})}


def test_questions_that_share_half_of_their_words_are_apart() -> None:
    made = rows(["reset the password of a printer", "reset the clock of a scanner"])
    assert len(clusters(made)) == 2


@given(st.lists(st.tuples(questions, st.sampled_from("abc")), max_size=12))
def test_each_row_has_its_first_near_one_of_each_group(asked: list[tuple[str, str]]) -> None:
    """An equal one before others; of its own group only an earlier one."""
    sets = [frozenset(stems(question)) for question, _ in asked]
    groups = [group for _, group in asked]
    expected = set()
    for number, words in enumerate(sets):
        for group in set(groups):
            there = [other for other, name in enumerate(groups) if name == group]
            equal = [other for other in there if sets[other] == words][:1]
            alike = [
                other
                for other in there
                if other != number and 5 * len(words & sets[other]) >= 4 * len(words | sets[other])
            ]
            for other in ([o for o in equal if o != number] or alike)[:1]:
                if group != groups[number] or other < number:
                    expected.add((number, other))
    assert set(near(sets, groups)) == expected


def test_similar_questions_take_no_memory_for_each_pair() -> None:
    """500 questions of one form have 125,000 pairs."""
    sets = [frozenset((*"abcdefgh", f"x{number}")) for number in range(500)]
    tracemalloc.start()
    try:
        assert len(list(near(sets, ["train"] * 500))) == 499
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
