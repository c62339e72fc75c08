"""The shared index of several gateways: pages and embeddings in PostgreSQL.

Each gateway searches a copy of it in its index file, see `replica`. So the ranking is the same for
one gateway and for many, and answers continue while the database is unavailable.
"""

import json
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from core import database
from core.database import metadata
from wiki import rights
from wiki.index import rows
from wiki.index.reused_vectors import Carried
from wiki.index.rows import Embedders, PageRow, StoredSource
from wiki.index.vectors import Floats, Packed, pack
from wiki.index.writer import PATIENCE, IndexBusy
from wiki.pages.page import Page
from wiki.rights import Groups

# An arbitrary number that nothing else in the same database may lock.
LOCK = 4_708_159_227
# Pages per statement.
BATCH = 500

state_table = sa.Table(
    "wiki_state",
    metadata,
    # Changes with every commit; the table has a single row.
    sa.Column("token", sa.String(32), nullable=False),
    sa.Column("serving", sa.Text),
    sa.Column("embedders", sa.Text, nullable=False, server_default="{}"),
)
source_table = sa.Table(
    "wiki_sources",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("spec", sa.Text, nullable=False),
    sa.Column("synced", sa.Text),
    sa.Column("problems", sa.Text, nullable=False),
)
page_table = sa.Table(
    "wiki_pages",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("stamp", sa.Text, nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("digest", sa.BigInteger, nullable=False),
    sa.Column("sections", sa.LargeBinary, nullable=False),
    sa.Column("groups", sa.Text),
    sa.UniqueConstraint("source", "path", name="wiki_pages_path"),
)
vectors_table = sa.Table(
    "wiki_vectors",
    metadata,
    sa.Column(
        "page",
        sa.Integer,
        sa.ForeignKey("wiki_pages.number", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("scales", sa.LargeBinary, nullable=False),
    sa.Column("matrix", sa.LargeBinary, nullable=False),
)


class SharedWriter:
    """Writes to the shared index; created by `writing`."""

    def __init__(self, connection: sa.Connection) -> None:
        self._db = connection
        # By source: path, then number, digest, stamp and groups.
        self._known: dict[str, dict[str, tuple[int, int, str, str | None]]] = {}
        self._pending: dict[tuple[str, str], tuple[PageRow, Page]] = {}
        self._carried = Carried()
        self._written = False

    def sources(self) -> list[StoredSource]:
        self._send()
        cursor = self._db.execute(sa.select(source_table).order_by(source_table.c.name))
        return [rows.read_source(*row) for row in cursor]

    def put_source(self, source: StoredSource) -> None:
        row = rows.source_row(source)
        self._write(sa.delete(source_table).where(source_table.c.name == row[0]))
        self._write(sa.insert(source_table).values(row))

    def remove_source(self, name: str) -> None:
        self._pending = {key: entry for key, entry in self._pending.items() if key[0] != name}
        self._known.pop(name, None)
        self._write(sa.delete(page_table).where(page_table.c.source == name))
        self._write(sa.delete(source_table).where(source_table.c.name == name))

    def known(self, source: str) -> dict[str, str]:
        self._send()
        return {path: stamp for path, (_, _, stamp, _) in self._pages_of(source).items()}

    def groups(self, source: str) -> dict[str, Groups | None]:
        self._send()
        return {path: rights.load(row[3]) for path, row in self._pages_of(source).items()}

    def put(self, source: str, page: Page, stamp: str, groups: Groups | None = None) -> None:
        page = rows.storable(page)
        row = rows.page_row(source, page, stamp, groups)
        there = self._pages_of(source).get(row.path)
        if there and there[1] == row.digest:
            self._pending.pop((source, row.path), None)
            self._mark(source, row.path, stamp, row.groups)
            return
        self._pending[source, row.path] = row, page
        if len(self._pending) >= BATCH:
            self._send()

    def regroup(self, source: str, path: str, groups: Groups | None, stamp: str) -> None:
        self._send()
        if path in self._pages_of(source):
            self._mark(source, path, stamp, rights.dump(groups))

    def _mark(self, source: str, path: str, stamp: str, groups: str | None) -> None:
        number, digest, *before = self._pages_of(source)[path]
        if before != [stamp, groups]:
            self._write(
                sa.update(page_table)
                .where(page_table.c.number == number)
                .values(stamp=stamp, groups=groups)
            )
            self._pages_of(source)[path] = (number, digest, stamp, groups)

    def remove(self, source: str, path: str) -> None:
        self._send()
        if path in self._pages_of(source):
            number, *_ = self._pages_of(source).pop(path)
            self._take_out([number])

    def missing(self, model: str) -> list[int]:
        self._send()
        has = sa.exists().where(
            vectors_table.c.page == page_table.c.number, vectors_table.c.model == model
        )
        cursor = self._db.execute(
            sa.select(page_table.c.number).where(~has).order_by(page_table.c.number)
        )
        return list(cursor.scalars())

    def page(self, number: int) -> Page | None:
        self._send()
        columns = page_table.c
        row = self._db.execute(
            sa.select(columns.path, columns.title, columns.url, columns.sections).where(
                columns.number == number
            )
        ).first()
        return rows.read_page(*row) if row else None

    def put_vectors(self, number: int, matrix: Floats, model: str) -> None:
        self._send()
        there = sa.select(page_table.c.number).where(page_table.c.number == number)
        if self._db.execute(there).first():
            stored = vectors_table.c
            before = sa.and_(stored.page == number, stored.model == model)
            self._write(sa.delete(vectors_table).where(before))
            self._write(sa.insert(vectors_table).values((number, model, *pack(matrix))))
            first = sa.update(state_table).where(state_table.c.serving.is_(None))
            self._write(first.values(serving=model))

    def embedders(self) -> Embedders:
        return read_embedders(self._db)

    def put_embedder(self, model: str, stored: Mapping[str, Any]) -> None:
        there = self.embedders()
        if there.stored.get(model) != stored:
            self._put_embedders(there.serving, {**there.stored, model: stored})

    def serve(self, model: str) -> None:
        there = self.embedders()
        gone = self._db.execute(sa.delete(vectors_table).where(vectors_table.c.model != model))
        if there.serving == model and not there.stored.keys() - {model} and not gone.rowcount:
            return
        self._put_embedders(model, {k: v for k, v in there.stored.items() if k == model})

    def _put_embedders(self, serving: str | None, stored: Mapping[str, Any]) -> None:
        values = {"serving": serving, "embedders": json.dumps(dict(stored))}
        self._write(sa.update(state_table).values(values))

    def finish(self) -> None:
        """The last step before the commit."""
        self._send()
        if self._written:
            self._db.execute(sa.update(state_table).values(token=uuid.uuid4().hex))

    def _pages_of(self, source: str) -> dict[str, tuple[int, int, str, str | None]]:
        if source not in self._known:
            columns = page_table.c
            cursor = self._db.execute(
                sa.select(
                    columns.path, columns.number, columns.digest, columns.stamp, columns.groups
                ).where(columns.source == source)
            )
            self._known[source] = {
                path: (number, digest, stamp, groups)
                for path, number, digest, stamp, groups in cursor
            }
        return self._known[source]

    def _send(self) -> None:
        """Write the pending pages."""
        pending, self._pending = list(self._pending.values()), {}
        if not pending:
            return
        before = [self._pages_of(row.source).get(row.path) for row, _ in pending]
        replaced = [page[0] for page in before if page]
        if replaced:
            self._take_out(replaced)
        for name in {row.source for row, _ in pending}:
            named = sa.select(source_table.c.name).where(source_table.c.name == name)
            if not self._db.execute(named).first():
                self._write(sa.insert(source_table).values((name, "{}", None, "[]")))
        added = self._write(
            sa.insert(page_table).returning(page_table.c.number, sort_by_parameter_order=True),
            [row._asdict() for row, _ in pending],
        )
        carried = []
        for (row, page), number in zip(pending, added.scalars(), strict=True):
            self._pages_of(row.source)[row.path] = (number, row.digest, row.stamp, row.groups)
            for model, packed in self._carried.of(page).items():
                carried.append({"page": number, "model": model, **packed._asdict()})
        if carried:
            self._write(sa.insert(vectors_table), carried)

    def _take_out(self, numbers: Sequence[int]) -> None:
        """Delete pages, and keep their vectors for others."""
        columns, stored = page_table.c, vectors_table.c
        cursor = self._db.execute(
            sa.select(
                columns.path, columns.title, columns.url, columns.sections,
                stored.model, stored.scales, stored.matrix,
            )
            .join_from(page_table, vectors_table)
            .where(columns.number.in_(numbers))
        )  # fmt: skip
        of_pages: dict[tuple[Any, ...], dict[str, Packed]] = {}
        for *page, model, scales, matrix in cursor:
            of_pages.setdefault(tuple(page), {})[model] = Packed(scales, matrix)
        for page_columns, vectors in of_pages.items():
            self._carried.leave(rows.read_page(*page_columns), vectors)
        self._write(sa.delete(page_table).where(columns.number.in_(numbers)))

    def _write(self, statement: Any, values: Any = None) -> Any:
        self._written = True
        return self._db.execute(statement, values)


def read_embedders(connection: sa.Connection) -> Embedders:
    columns = state_table.c
    row = connection.execute(sa.select(columns.serving, columns.embedders)).one()
    return rows.read_embedders(*row)


@contextmanager
def writing(
    engine: sa.Engine,
    *,
    waiting: Callable[[int], None] | None = None,
    patience: float = PATIENCE,
) -> Iterator[SharedWriter]:
    """Like `wiki.index.writer.writing`, for the database.

    Raises IndexBusy, Unreachable.
    """
    with database.writing(engine) as connection:
        _wait_for_turn(engine, connection, waiting, patience)
        writer = SharedWriter(connection)
        yield writer
        writer.finish()


def _wait_for_turn(
    engine: sa.Engine,
    connection: sa.Connection,
    waiting: Callable[[int], None] | None,
    patience: float,
) -> None:
    """Wait until this connection holds the lock, which ends with its transaction."""
    me = f"askdocs {os.getpid()} {socket.gethostname()}"
    connection.execute(sa.select(sa.func.set_config("application_name", me[:63], True)))
    deadline = time.monotonic() + patience
    announced = False
    while not connection.execute(sa.select(sa.func.pg_try_advisory_xact_lock(LOCK))).scalar():
        pid, host = _holder(connection)
        if time.monotonic() >= deadline:
            raise IndexBusy(
                f"{database.shown(engine)}: process {pid or '?'} on {host or '?'} is writing to"
                " the search index: wait until it is done, or stop it"
            )
        if waiting and not announced and pid:
            announced = True
            waiting(pid)
        time.sleep(0.1)


def _holder(connection: sa.Connection) -> tuple[int | None, str | None]:
    """The process that holds the lock, and its host."""
    # The two halves of the lock number: https://www.postgresql.org/docs/current/view-pg-locks.html
    holder = connection.execute(
        sa.text(
            "SELECT application_name FROM pg_stat_activity JOIN pg_locks USING (pid)"
            " WHERE locktype = 'advisory' AND granted AND objsubid = 1"
            " AND classid = :high AND objid = :low"
            " AND pg_locks.database = (SELECT oid FROM pg_database"
            " WHERE datname = current_database())"
        ),
        {"high": LOCK >> 32, "low": LOCK & 0xFFFFFFFF},
    ).scalar()
    words = (holder or "").split()
    return (int(words[1]), words[2]) if len(words) == 3 else (None, None)
