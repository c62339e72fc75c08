"""Parses dates and durations that users type."""

import re
from datetime import UTC, date, datetime, timedelta

from core.errors import AskdocsError


def duration(option: str, text: str) -> timedelta:
    match = re.fullmatch(r"([0-9]{1,9})([dhm])", text)
    if match is None:
        raise AskdocsError(f"{option} {text}: write days, hours or minutes as 90d, 12h or 30m")
    length = int(match[1]) * UNITS[match[2]] if int(match[1]) < 10**8 else timedelta.max
    if length > LONGEST:
        raise AskdocsError(f"{option} {text}: is more than {LONGEST.days} days")
    return length


def day(text: str) -> date:
    """The day in UTC given by `--since`."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        pass
    if re.fullmatch(r"[0-9]{1,9}[dhm]", text):
        return (datetime.now(UTC) - duration("--since", text)).date()
    raise AskdocsError(f"--since {text}: write a date (2026-05-31) or an age (30d)")


UNITS = {"d": timedelta(days=1), "h": timedelta(hours=1), "m": timedelta(minutes=1)}


LONGEST = timedelta(days=36_500)
