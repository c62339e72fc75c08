"""How well texts answer a question, without the model: spans, words, and their sum."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wiki.search.relevance import SPAN, STEP, EncodedText, relevance, shares, spans

MARK = np.full((1, 384), 9.0, np.float32)


def window(tokens: int, axis: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """A window of so many tokens, all along one axis, between its two marks."""
    return np.concatenate([MARK, np.tile(along(axis), (tokens, 1)), MARK])


def along(axis: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.eye(384, dtype=np.float32)[axis]


@pytest.mark.parametrize(
    ("tokens", "count"), [(1, 1), (SPAN, 1), (SPAN + 1, 2), (SPAN + STEP, 2), (SPAN + STEP + 1, 3)]
)
def test_spans_reach_to_the_end_of_the_text(tokens: int, count: int) -> None:
    found = spans([window(tokens, 0)])
    assert found.shape == (count, 384)
    assert np.allclose(found, along(0))  # the marks are no part of them


def test_a_span_goes_on_over_the_end_of_a_window() -> None:
    found = spans([window(SPAN // 2, 0), window(SPAN // 2, 1)])
    assert found.shape == (1, 384)
    assert found[0, 0] == pytest.approx(found[0, 1]) == pytest.approx(2**-0.5)


def test_a_text_without_tokens_is_like_nothing() -> None:
    empty = EncodedText("", spans([window(0, 0)]))
    nothing, tea = relevance("tea", along(0), [empty, EncodedText("tea", along(0)[None])])
    assert nothing == 0
    assert 0.7 < tea <= 1


def test_a_word_that_every_text_has_says_less_than_one_that_few_have() -> None:
    texts = ["mail server", "mail folder", "mail filter"]
    server, folder, _ = shares("mail server", texts)
    assert server > 2 * folder > 0


def test_each_text_is_compared_in_the_stems_of_its_language() -> None:
    mail = "Die Einstellung der Mail ist hier, und der Server ist dort."
    german = "Wie ändere ich die Einstellungen?"
    right, other = shares(german, [mail, "Das Konto ist hier, und der Server ist dort."])
    assert right > other == 0
    assert shares(german, [mail, "Mail settings"])[1] == 0
    # "Einstellungen" is in English texts, too, and there it is an English word.
    assert min(shares("Einstellungen", ["The Einstellungen dialog", mail])) > 0


def test_a_question_without_words_of_its_own_has_no_share() -> None:
    assert shares("how is it?", ["it is so", ""]) == [0, 0]


words = st.lists(st.sampled_from(["mail", "server", "folder", "tea", "coffee"]), max_size=30)


@given(words, st.lists(words, min_size=1, max_size=6))
def test_shares_are_between_nothing_and_all(question: list[str], texts: list[list[str]]) -> None:
    found = shares(" ".join(question), [" ".join(text) for text in texts])
    assert len(found) == len(texts)
    for share, text in zip(found, texts, strict=True):
        assert 0 <= share < 1
        assert (share > 0) == bool(set(question) & set(text))
