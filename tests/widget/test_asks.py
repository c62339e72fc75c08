import pytest

from widget.asks import Asks, BadQuestion, Full, Phase


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_question_is_started_once() -> None:
    asks = Asks()
    ask = asks.add("  How?\r\nNow ", "")
    assert ask.question == "How?\nNow"
    assert asks.start(ask.id) is ask
    assert asks.start(ask.id) is None
    assert asks.get(ask.id) is ask


def test_questions_expire_unless_they_are_being_answered() -> None:
    clock = Clock()
    asks = Asks(lifetime=600, clock=clock)
    old, running = asks.add("old", ""), asks.add("running", "")
    asks.start(running.id)
    clock.now = 601
    young = asks.add("young", "")
    assert asks.get(old.id) is None
    assert asks.get(running.id) is running
    assert asks.get(young.id) is young


def test_the_store_is_bounded_and_never_drops_a_running_answer() -> None:
    asks = Asks(capacity=2)
    first, second = asks.add("1", ""), asks.add("2", "")
    asks.start(first.id)
    third = asks.add("3", "")
    assert list(asks.items) == [first.id, third.id]
    assert asks.get(second.id) is None
    asks.start(third.id)
    with pytest.raises(Full):
        asks.add("4", "")
    first.phase = Phase.ENDED
    assert asks.add("4", "")


@pytest.mark.parametrize("question", ["", "  \n\t", "\0"])
def test_an_empty_question_is_refused(question: str) -> None:
    with pytest.raises(BadQuestion, match="type a question"):
        Asks().add(question, "")


def test_a_long_question_is_refused_with_both_numbers() -> None:
    Asks().add("x" * 2000, "")
    with pytest.raises(BadQuestion, match=r"2,001 characters long; 2,000 is the most"):
        Asks().add("x" * 2001, "")
