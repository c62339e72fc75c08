"""How sure an answer is."""

from dataclasses import replace

import pytest

from gateway.answering.grounding.confidence import Signals, confidence, is_about, mean_logprob

CLEAR = Signals(words=3, share=1.0, heading=1.0, lead=0.4, similarity=0.7)
FOREIGN = Signals(words=4, share=0.3, heading=0.0, lead=0.05, similarity=0.2)


def test_a_question_in_the_wikis_words_is_about_it_and_another_is_not() -> None:
    assert is_about(CLEAR)
    assert not is_about(FOREIGN)


def test_words_alone_can_tell_too() -> None:
    assert is_about(replace(CLEAR, similarity=None))
    assert not is_about(replace(FOREIGN, similarity=None))


def test_a_question_with_no_word_in_common_is_about_something_else() -> None:
    long = Signals(words=40, share=0.01, heading=0.0, lead=0.1)
    assert is_about(long)
    assert not is_about(replace(long, share=0.0))


def test_a_long_question_may_have_few_of_its_words_in_one_section() -> None:
    long = Signals(words=40, share=0.15, heading=0.03, lead=0.1, similarity=0.6)
    assert is_about(long)
    assert not is_about(replace(long, similarity=0.3))


@pytest.mark.parametrize(
    "worse",
    [replace(CLEAR, heading=0.0), replace(CLEAR, lead=0.0), replace(CLEAR, similarity=0.3)],
)
def test_confidence_falls_with_each_signal(worse: Signals) -> None:
    assert 0 < confidence(worse) < confidence(CLEAR) < 1


def test_the_mean_is_of_the_tokens_that_begin_the_answer() -> None:
    tokens = [
        {"token": "Press", "logprob": -1.0},
        {"token": " it.", "logprob": -3.0},
        {"token": " Then", "logprob": -9.0},
    ]
    assert mean_logprob(tokens, 9) == -2.0
    assert mean_logprob(tokens, 5) == -1.0
    assert mean_logprob(tokens, 0) is None
    assert mean_logprob([], 9) is None


def test_an_impossible_token_does_not_drown_the_others() -> None:
    assert mean_logprob([{"token": "a", "logprob": float("-inf")}], 1) == -20.0


def test_what_an_engine_tells_in_another_shape_is_no_probability() -> None:
    assert mean_logprob([{"token": "a", "logprob": None}, {}], 5) is None
