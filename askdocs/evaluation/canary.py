"""A canary's readers: their answers and votes since it began."""

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa

from core.database import reading
from eval.gate import gate
from eval.gate.canary import Outcome, Standing, standing
from gateway.routing import promotions
from gateway.routing.promotions import main_target
from widget.service.store import question_table, vote_table

if TYPE_CHECKING:
    from gateway.routing.promotions import Promotion, Targets


class Canary(NamedTuple):
    """A canary that runs, and where it stands."""

    version: str
    other: str
    """The version in use beside it."""
    since: datetime
    """When its share was last set: a new share draws other readers, so counting starts over."""
    standing: Standing


def running(database: sa.Engine, alias: str, targets: "Targets") -> Canary | None:
    """The canary of an alias; None: there is none. Raises Unreachable."""
    began = _began(promotions.history(database, alias), targets)
    if began is None or len(targets) != 2:
        return None
    other = main_target(began.before, but=tuple(set(began.after) - set(began.before)))
    if other not in targets:
        return None
    (version,) = targets.keys() - {other}
    found = standing(
        outcomes(database, alias, began.at), version, other, gate.read().readers_margin
    )
    return Canary(version, other, began.at, found)


def _began(history: "list[Promotion]", targets: "Targets") -> "Promotion | None":
    last = history[-1] if history else None
    return last if last and last.action == "canary" and last.after == targets else None


def outcomes(database: sa.Engine, alias: str, since: datetime) -> Iterator[Outcome]:
    """Readers' answers in the widget and in Slack. Raises Unreachable."""
    q = question_table.c
    query = (
        sa.select(*(q.model, q.visitor, q.conversation, q.state, q.verdict), vote_table.c.vote)
        .outerjoin(vote_table, vote_table.c.question == q.id)
        .where(q.alias == alias, q.at >= since, q.state.not_in(("asked", "stopped")))
    )
    with reading(database) as connection:
        for model, visitor, conversation, state, verdict, vote in connection.execute(query):
            yield Outcome(model, visitor or conversation, value(state, verdict, vote))


def value(state: str, verdict: str | None, vote: str | None) -> float:
    """The value of an answer to its reader: 1, 0 or -1; a vote decides."""
    if vote in ("up", "down"):
        return 1.0 if vote == "up" else -1.0
    if state == "refused":
        return 0.0
    return -1.0 if state == "failed" or verdict in ("unsupported", "contradicted") else 1.0
