"""Which rows a model learns from."""

from collections import Counter
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import AskdocsError
from eval.questions.clusters import clusters
from eval.questions.rows import Row
from training.data.split import Split, split

FILE = Path("qa_pairs.jsonl")
row_facts = st.tuples(
    st.integers(0, 40),  # the question
    st.integers(0, 25),  # the cluster, where it is below 5
    st.integers(0, 12),  # the page, where it is above 0
    st.sampled_from(["", "", "", "", "train", "validation", "test"]),
)


def row(line: int, *, page: str = "", question: str = "", cluster: str = "", mark: str = "") -> Row:
    question = question or f"Unlike{line} question{line}?"
    pages = (page,) if page else ()
    return Row(line, question, "Answer.", pages=pages, cluster=cluster, split=mark)


def lines(rows: list[Row]) -> list[int]:
    return [one.line for one in rows]


def deal(rows: list[Row], seed: int = 0) -> Split:
    return split(FILE, rows, Random(seed))


@given(st.lists(row_facts, min_size=1, max_size=60), st.integers(0, 3))
def test_nothing_leaks_and_nothing_is_lost(
    facts: list[tuple[int, int, int, str]], seed: int
) -> None:
    rows = [
        row(
            line,
            page=f"p{page}.md" if page else "",
            question=f"Unlike{question} question{question}?",
            cluster=f"c{cluster}" if cluster < 5 else "",
            mark=mark,
        )
        for line, (question, cluster, page, mark) in enumerate(facts, start=1)
    ]
    marked = [{one.split for one in group if one.split} for group in clusters(rows)]
    if any(len(marks) > 1 for marks in marked):
        with pytest.raises(AskdocsError, match=r"^qa_pairs.jsonl:\d+: is in \w+, and line \d+"):
            deal(rows, seed)
        return
    try:
        parts = deal(rows, seed)
    except AskdocsError:
        return  # too few to choose from; the tests below have enough
    where = {
        line: name
        for name in ("train", "validation", "test")
        for line in lines(getattr(parts, name))
    }
    assert sorted(where) == lines(rows)
    assert len(parts.train) + len(parts.validation) + len(parts.test) == len(rows)
    assert all(where[one.line] == one.split for one in rows if one.split)
    for group in clusters(rows):
        assert len({where[one.line] for one in group}) == 1


@pytest.mark.slow
@given(st.integers(0, 10**6))
def test_pages_are_whole_and_the_shares_are_near_where_pages_are_many(seed: int) -> None:
    rows = [row(n, page=f"p{n % 50}.md") for n in range(1, 301)]
    parts = deal(rows, seed)
    assert 0.09 <= len(parts.validation) / len(rows) <= 0.1
    pages = {one.pages for one in parts.train} & {one.pages for one in parts.validation}
    assert pages == set()


@given(st.integers(0, 10**6))
def test_a_page_with_most_of_the_rows_stays_in_train(seed: int) -> None:
    rows = [row(n, page="big.md" if n <= 120 else f"p{n % 45}.md") for n in range(1, 301)]
    parts = deal(rows, seed)
    assert 0.09 <= len(parts.validation) / len(rows) <= 0.1
    assert "big.md" not in {one.pages[0] for one in parts.validation}


@given(st.integers(0, 10**6))
def test_clusters_of_one_page_are_divided_where_there_is_no_other(seed: int) -> None:
    rows = [row(n, page="only.md", cluster=f"c{n // 3}") for n in range(1, 101)]
    parts = deal(rows, seed)
    assert 0.07 <= len(parts.validation) / len(rows) <= 0.1
    found = Counter(one.cluster for one in parts.validation)
    assert not set(found) & {one.cluster for one in parts.train}


def test_rows_without_a_page_have_their_own_tenth() -> None:
    rows = [row(n, page=f"p{n}.md" if n <= 200 else "") for n in range(1, 301)]
    parts = deal(rows)
    assert Counter(bool(one.pages) for one in parts.validation) == {True: 20, False: 10}


def test_another_seed_deals_out_otherwise() -> None:
    rows = [row(n, page=f"p{n % 50}.md") for n in range(1, 301)]
    assert lines(deal(rows, 1).validation) == lines(deal(rows, 1).validation)
    assert lines(deal(rows, 1).validation) != lines(deal(rows, 2).validation)


def test_a_cluster_with_a_row_of_test_is_not_learnt() -> None:
    rows = [row(n) for n in range(1, 31)]
    rows += [row(31, cluster="c", mark="test"), row(32, cluster="c")]
    assert lines(deal(rows).test) == [31, 32]


def test_splits_that_divide_a_cluster_are_named_with_both_lines() -> None:
    rows = [row(1), row(2, cluster="c", mark="train"), row(3, cluster="c", mark="test"), row(4)]
    with pytest.raises(AskdocsError, match=r"^qa_pairs.jsonl:2: is in train, and line 3, .* test"):
        deal(rows)


def test_a_split_of_another_name_is_named_with_its_line() -> None:
    with pytest.raises(AskdocsError, match=r"^qa_pairs.jsonl:2: split is 'dev': write train"):
        deal([row(1), row(2, mark="dev"), row(3)])


def test_too_few_rows_for_validation_are_an_error() -> None:
    with pytest.raises(AskdocsError, match=r"qa_pairs.jsonl: its 3 rows in 3 clusters"):
        deal([row(n) for n in range(1, 4)])
