"""A local copy of a shared index, and the routing of writes to either of them.

With `ASKDOCS_DATABASE_URL=postgresql://...` pages are written to PostgreSQL, and every gateway
follows: it looks once a second whether something has changed there, and brings its file up to date
in one transaction. All that a search needs is in the file.
"""

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import sqlalchemy as sa

from gateway.core.errors import AskdocsError
from gateway.core.tasks import Tasks
from gateway.knowledge.search import rows, shared, store
from gateway.knowledge.search.rows import PageRow
from gateway.knowledge.search.shared import (
    answer_table,
    page_table,
    source_table,
    state_table,
    vectors_table,
)
from gateway.knowledge.search.vectors import Packed
from gateway.knowledge.search.writer import PATIENCE, FileWriter, Writer, writing
from gateway.storage import database

log = logging.getLogger("askdocs.search")

# Seconds between two looks.
INTERVAL = 1.0
# Seconds for which the database may say nothing while it is followed.
SILENCE = 60.0


@contextmanager
def open_writing(
    file: Path,
    database_url: str | None,
    *,
    waiting: Callable[[int], None] | None = None,
    patience: float = PATIENCE,
) -> Iterator[Writer]:
    """Write to the index of a gateway, wherever it is.

    Args:
        file: its index file.
        database_url: of the gateway; PostgreSQL holds the index, too.
        waiting, patience: as `gateway.knowledge.search.writer.writing`.

    Raises:
        IndexBusy: another writer did not come to an end.
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
    """Bring the file up to date with the shared index; without one there is nothing to do.

    Raises AskdocsError: as `pull`.
    """
    engine = _shared(database_url)
    if engine is not None:
        with _disposed(engine):
            database.migrate(engine)
            pull(engine, file)


@contextmanager
def following(file: Path, database_url: str | None, tasks: Tasks) -> Iterator[None]:
    """Keep the file up to date with the shared index, if there is one, until the block is left.

    While the database is away the file stays as it is, and searches go on.
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
                log.warning("%s; the search index stays as it is until then", error)
            failed = True
        else:
            failed = False


def pull(engine: sa.Engine, file: Path) -> bool:
    """Make the file a copy of the shared index; is there anything new in it?

    Raises:
        Unreachable: the database does not answer.
        AskdocsError: the file cannot be written.
    """
    with database.reading(engine) as connection:
        token = connection.execute(sa.select(state_table.c.token)).scalar_one()
    if _copy_of(file) == token:
        return False
    # Several gateways of one machine may share the file: the first of them does it.
    with writing(file) as writer:
        if writer.copy_of() == token:
            return False
        with database.reading(engine) as connection:
            # One state of the database for all of what is read.
            connection.execute(sa.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
            token = connection.execute(sa.select(state_table.c.token)).scalar_one()
            _copy_sources(connection, writer)
            _copy_pages(connection, writer)
            _copy_vectors(connection, writer)
            _copy_answers(connection, writer)
            writer.copy_embedders(shared.read_embedders(connection))
            writer.put_memory(connection.execute(sa.select(state_table.c.memory)).scalar_one())
        writer.finish(copy_of=token)
    return True


def _copy_of(file: Path) -> str | None:
    """The state that the file is a copy of; None where it is none, or there is no file."""
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
        # The number alone would do, unless somebody put an older state of the database back.
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


def _copy_answers(connection: sa.Connection, writer: FileWriter) -> None:
    columns = answer_table.c
    theirs = {
        number: (answer_id, digest)
        for number, answer_id, digest in connection.execute(
            sa.select(columns.number, columns.id, columns.digest)
        )
    }
    ours = writer.stored_answers()
    writer.remove_answers(
        answer_id for n, (answer_id, digest) in ours.items() if theirs.get(n) != (answer_id, digest)
    )
    new = sorted(number for number, stored in theirs.items() if ours.get(number) != stored)
    for some in _batches(new):
        for number, *row in connection.execute(
            sa.select(answer_table).where(columns.number.in_(some)).order_by(columns.number)
        ):
            writer.insert_answer(number, tuple(row))


def _batches(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(numbers), shared.BATCH):
        yield numbers[start : start + shared.BATCH]


def _shared(database_url: str | None, silence: float | None = None) -> sa.Engine | None:
    """The database that holds the index, if it is not in the file alone."""
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
