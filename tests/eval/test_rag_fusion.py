"""MMR, recall and nDCG, against values worked out by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.systems.rag.measure import hit, ndcg
from eval.systems.rag.pipeline import mmr

# Three directions: the second is close to the first, the third is not.
NEAR = np.array([[1, 0], [0.8, 0.6], [0, 1]], dtype=np.float32)


def test_the_second_choice_is_less_like_the_first() -> None:
    relevance = [1.0, 0.9, 0.7]
    # Second: 0.7 * 0.9 - 0.3 * 0.8 = 0.39 against 0.7 * 0.7 - 0.3 * 0 = 0.49.
    assert mmr(relevance, NEAR, 3, 0.7) == [0, 2, 1]
    # 0.9 * 0.9 - 0.1 * 0.8 = 0.73 against 0.9 * 0.7 = 0.63.
    assert mmr(relevance, NEAR, 3, 0.9) == [0, 1, 2]
    assert mmr(relevance, NEAR, 1, 0.0) == [0]


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=20), st.integers(1, 25), st.integers(0, 2**32)
)
@settings(max_examples=50, deadline=None)
def test_mmr_chooses_each_once_and_by_relevance_alone_where_lambda_is_one(
    relevance: list[float], k: int, seed: int
) -> None:
    vectors = np.random.default_rng(seed).normal(size=(len(relevance), 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    chosen = mmr(relevance, vectors, k, 0.5)
    assert len(set(chosen)) == len(chosen) == min(k, len(relevance))
    assert mmr(relevance, vectors, k, 0.5) == chosen[:k]
    by_relevance = [relevance[place] for place in mmr(relevance, vectors, k, 1.0)]
    assert by_relevance == sorted(relevance, reverse=True)[:k]


def test_a_question_counts_when_one_of_its_pages_is_there() -> None:
    assert hit(["a", "b"], {"b", "c"}) == 1
    assert hit(["a"], {"b"}) == hit([], {"b"}) == 0


def test_ndcg_is_what_the_formula_says() -> None:
    assert ndcg(["x", "a"], {"a"}, 5) == pytest.approx(1 / np.log2(3))
    ideal = 1 + 1 / np.log2(3)
    assert ndcg(["a", "x", "b"], {"a", "b"}, 5) == pytest.approx((1 + 0.5) / ideal)
    assert ndcg(["a"], {"a", "b"}, 1) == 1  # no more could be there
    assert ndcg(["a"], {"a", "b"}, 5) == pytest.approx(1 / ideal)
    assert ndcg([], {"a"}, 5) == 0
