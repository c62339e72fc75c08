"""The weekly digest of gaps, sent to a webhook exactly once per week."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from core import audit
from core.database import writing
from core.errors import AskdocsError
from widget.review import gaps, weeks
from widget.review.tables import digest_table
from widget.review.wiki import ReviewIndex
from widget.text.mrkdwn import escaped, link
from wiki.rights import PUBLIC

TOLD = 10  # gaps in a message
TIMEOUT = 10.0
# After this time another process may send in place of one that was killed while sending.
TURN = timedelta(minutes=10)


class NotSent(AskdocsError):
    """The webhook did not accept the message."""


def text_of(weekly_gaps: gaps.Gaps, public_url: str = "") -> str:
    """The message, in Slack's mrkdwn, which reads well as plain text, too.

    `public_url` is the widget's URL, for a link to all gaps.

    https://docs.slack.dev/messaging/formatting-message-text: three characters are escaped, so that
    a question cannot mention anybody.
    """
    week = weeks.name(weekly_gaps.first_days[-1])
    new_gaps = [gap for gap in weekly_gaps.gaps if gap.weeks[-1]]
    if not new_gaps:
        return f"*{week}: no gaps.* Nothing was asked that the docs did not answer."
    new_gaps.sort(key=lambda gap: (-gap.weeks[-1], gap.cluster))
    asked = sum(gap.weeks[-1] for gap in new_gaps)
    lines = [f"*{week}: what the docs do not answer* ({asked:,} questions, {len(new_gaps):,} gaps)"]
    for gap in new_gaps[:TOLD]:
        change = f", {gap.trend:+,} on the week before" if gap.trend else ""
        near = "".join(f" — near {link(p['url'], _safe(p['title']))}" for p in gap.pages[:1])
        lines.append(f"• {gap.weeks[-1]:,} × {_safe(gap.question, 200)}{change}{near}")
    more = f"and {len(new_gaps) - TOLD:,} more: " if len(new_gaps) > TOLD else ""
    if public_url:
        lines.append(more + link(f"{public_url}/review/gaps", "all gaps in the review"))
    elif more:
        lines.append(f"{more}see the gaps in the review")
    return "\n".join(lines)


def message(weekly_gaps: gaps.Gaps, webhook: str, public_url: str = "") -> dict[str, Any]:
    """The JSON to post: only the text for Slack, the numbers as well for others."""
    text = {"text": text_of(weekly_gaps, public_url)}
    if _host(webhook).endswith("slack.com"):
        return text
    listed = [
        {
            "question": gap.question,
            "asked": gap.weeks[-1],
            "trend": gap.trend,
            "pages": list(gap.pages),
        }
        for gap in weekly_gaps.gaps
        if gap.weeks[-1]
    ]
    return {**text, "week": weeks.name(weekly_gaps.first_days[-1]), "gaps": listed}


def send(
    engine: sa.Engine, wiki: ReviewIndex, webhook: str, week: date, public_url: str = ""
) -> bool:
    """Send the digest of the week that begins at `week`, unless it was sent; returns whether it was
    sent now.

    Its readers are unknown, so it contains only public data.

    Raises:
        NotSent: the webhook could not be reached or refused; try again.
        Unreachable: the database does not answer.
    """
    if not _claim(engine, week):
        return False
    sent = False
    try:
        _post(webhook, message(gaps.find(engine, week, 2, PUBLIC, wiki), webhook, public_url))
        sent = True
    finally:
        c = digest_table.c
        with writing(engine) as connection:
            if sent:
                update = digest_table.update().where(c.week == week)
                connection.execute(update.values(sent=datetime.now(UTC)))
                audit.record(connection, "gaps.send", weeks.name(week), to=_host(webhook))
            else:
                connection.execute(digest_table.delete().where(c.week == week))
    return True


def _claim(engine: sa.Engine, week: date) -> bool:
    """May this process send it?"""
    c, now = digest_table.c, datetime.now(UTC)
    given_up = digest_table.delete().where(c.sent.is_(None), c.claimed < now - TURN)
    try:
        with writing(engine) as connection:
            connection.execute(given_up)
            connection.execute(digest_table.insert(), {"week": week, "claimed": now})
    except IntegrityError:
        return False
    return True


def _post(webhook: str, body: dict[str, Any]) -> None:
    host = _host(webhook)
    try:
        response = httpx.post(webhook, json=body, timeout=TIMEOUT)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        kind = type(error).__name__
        raise NotSent(
            f"the digest webhook at {host!r} cannot be reached ({kind}): check"
            " ASKDOCS_WIDGET_DIGEST_WEBHOOK"
        ) from None
    if not response.is_success:
        raise NotSent(
            f"the digest webhook at {host!r} answered {response.status_code}"
            f" {response.text[:100]!r}: check ASKDOCS_WIDGET_DIGEST_WEBHOOK"
        )


def _host(webhook: str) -> str:
    """The part of the address that may be shown; the whole is a secret."""
    return urlsplit(webhook).hostname or ""


def _safe(text: str, most: int = 100) -> str:
    text = " ".join(text.split())
    text = text if len(text) <= most else f"{text[: most - 1]}…"
    return escaped(text)
