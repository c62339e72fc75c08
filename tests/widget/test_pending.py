import asyncio

import pytest

from widget.service.pending import PATIENCE, BadQuestion, Full, PendingQuestions, checked
from widget.service.states import Failed
from widget.service.store import NewQuestion


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def question(id: str) -> NewQuestion:
    return NewQuestion(id, "How?", id)


async def forever() -> None:
    await asyncio.sleep(60)


async def test_questions_expire_unless_they_are_being_answered() -> None:
    clock = Clock()
    asks = PendingQuestions(lifetime=600, clock=clock)
    old, running = asks.add(question("old"), "old"), asks.add(question("running"), "running")
    running.task = asyncio.create_task(forever())
    clock.now = 601
    young = asks.add(question("young"), "young")
    assert asks.get(old.id) is None
    assert asks.get(running.id) is running
    assert asks.get(young.id) is young
    running.task.cancel()


async def test_the_memory_is_bounded_and_never_drops_a_running_answer() -> None:
    clock = Clock()
    asks = PendingQuestions(capacity=2, clock=clock)
    first, second = asks.add(question("1"), "1"), asks.add(question("2"), "2")
    first.task = asyncio.create_task(forever())
    with pytest.raises(Full):  # the reader of the second is on the way
        asks.add(question("3"), "3")
    clock.now = PATIENCE + 1
    third = asks.add(question("3"), "3")
    assert list(asks.items) == [first.id, third.id]
    assert asks.get(second.id) is None
    third.task = asyncio.create_task(forever())
    with pytest.raises(Full):
        asks.add(question("4"), "4")
    first.finish(Failed("over"))
    assert asks.add(question("4"), "4")
    first.task.cancel()
    third.task.cancel()


def test_questions_that_nobody_follows_take_places_of_their_sender_alone() -> None:
    asks = PendingQuestions(capacity=100)
    flood = [asks.add(question(f"flood{n}"), "flooder") for n in range(1000)]
    assert list(asks.items) == [ask.id for ask in flood[-5:]]
    others = [asks.add(question(f"other{n}"), f"visitor{n}") for n in range(95)]
    assert all(asks.get(ask.id) for ask in others)


async def test_a_visitor_whose_places_are_all_running_waits_and_others_do_not() -> None:
    asks = PendingQuestions(capacity=20)
    running = asks.add(question("1"), "one")
    running.task = asyncio.create_task(forever())
    with pytest.raises(Full):
        asks.add(question("2"), "one")
    assert asks.add(question("3"), "other")
    running.task.cancel()


def test_a_question_is_tidied() -> None:
    assert checked("  How?\r\nNow\0 ") == "How?\nNow"
    # What a terminal would obey, in which somebody lists the questions.
    assert checked("\x1b]0;Mine\x07\x9b31mHow\tnow\x7f?") == "]0;Mine31mHow\tnow?"


@pytest.mark.parametrize("question", ["", "  \n\t", "\0"])
def test_an_empty_question_is_refused(question: str) -> None:
    with pytest.raises(BadQuestion, match="type a question"):
        checked(question)


def test_a_long_question_is_refused_with_both_numbers() -> None:
    checked("x" * 2000)
    with pytest.raises(BadQuestion, match=r"2,001 characters long; 2,000 is the most"):
        checked("x" * 2001)
