"""A local copy of a shared index, and the routing of writes to either of them.

With `ASKDOCS_DATABASE_URL=postgresql://...`, pages are written to PostgreSQL, and every gateway
follows: it checks for changes once a second, and updates its file in one transaction. The file
contains everything that a search needs.
"""

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import sqlalchemy as sa

from core import database
from core.errors import AskdocsError
from core.tasks import Tasks
from wiki.index import rows, shared, store
from wiki.index.rows import PageRow
from wiki.index.shared import (
    page_table,
    source_table,
    state_table,
    vectors_table,
)
from wiki.index.vectors import Packed
from wiki.index.writer import PATIENCE, FileWriter, Writer, writing

log = logging.getLogger("askdocs.search")

# Seconds between checks.
INTERVAL = 1.0
# Seconds without a reply until the database counts as unavailable.
SILENCE = 60.0


@contextmanager
def open_writing(
    file: Path,
    database_url: str | None,
    *,
    waiting: Callable[[int], None] | None = None,
    patience: float = PATIENCE,
) -> Iterator[Writer]:
    """Write to a gateway's index, in its file or in PostgreSQL.

    Args:
        file: its index file.
        database_url: the gateway's; with PostgreSQL, the database holds the index, too.
        waiting, patience: as `wiki.index.writer.writing`.

    Raises:
        IndexBusy: another writer did not finish.
        AskdocsError: the index cannot be written.
    """
    engine = _shared(database_url)
    if engine is None:
        with writing(file, waiting=waiting, patience=patience) as writer:
            yield writer
        return
    with _disposed(engine):
        database.migrate(engine)
        with shared.writing(engine, waiting=waiting, patience=patience) as shared_writer:
            yield shared_writer
        pull(engine, file)


def refresh(file: Path, database_url: str | None) -> None:
    """Update the file from the shared index; does nothing if there is none.

    Raises AskdocsError: as `pull`.
    """
    engine = _shared(database_url)
    if engine is not None:
        with _disposed(engine):
            database.migrate(engine)
            pull(engine, file)


@contextmanager
def following(file: Path, database_url: str | None, tasks: Tasks) -> Iterator[None]:
    """Keep the file in sync with the shared index, if there is one, until the block exits.

    While the database is unavailable, the file stays unchanged, and searches continue.
    """
    engine = _shared(database_url, SILENCE)
    if engine is None:
        yield
        return
    stop = threading.Event()
    work = ("index copy", partial(_follow, engine, file, stop), stop)
    thread = threading.Thread(target=tasks.go_on, args=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(5)
        engine.dispose()


def _follow(engine: sa.Engine, file: Path, stop: threading.Event) -> None:
    failed = False
    while not stop.wait(INTERVAL):
        try:
            pull(engine, file)
        except AskdocsError as error:
            if not failed:
                log.warning("%s; the search index is unchanged until then", error)
            failed = True
        else:
            failed = False


def pull(engine: sa.Engine, file: Path) -> bool:
    """Make the file a copy of the shared index. Did anything change?

    Raises:
        Unreachable: the database does not answer.
        AskdocsError: the file cannot be written.
    """
    with database.reading(engine) as connection:
        token = connection.execute(sa.select(state_table.c.token)).scalar_one()
    if _copy_of(file) == token:
        return False
    # Gateways of one machine may share the file: the first one updates it.
    with writing(file) as writer:
        if writer.copy_of() == token:
            return False
        with database.reading(engine) as connection:
            # All reads must see the same state of the database.
            connection.execute(sa.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
            token = connection.execute(sa.select(state_table.c.token)).scalar_one()
            _copy_sources(connection, writer)
            _copy_pages(connection, writer)
            _copy_vectors(connection, writer)
            writer.copy_embedders(shared.read_embedders(connection))
        writer.finish(copy_of=token)
    return True


def _copy_of(file: Path) -> str | None:
    """The state of which the file is a copy; None if it is not a copy, or missing."""
    if not file.exists():
        return None
    try:
        with closing(store.connect(file)) as db:
            store.check(db, file)
            row = db.execute("SELECT copy_of FROM state").fetchone()
    except (store.NoIndex, OSError):
        return None
    except sqlite3.Error as error:
        raise store.explained(error, file) from error
    return row[0] if row else None


def _copy_sources(connection: sa.Connection, writer: FileWriter) -> None:
    there = {stored.name: stored for stored in writer.sources()}
    for row in connection.execute(sa.select(source_table)):
        source = rows.read_source(*row)
        if there.pop(source.name, None) != source:
            writer.put_source(source)
    for name in there:
        writer.forget_source(name)


def _copy_pages(connection: sa.Connection, writer: FileWriter) -> None:
    columns = page_table.c
    theirs = {
        number: (digest, stamp, groups)
        for number, digest, stamp, groups in connection.execute(
            sa.select(columns.number, columns.digest, columns.stamp, columns.groups)
        )
    }
    ours = writer.stored()
    for number, (digest, *before) in ours.items():
        # The number would suffice, unless an older state of the database was restored.
        if theirs.get(number, (None,))[0] != digest:
            writer.delete(number)
        elif theirs[number][1:] != tuple(before):
            writer.mark(number, *theirs[number][1:])
    new = sorted(n for n, (digest, *_) in theirs.items() if ours.get(n, (None,))[0] != digest)
    for some in _batches(new):
        page_rows = connection.execute(
            sa.select(page_table).where(columns.number.in_(some)).order_by(columns.number)
        )
        for number, *row in page_rows:
            page = PageRow(*row)
            writer.insert(
                number, page, rows.read_page(page.path, page.title, page.url, page.sections)
            )


def _copy_vectors(connection: sa.Connection, writer: FileWriter) -> None:
    columns = vectors_table.c
    ours = writer.stored_vectors()
    pairs = connection.execute(sa.select(columns.page, columns.model))
    theirs = {(page, model) for page, model in pairs}
    for page, model in ours - theirs:
        writer.delete_vectors(page, model)
    for model in sorted({model for _, model in theirs - ours}):
        new = sorted(page for page, other in theirs - ours if other == model)
        for some in _batches(new):
            of_model = sa.select(vectors_table).where(columns.model == model)
            for page, _, *packed in connection.execute(of_model.where(columns.page.in_(some))):
                writer.insert_vectors(page, model, Packed(*packed))


def _batches(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(numbers), shared.BATCH):
        yield numbers[start : start + shared.BATCH]


def _shared(database_url: str | None, silence: float | None = None) -> sa.Engine | None:
    """The database that holds the index, if it is shared."""
    if database_url is None:
        return None
    engine = database.open(database_url, silence)
    return engine if engine.dialect.name == "postgresql" else None


@contextmanager
def _disposed(engine: sa.Engine) -> Iterator[None]:
    try:
        yield
    finally:
        engine.dispose()
