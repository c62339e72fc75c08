"""Aliases: the names that clients use, mapped to models.

`docs` may be the model `docs@v7` today and, for every tenth user, `docs@v8` tomorrow. An alias has
weighted targets, an ordered fallback list and a grounding policy. Aliases come from the settings
file; a row in the database, written by `askdocs aliases set`, takes precedence, and reaches every
worker within INTERVAL.
"""

import asyncio
import hashlib
import json
import logging
import random
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import sqlalchemy as sa
from pydantic import ValidationError

from core import audit, threads
from core.database import Utc, metadata, reading, writing
from core.errors import AskdocsError
from gateway.settings import Alias, Checking

log = logging.getLogger("askdocs.gateway")

INTERVAL = 0.5  # seconds between checks of the revision

BASE = "base"
DOCS = "docs"


def people_call(model: str, name: str | None) -> str:
    """A model's name in answers; `name` is the configured name of the base model."""
    return (name if model in (BASE, DOCS) else None) or model


DEFAULT = {DOCS: Alias(targets={BASE: 1}, grounding=True)}

alias_table = sa.Table(
    "aliases",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("definition", sa.Text, nullable=False),
    sa.Column("updated", Utc, nullable=False),
    sa.Column("updated_by", sa.Text, nullable=False),
)
# A single row, incremented by every change: workers check it twice a second.
revision_table = sa.Table(
    "alias_revision", metadata, sa.Column("revision", sa.BigInteger, nullable=False)
)


@dataclass(frozen=True, slots=True)
class Route:
    """The route of a request."""

    alias: str
    """The name that the client used."""
    candidates: tuple[str, ...]
    """Models in the order in which they are tried."""
    grounding: bool = False
    first_byte: float = 600.0
    """Seconds to wait for the first byte before trying the next candidate."""
    instructions: str = ""
    """Instructions for models, placed before the question."""
    sources: tuple[str, ...] = ()
    """The wikis that answers may use, or empty for all."""
    check: Checking = "mark"
    thresholds: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Scores below which a sentence is marked, by answering model and checker."""

    def with_last(self, name: str) -> "Route":
        """The same route, with that model last."""
        candidates = tuple(sorted(self.candidates, key=lambda candidate: candidate == name))
        return replace(self, candidates=candidates)


@dataclass(frozen=True, slots=True)
class Problem:
    """An error in an alias's definition."""

    alias: str
    key: str
    message: str


class Table:
    """All aliases at one point in time."""

    def __init__(self, aliases: Mapping[str, Alias]) -> None:
        self.aliases = dict(aliases)

    def route(self, name: str, user: str | None = None) -> Route:
        """The route of a request that names `name`; the same `user` gets the same target."""
        alias = self.aliases.get(name)
        if alias is None:
            return Route(name, (name,))
        point = _point(user) if user and len(alias.targets) > 1 else random.random()  # noqa: S311
        candidates = dict.fromkeys(self._candidates(name, point))
        return Route(
            name,
            tuple(candidates),
            alias.grounding,
            alias.first_byte,
            alias.instructions or "",
            alias.sources,
            alias.check,
            alias.thresholds,
        )

    def _candidates(self, name: str, point: float) -> list[str]:
        alias = self.aliases.get(name)
        if alias is None:
            return [name]
        rest = [c for fallback in alias.fallback for c in self._candidates(fallback, point)]
        return [_pick(alias.targets, point), *rest]

    def models(self, name: str) -> set[str]:
        """All models that requests to `name` may reach, including through other aliases."""
        alias = self.aliases.get(name)
        if alias is None:
            return {name}
        return set(alias.targets).union(*map(self.models, alias.fallback))

    def problems(self, models: Collection[str]) -> list[Problem]:
        """Errors that make the table unusable with these `models`."""
        problems = []
        for name, alias in self.aliases.items():
            if name in models:
                text = f"{name!r} is the name of a model, too: choose another for the alias"
                problems.append(Problem(name, "targets", text))
            for target in alias.targets:
                if target in self.aliases:
                    text = f"{target!r} is an alias; a target must be a model: {_list(models)}"
                    problems.append(Problem(name, "targets", text))
                elif target not in models:
                    text = f"there is no model {target!r}; there are {_list(models)}"
                    problems.append(Problem(name, "targets", text))
            for other in alias.fallback:
                if other not in models and other not in self.aliases:
                    known = _list([*models, *self.aliases])
                    text = f"there is no model or alias {other!r}; there are {known}"
                    problems.append(Problem(name, "fallback", text))
            if cycle := self._cycle(name, ()):
                text = f"the fallback is circular: {' -> '.join(cycle)}"
                problems.append(Problem(name, "fallback", text))
        return problems

    def _cycle(self, name: str, path: tuple[str, ...]) -> tuple[str, ...]:
        """The cycle that leads back to the start of `path`, or empty."""
        if path and name == path[0]:
            return (*path, name)
        if name in path or name not in self.aliases:
            return ()
        circles = (self._cycle(other, (*path, name)) for other in self.aliases[name].fallback)
        return next(filter(None, circles), ())


