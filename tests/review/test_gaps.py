"""Gaps by week, and how answers fare, on both databases."""

from datetime import date, timedelta

import pytest

from core.errors import AskdocsError
from tests.review.conftest import NOW, PORTS, ask, queue_of, unindexed
from widget.review import analytics, gaps, weeks
from widget.review.clusters import Sorter
from widget.review.queue import Wanted
from widget.review.reviews import Draft, Reviews
from widget.service.store import Store
from wiki.rights import EVERYTHING

MONDAY = weeks.monday(NOW.date())
KEYS = {"title": "Keys", "url": "https://wiki.example.com/keys/"}


def days_before(monday: date, days: float = 0) -> float:
    """How many days ago noon of that Monday was."""
    then = weeks.begin(monday) + timedelta(hours=12) - timedelta(days=days)
    return (NOW - then) / timedelta(days=1)


def test_gaps_are_refused_incomplete_or_unsure_by_week_with_the_closest_pages(both: Store) -> None:
    last, before = MONDAY - weeks.WEEK, MONDAY - 2 * weeks.WEEK
    printing = {"pages": [PORTS, KEYS], "sources": []}
    ask(both, "How do I print?", days=days_before(last), outcome=printing)
    # One page once, however many of its sections were cited.
    sections = [{"title": "Ports", "url": f"{PORTS['url']}#{n}"} for n in range(3)]
    ask(both, "How do I print", days=days_before(last, -6), outcome={"sources": sections})
    ask(both, "how do i print", days=days_before(before), outcome={"pages": [KEYS]})
    for question, reasons in (
        ("Where is it?", ("unclear", "incomplete")),
        ("Who is wrong?", ("wrong",)),
    ):
        more = {"state": "answered", "confidence": 0.9, "vote": "down", "reasons": reasons}
        ask(both, question, days=days_before(last, 0.1), **more)  # type: ignore[arg-type]
    unsure = {"caution": True}
    ask(both, "What is sure?", days=days_before(last), state="answered", outcome=unsure)
    ask(both, "What is old?", days=days_before(before, 7))
    ask(both, "What was dismissed?", days=days_before(last))
    Sorter(both.engine).sort()
    items, _ = queue_of(both).items(Wanted(words="dismissed"), EVERYTHING)
    Reviews(both.engine).change(items[0].cluster, 0, "ann", "dismiss")
    found = gaps.find(both.engine, last, 2, EVERYTHING, unindexed(both))
    assert found.first_days == (before, last)
    assert (found.count, found.asked) == (3, 5)
    assert [(gap.question, gap.weeks, gap.trend) for gap in found.gaps] == [
        ("How do I print", (1, 2), 1),
        ("Where is it?", (0, 1), 1),
        ("What is sure?", (0, 1), 1),
    ]
    assert found.gaps[0].pages == (PORTS, KEYS)


def test_a_gap_is_called_as_the_writer_has_put_it(store: Store) -> None:
    ask(store, "print???")
    Sorter(store.engine).sort()
    Reviews(store.engine).change(1, 0, "ann", "save", Draft("How do I print?"))
    found = gaps.find(store.engine, MONDAY, 1, EVERYTHING, unindexed(store))
    assert [(gap.question, gap.state) for gap in found.gaps] == [("How do I print?", "open")]


def test_weeks_begin_on_monday_also_at_the_end_of_a_year() -> None:
    assert weeks.name(date(2026, 12, 28)) == weeks.name(date(2027, 1, 3)) == "2026-W53"
    assert weeks.parse("2026-W53") == weeks.monday(date(2027, 1, 3)) == date(2026, 12, 28)
    for wrong in ("2025-W53", "2026-48", "W48", "2026-W00", "\u0662026-W01"):
        with pytest.raises(AskdocsError, match="write a week as 2026-W48"):
            weeks.parse(wrong)


def test_analytics_count_by_day_page_channel_and_alias(both: Store) -> None:
    today = NOW.date()
    noon = days_before(today)
    page = "https://wiki.example.com/a"
    for number, state in enumerate(("answered", "answered", "answered", "refused", "failed")):
        vote = ("up", "down", "", "", "")[number]
        ask(both, "q", state=state, vote=vote, days=noon + 1, page=page, duration=number + 1.0)
    ask(both, "q", state="stopped", days=noon + 1, channel="slack", alias="hr", duration=50.0)
    ask(both, "q", state="answered", days=noon + 2, duration=None)
    ask(both, "q", state="answered", days=noon + 40)
    found = analytics.measure(both.engine, today - timedelta(days=3), today, EVERYTHING)
    assert vars(found.total) == {
        "asked": 7,
        "answered": 4,
        "refused": 1,
        "failed": 1,
        "up": 1,
        "down": 1,
        "wrong": 1,
    }
    assert found.total.rate == pytest.approx(3 / 6)  # what was voted down was no answer
    assert [counts.asked for counts in found.days.values()] == [0, 1, 6, 0]
    assert found.days[today.isoformat()].rate is None
    assert list(found.pages) == [page]
    assert found.pages[page].asked == 5
    assert {name: counts.asked for name, counts in found.channels.items()} == {"box": 6, "slack": 1}
    assert {name: counts.asked for name, counts in found.aliases.items()} == {"docs": 6, "hr": 1}
    # Answers and refusals took 1, 2, 3 and 4 seconds.
    assert found.times == analytics.AnswerTimes(2.5, pytest.approx(3.85))
    assert found.day_times[today.isoformat()] == analytics.AnswerTimes()
    assert analytics.facts(found)["total"]["seconds"] == {"p50": 2.5, "p95": pytest.approx(3.85)}


def test_answers_that_are_known_to_be_wrong_do_not_count_as_answered(both: Store) -> None:
    today = NOW.date()

    for verdict in ("contradicted", "unsupported", "supported", None):
        ask(both, "q", state="answered", verdict=verdict)
    found = analytics.measure(both.engine, today - timedelta(days=2), today, EVERYTHING)
    assert (found.total.answered, found.total.wrong, found.total.right) == (4, 1, 3)
    assert found.total.rate == pytest.approx(3 / 4)
    assert analytics.facts(found)["total"]["wrong"] == 1


def test_a_day_is_one_of_utc(both: Store) -> None:
    midnight = weeks.begin(MONDAY)
    for minutes in (-1, 1):
        then = midnight + timedelta(minutes=minutes)
        ask(both, "q", state="answered", days=(NOW - then) / timedelta(days=1))
    found = analytics.measure(both.engine, MONDAY - timedelta(days=1), MONDAY, EVERYTHING)
    assert [counts.asked for counts in found.days.values()] == [1, 1]
