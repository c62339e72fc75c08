"""Deployments: the model versions being served, and their addresses.

`askdocs models promote` requests a version; `askdocs up` starts it and records its address, and
every worker of every gateway follows. A version that is no longer wanted finishes its open streams
first: it is `stopping`, and still served, until its engine is idle.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import sqlalchemy as sa

from core.database import Utc, metadata, reading, writing

State = Literal["wanted", "ready", "failed", "stopping"]
# A separate process with a GGUF file or merged weights, or an adapter in a running engine.
ArtefactKind = Literal["gguf", "merged", "adapter"]

deployment_table = sa.Table(
    "deployments",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("kind", sa.Text),
    sa.Column("url", sa.Text),
    sa.Column("model", sa.Text),
    sa.Column("updated", Utc, nullable=False),
)
_c = deployment_table.c


@dataclass(frozen=True, slots=True)
class Deployment:
    """A version and its address."""

    name: str
    """The name that clients may use, such as `docs@v7`."""
    source: str
    """The store that holds its files."""
    state: State
    message: str
    """The current step, or the reason for the failure."""
    kind: ArtefactKind | None
    """The kind of artefact that is served; None: not served yet."""
    url: str | None
    """Base URL of the engine that serves it, with /v1."""
    model: str | None
    """Its name in that engine."""
    updated: datetime

    @property
    def is_served(self) -> bool:
        return self.url is not None and self.state in ("ready", "stopping")


def every(database: sa.Engine) -> list[Deployment]:
    """All deployments, by name. Raises Unreachable, like all functions here."""
    with reading(database) as connection:
        rows = connection.execute(sa.select(deployment_table).order_by(_c.name))
        return [Deployment(**row._mapping) for row in rows]


def find(database: sa.Engine, name: str) -> Deployment | None:
    return next((deployment for deployment in every(database) if deployment.name == name), None)


def want(database: sa.Engine, name: str, source: str) -> None:
    """Request a version. A served version keeps running, even if it was about to be stopped."""
    message = "waiting for askdocs up"
    fresh: dict[str, Any] = {"source": source, "state": "wanted", "message": message, "url": None}
    with writing(database) as connection:
        stored = connection.execute(
            sa.select(_c.state, _c.url).where(_c.name == name)
        ).one_or_none()
        if stored is None:
            row = {"name": name, "updated": datetime.now(UTC), **fresh}
            connection.execute(sa.insert(deployment_table).values(row))
        elif stored.state == "stopping" and stored.url is not None:
            _change(connection, name, state="ready", message="")
        elif stored.state in ("failed", "stopping"):
            _change(connection, name, **fresh)


def tell(database: sa.Engine, name: str, message: str) -> None:
    """Record the current step for a wanted version."""
    with writing(database) as connection:
        _change(connection, name, "wanted", message=message)


def ready(database: sa.Engine, name: str, kind: ArtefactKind, url: str, model: str) -> bool:
    """Record the address of a wanted version. Is it still wanted?"""
    with writing(database) as connection:
        place = {"kind": kind, "url": url, "model": model}
        return _change(connection, name, "wanted", state="ready", message="", **place)


def fail(database: sa.Engine, name: str, message: str) -> bool:
    """Record why a wanted version cannot be served. Is it still wanted?"""
    with writing(database) as connection:
        return _change(connection, name, "wanted", state="failed", message=message, url=None)


def stop(database: sa.Engine, name: str) -> bool:
    """Request the end of a version. Did it exist?"""
    with writing(database) as connection:
        return _change(connection, name, state="stopping", message="")


def forget(database: sa.Engine, name: str) -> bool:
    """Remove a stopping version from the table. Was it still stopping?"""
    with writing(database) as connection:
        there = sa.delete(deployment_table).where(_c.name == name, _c.state == "stopping")
        return bool(connection.execute(there).rowcount)


def begin_again(database: sa.Engine, needed: set[str]) -> None:
    """At start nothing is served: mark `needed` as wanted, and delete the rest."""
    with writing(database) as connection:
        others = sa.delete(deployment_table).where(_c.name.not_in(needed))
        connection.execute(others)
        again = {"state": "wanted", "message": "", "url": None, "updated": datetime.now(UTC)}
        connection.execute(sa.update(deployment_table).values(again))


def _change(connection: sa.Connection, name: str, was: State | None = None, **to: Any) -> bool:
    """Update the row of `name`, if its state is `was`. Did it match?"""
    here = sa.update(deployment_table).where(_c.name == name)
    if was is not None:
        here = here.where(_c.state == was)
    return bool(connection.execute(here.values(updated=datetime.now(UTC), **to)).rowcount)
