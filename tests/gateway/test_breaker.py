"""The circuit breaker: closed, open, half open."""

import pytest

from gateway.routing.breaker import FAILURES, PAUSE, Breaker


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def opened(clock: Clock) -> Breaker:
    breaker = Breaker(clock)
    for _ in range(FAILURES):
        assert breaker.admits()
        breaker.failed()
    return breaker


def test_it_opens_after_failures_in_a_row(clock: Clock) -> None:
    breaker = opened(clock)
    assert breaker.is_open
    assert not breaker.admits()


def test_a_success_begins_the_count_again(clock: Clock) -> None:
    breaker = Breaker(clock)
    for _ in range(3 * FAILURES):
        breaker.failed()
        breaker.succeeded()
    assert breaker.admits()


def test_one_timeout_is_enough(clock: Clock) -> None:
    breaker = Breaker(clock)
    breaker.failed(timed_out=True)
    assert not breaker.admits()


def test_after_the_pause_one_request_tries_and_its_end_decides(clock: Clock) -> None:
    breaker = opened(clock)
    clock.now = PAUSE
    assert breaker.admits()
    assert not breaker.admits()
    breaker.failed()
    clock.now = 2 * PAUSE - 1
    assert not breaker.admits()
    clock.now = 2 * PAUSE
    assert breaker.admits()
    breaker.succeeded()
    assert [breaker.admits() for _ in range(3)] == [True] * 3


def test_a_try_whose_client_left_lets_the_next_one_try(clock: Clock) -> None:
    breaker = opened(clock)
    clock.now = PAUSE
    assert breaker.admits()
    breaker.left()
    assert breaker.admits()
