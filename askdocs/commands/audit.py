"""`askdocs audit`: who changed keys, aliases, wikis, versions, questions and backups."""

import json
from dataclasses import asdict
from datetime import UTC, datetime, time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from askdocs.commands.options import HomeOption, JsonOption
from askdocs.state.database import opened
from askdocs.terminal import table
from askdocs.terminal.times import day
from core import audit as log
from core.audit import AuditRecord
from widget.review.reviews import decided

if TYPE_CHECKING:
    import sqlalchemy as sa


def audit(
    since: Annotated[
        str, typer.Option(metavar="DATE|AGE", help="Start: a date (2026-05-31) or an age (30d).")
    ] = "30d",
    action: Annotated[
        str | None,
        typer.Option(help="Only actions with this prefix: key, alias, version.promote ..."),
    ] = None,
    home_dir: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show who changed keys, aliases, wikis, versions, answers and backups."""
    first = day(since)
    with opened(home_dir) as engine:
        lines = [
            line
            for line in _lines(engine, datetime.combine(first, time(), UTC))
            if action is None or line.action.startswith(action)
        ]
    if as_json:
        rows = [{**asdict(line), "at": line.at.isoformat(timespec="seconds")} for line in lines]
        print(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    if not lines:
        print(f"no actions since {first}")
        return
    table.show(
        ["at", "who", "action", "what", "details"],
        [
            [f"{line.at:%Y-%m-%d %H:%M:%S}", line.who, line.action, line.target, _short(line)]
            for line in lines
        ],
    )


def _lines(engine: "sa.Engine", since: datetime) -> "list[AuditRecord]":
    """The log, and between its lines what reviewers decided, which has a history of its own."""
    reviews = [
        AuditRecord(
            id=f"review-{decision.cluster}-{decision.version}",
            at=decision.at,
            who=decision.who,
            action=f"review.{decision.action}",
            target=f"/review/{decision.cluster}",
            details={"state": decision.state},
        )
        for decision in decided(engine, since)
        if decision.at is not None
    ]
    return sorted([*log.lines(engine, since), *reviews], key=lambda line: (line.at, line.id))


def _short(line: "AuditRecord") -> str:
    """Details in a few words; JSON has all of them."""
    return ", ".join(f"{key} {_value(value)}" for key, value in line.details.items() if value)


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return " + ".join(f"{key}={_value(item)}" for key, item in value.items())
    if isinstance(value, list):
        return "+".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
