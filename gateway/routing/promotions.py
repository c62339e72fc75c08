"""The promotion history: who promoted which version to which alias, when, and why.

The alias and its history entry are written in one transaction, so that they always agree. If two
people promote at once, the second one gets an error.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import sqlalchemy as sa

from core import audit
from core.database import Utc, metadata, reading, writing
from gateway.routing import aliases, deployments
from gateway.settings import Alias

Action = Literal["promote", "canary", "rollback"]
Targets = dict[str, float]

promotion_table = sa.Table(
    "promotions",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("at", Utc, nullable=False),
    sa.Column("by", sa.Text, nullable=False),
    sa.Column("alias", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("before", sa.Text, nullable=False),
    sa.Column("after", sa.Text, nullable=False),
    sa.Column("verdict", sa.Text),
    sa.Column("why", sa.Text),
)
_c = promotion_table.c


@dataclass(frozen=True, slots=True)
class Promotion:
    """An entry of the history."""

    alias: str
    action: Action
    before: Targets
    """Models and weights before it."""
    after: Targets
    by: str
    at: datetime
    verdict: dict[str, Any] | None = None
    """The release gate's verdict on the version."""
    why: str | None = None
    """The reason for a promotion that the release gate did not allow."""


def history(database: sa.Engine, alias: str) -> list[Promotion]:
    """The history of one alias, oldest first. Raises Unreachable."""
    with reading(database) as connection:
        rows = connection.execute(
            sa.select(promotion_table).where(_c.alias == alias).order_by(_c.number)
        )
        return [_entry(row._mapping) for row in rows]


def write(
    database: sa.Engine,
    action: Action,
    name: str,
    seen: Alias | None,
    before: Alias,
    targets: Targets,
    by: str,
    *,
    verdict: Mapping[str, Any] | None = None,
    why: str | None = None,
) -> None:
    """Point the alias `name` to `targets`, and record it in the history.

    Args:
        seen: the stored alias that the decision was based on; None: there was none.
        before: the alias in force then, from the database or elsewhere.

    Raises:
        AskdocsError: somebody else has changed the alias since; nothing is changed.
        Unreachable: the database is unavailable.
    """
    with writing(database) as connection:
        aliases.check_unchanged(connection, name, seen)
        new = before.model_copy(update={"targets": targets})
        aliases.put(connection, name, new, by)
        row = {
            "at": datetime.now(UTC),
            "by": by,
            "alias": name,
            "action": action,
            "before": json.dumps(before.targets),
            "after": json.dumps(targets),
            "verdict": json.dumps(verdict) if verdict is not None else None,
            "why": why,
        }
        connection.execute(sa.insert(promotion_table).values(row))
        audit.record(
            connection,
            f"version.{action}",
            name,
            before=before.targets,
            after=targets,
            why=why,
        )


def previous(entries: Sequence[Promotion], current: Targets) -> Targets | None:
    """The targets that a rollback from `current` restores; None: nothing was promoted.

    These are the targets before the last promotion or, after a canary or a manual change, those of
    the last promotion.
    """
    promoted: list[Targets] = []
    for entry in entries:
        if not promoted:
            promoted.append(entry.before)
        if entry.action == "rollback":
            while len(promoted) > 1 and promoted[-1] != entry.after:
                promoted.pop()
        elif entry.action == "promote":
            # If the preceding canary was of the same version, restore the targets that it was
            # compared with.
            if entry.before != promoted[-1] and set(entry.before) & set(promoted[-1]) == set():
                promoted.append(entry.before)
            if entry.after != promoted[-1]:
                promoted.append(entry.after)
    if not promoted:
        return None
    if current != promoted[-1]:
        return promoted[-1]
    return promoted[-2] if len(promoted) > 1 else None


def needed(table: Mapping[str, Alias], histories: Mapping[str, Sequence[Promotion]]) -> set[str]:
    """The models that aliases point to, or that a rollback would point to."""
    names: set[str] = set()
    for name, alias in table.items():
        names |= {*alias.targets, *alias.fallback}
        names |= set(previous(histories.get(name, ()), alias.targets) or ())
    return names


def all_needed(database: sa.Engine, configured: Mapping[str, Alias]) -> set[str]:
    """Like `needed`, for the settings' aliases and the database. Raises Unreachable,
    AskdocsError."""
    table = {**aliases.DEFAULT, **configured, **aliases.stored(database)}
    return needed(table, {name: history(database, name) for name in table})


def release(database: sa.Engine, names: Collection[str], configured: Mapping[str, Alias]) -> None:
    """Stop the versions in `names` that no alias needs. Raises Unreachable."""
    idle = {*names} - all_needed(database, configured)
    for deployment in deployments.every(database):
        if deployment.name in idle and deployment.state != "stopping":
            deployments.stop(database, deployment.name)


def in_use(database: sa.Engine, configured: Mapping[str, Alias]) -> dict[str, str]:
    """The models that aliases point to now, each with one such alias. Raises as `all_needed`."""
    table = {**aliases.DEFAULT, **configured, **aliases.stored(database)}
    return {target: name for name, alias in table.items() for target in alias.targets}


def main_target(targets: Mapping[str, float], but: Collection[str] = ()) -> str:
    """The model, not in `but`, that gets most requests."""
    rest = {name: weight for name, weight in targets.items() if name not in but}
    return max(rest or targets, key=lambda name: targets[name])


def _entry(row: Mapping[Any, Any]) -> Promotion:
    return Promotion(
        alias=row["alias"],
        action=row["action"],
        before=json.loads(row["before"]),
        after=json.loads(row["after"]),
        by=row["by"],
        at=row["at"],
        verdict=json.loads(row["verdict"]) if row["verdict"] else None,
        why=row["why"],
    )
