"""ISO 8601 calendar weeks in UTC, which begin on Monday."""

import re
from datetime import UTC, date, datetime, time, timedelta

from core.errors import AskdocsError

WEEK = timedelta(days=7)


def monday(day: date) -> date:
    """The Monday of the week that contains `day`."""
    return day - timedelta(days=day.weekday())


def begin(day: date) -> datetime:
    """Midnight UTC at the start of a day."""
    return datetime.combine(day, time(), UTC)


def name(first: date) -> str:
    """The name of a week, such as `2026-W48`."""
    year, week, _ = first.isocalendar()
    return f"{year}-W{week:02}"


def parse(text: str) -> date:
    """The first day of the named week. Raises AskdocsError."""
    match = re.fullmatch(r"([0-9]{4})-W([0-9]{2})", text)
    try:
        if match:
            return date.fromisocalendar(int(match[1]), int(match[2]), 1)
    except ValueError:
        pass
    raise AskdocsError(f"--week {text}: write a week as 2026-W48 (year and ISO week)")