class Aliases:
    """The active table: the settings file's aliases, overlaid with the database's rows."""

    def __init__(self, configured: Mapping[str, Alias], database: sa.Engine) -> None:
        self._configured = {**DEFAULT, **configured}
        self._database = database
        self._seen: int | None = None
        self.table = Table(self._configured)

    def load(self) -> Table:
        """Reads the database's current table, without activating it.

        Raises:
            AskdocsError: the database is unavailable, or holds an invalid alias.
        """
        with reading(self._database) as connection:
            self._seen = connection.execute(sa.select(revision_table.c.revision)).scalar()
            return Table({**self._configured, **_rows(connection)})

    async def watch(self, problems: Callable[[Table], Awaitable[list[Problem]]]) -> None:
        """Follow the database until cancelled. A table with problems is not activated."""
        failing = False
        while True:
            await asyncio.sleep(INTERVAL)
            try:
                if await threads.database(self._revision) != self._seen:
                    new = await threads.database(self.load)
                    if wrong := await problems(new):
                        log.error("the aliases are unchanged: %s", wrong[0].message)
                    else:
                        self.table = new
                failing = False
            except AskdocsError as error:
                if not failing:
                    log.warning("the aliases are unchanged: %s", error)
                failing = True

    def _revision(self) -> int | None:
        with reading(self._database) as connection:
            return connection.execute(sa.select(revision_table.c.revision)).scalar()


def stored(database: sa.Engine) -> dict[str, Alias]:
    """The aliases in the database."""
    with reading(database) as connection:
        return _rows(connection)


def save(
    database: sa.Engine, name: str, alias: Alias, by: str, *, seen: Alias | None = None
) -> None:
    """Store an alias in the database: atomically, and visible to every worker.

    `seen` is the stored alias that the decision was based on; None: there was none. Raises
    AskdocsError: somebody else has changed it since.
    """
    with writing(database) as connection:
        check_unchanged(connection, name, seen)
        put(connection, name, alias, by)
        facts = alias.model_dump(mode="json", exclude={"instructions"}, exclude_defaults=True)
        facts["instructions"] = len(alias.instructions or "")
        audit.record(connection, "alias.set", name, **facts)


def put(connection: sa.Connection, name: str, alias: Alias, by: str) -> None:
    """Like `save`, within a transaction."""
    row = {
        # Gateways of older versions do not know `thresholds`, but can read aliases without them.
        "definition": alias.model_dump_json(exclude=None if alias.thresholds else {"thresholds"}),
        "updated": datetime.now(UTC),
        "updated_by": by,
    }
    here = alias_table.c.name == name
    if not connection.execute(sa.update(alias_table).where(here).values(row)).rowcount:
        connection.execute(sa.insert(alias_table).values(name=name, **row))
    _advance(connection)


def check_unchanged(connection: sa.Connection, name: str, seen: Alias | None) -> None:
    """Prevent other changes of aliases until the transaction ends.

    Raises AskdocsError: somebody else has changed this alias since `seen` was read.
    """
    connection.execute(sa.select(revision_table.c.revision).with_for_update())
    if _rows(connection).get(name) != seen:
        raise AskdocsError(
            f"somebody else has changed the alias {name!r} in the meantime, and nothing was done:"
            " look at `askdocs aliases list`, and try again"
        )


def remove(database: sa.Engine, name: str, *, seen: Alias | None) -> bool:
    """Delete an alias from the database, so that the settings file applies again. Did it exist?

    `seen` and errors: see `save`.
    """
    with writing(database) as connection:
        check_unchanged(connection, name, seen)
        gone = connection.execute(sa.delete(alias_table).where(alias_table.c.name == name)).rowcount
        _advance(connection)
        if gone:
            audit.record(connection, "alias.remove", name)
    return bool(gone)


def _advance(connection: sa.Connection) -> None:
    connection.execute(sa.update(revision_table).values(revision=revision_table.c.revision + 1))


def _rows(connection: sa.Connection) -> dict[str, Alias]:
    rows = connection.execute(sa.select(alias_table.c.name, alias_table.c.definition))
    try:
        return {row.name: Alias.model_validate(json.loads(row.definition)) for row in rows}
    except (ValidationError, ValueError) as error:
        raise AskdocsError(f"the database has an invalid alias: {error}") from None


def _pick(targets: Mapping[str, float], point: float) -> str:
    """The target at `point` (0 to 1), with targets side by side in proportion to their weights."""
    # Sort by name, so that reordering the definition does not reassign users.
    rest = point * sum(targets.values())
    chosen = ""
    for name, weight in sorted(targets.items()):
        if weight:
            chosen = name
            if rest < weight:
                break
        rest -= weight
    return chosen


def _point(user: str) -> float:
    digest = hashlib.blake2b(user.encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64


def _list(names: Collection[str]) -> str:
    return ", ".join(sorted(set(names)))
