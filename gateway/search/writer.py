"""Writing to the search index: one writer at a time, and all of a block or nothing of it."""

import fcntl
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np

from gateway.errors import AskdocsError
from gateway.search import store
from gateway.search.postings import Postings
from gateway.search.vectors import Floats, pack
from gateway.wiki.page import Page

# Seconds that a second writer waits. A sync of 100,000 pages takes some minutes.
PATIENCE = 600.0


@dataclass(frozen=True)
class StoredSource:
    """A wiki of which the index has the pages."""

    name: str
    spec: Mapping[str, Any]
    """What the source is made from when it is synced again."""
    synced: datetime | None
    problems: tuple[str, ...]
    """What the last sync could not read."""


@dataclass(frozen=True)
class Answer:
    """A question that was answered, and the pages that the answer stands on."""

    id: str
    question: str
    paths: tuple[str, ...]
    model: str | None = None
    """The embedding model that made `vector`."""
    vector: Floats | None = None
    """[384]"""


class Busy(AskdocsError):
    """Another writer is at work."""


class Writer(Protocol):
    """What can be written. All of it becomes visible at once, when the block is left."""

    def sources(self) -> list[StoredSource]: ...

    def put_source(self, source: StoredSource) -> None:
        """New, or instead of the one of that name."""
        ...

    def remove_source(self, name: str) -> None:
        """With all its pages."""
        ...

    def known(self, source: str) -> dict[str, str]:
        """The stamp of each page of a source, by path."""
        ...

    def put(self, source: str, page: Page, stamp: str) -> None:
        """New, or instead of the page of that path. A page whose text is as it was keeps its
        number and its vectors."""
        ...

    def remove(self, source: str, path: str) -> None: ...

    def missing(self, model: str) -> list[int]:
        """The numbers of the pages that have no vectors of that model."""
        ...

    def page(self, number: int) -> Page | None: ...

    def put_vectors(self, number: int, matrix: Floats, model: str) -> None:
        """The vectors [n, 384] of the chunks of a page, in place of all that it had. What is
        given for a page that is gone is dropped."""
        ...

    def answers(self) -> list[Answer]: ...

    def put_answers(self, answers: Iterable[Answer]) -> None:
        """New, or instead of those of the same ids."""
        ...

    def remove_answers(self, ids: Iterable[str]) -> None: ...


class FileWriter:
    """Writes to an index file; made by `writing`."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._postings = Postings(db)
        self.changed = False

    def sources(self) -> list[StoredSource]:
        return read_sources(self._db)

    def put_source(self, source: StoredSource) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO source VALUES (?, ?, ?, ?)",
            (
                source.name,
                json.dumps(dict(source.spec)),
                source.synced and source.synced.astimezone(UTC).isoformat(),
                json.dumps(source.problems),
            ),
        )

    def remove_source(self, name: str) -> None:
        for path in self.known(name):
            self.remove(name, path)
        self._db.execute("DELETE FROM source WHERE name = ?", (name,))

    def known(self, source: str) -> dict[str, str]:
        rows = self._db.execute("SELECT path, stamp FROM page WHERE source = ?", (source,))
        return dict(rows.fetchall())

    def put(self, source: str, page: Page, stamp: str) -> None:
        page = store.storable(page)
        sections = store.encode(page)
        row = self._db.execute(
            "SELECT title, url, sections FROM page WHERE source = ? AND path = ?",
            (source, page.path),
        ).fetchone()
        if row == (page.title, page.url, sections):
            self._db.execute(
                "UPDATE page SET stamp = ? WHERE source = ? AND path = ? AND stamp != ?",
                (stamp, source, page.path, stamp),
            )
            return
        if row:
            self.remove(source, page.path)
        self._db.execute(
            "INSERT OR IGNORE INTO source VALUES (?, '{}', NULL, '[]')",
            (source,),
        )
        self.insert(None, source, page, stamp, sections)

    def insert(
        self, number: int | None, source: str, page: Page, stamp: str, sections: bytes
    ) -> None:
        """A page that is not there yet; its number is the next one if it is None."""
        added = self._db.execute(
            "INSERT INTO page VALUES (?, ?, ?, ?, ?, ?, ?)",
            (number, source, page.path, stamp, page.title, page.url, sections),
        )
        assert added.lastrowid is not None
        self._postings.add(added.lastrowid, page)
        self.changed = True

    def remove(self, source: str, path: str) -> None:
        row = self._db.execute(
            "SELECT number FROM page WHERE source = ? AND path = ?", (source, path)
        ).fetchone()
        if row:
            self.delete(row[0])

    def delete(self, number: int) -> None:
        """A page that is there."""
        page = self.page(number)
        assert page is not None
        self._postings.remove(number, page)
        self._db.execute("DELETE FROM page WHERE number = ?", (number,))
        self._db.execute("DELETE FROM vectors WHERE page = ?", (number,))
        self.changed = True

    def finish(self) -> None:
        """Write down what is still held in memory."""
        self._postings.store()

    def missing(self, model: str) -> list[int]:
        rows = self._db.execute(
            "SELECT number FROM page WHERE NOT EXISTS"
            " (SELECT 1 FROM vectors WHERE page = number AND model = ?) ORDER BY number",
            (model,),
        )
        return [number for (number,) in rows]

    def page(self, number: int) -> Page | None:
        return read_page(self._db, number)

    def put_vectors(self, number: int, matrix: Floats, model: str) -> None:
        if self._db.execute("SELECT 1 FROM page WHERE number = ?", (number,)).fetchone():
            self._db.execute(
                "INSERT OR REPLACE INTO vectors VALUES (?, ?, ?, ?, ?)",
                (number, model, *pack(matrix)),
            )
            self.changed = True

    def answers(self) -> list[Answer]:
        return read_answers(self._db)

    def put_answers(self, answers: Iterable[Answer]) -> None:
        for answer in answers:
            self._db.execute(
                "INSERT OR REPLACE INTO answer (id, question, paths, model, vector)"
                " VALUES (?, ?, ?, ?, ?)",
                answer_row(answer),
            )
            self.changed = True

    def remove_answers(self, ids: Iterable[str]) -> None:
        for one in ids:
            gone = self._db.execute("DELETE FROM answer WHERE id = ?", (one,))
            self.changed = self.changed or gone.rowcount > 0


def read_page(db: sqlite3.Connection, number: int) -> Page | None:
    row = db.execute(
        "SELECT path, title, url, sections FROM page WHERE number = ?", (number,)
    ).fetchone()
    return store.decode(*row) if row else None


def read_sources(db: sqlite3.Connection) -> list[StoredSource]:
    rows = db.execute("SELECT name, spec, synced, problems FROM source ORDER BY name")
    return [
        StoredSource(
            name,
            json.loads(spec),
            datetime.fromisoformat(synced) if synced else None,
            tuple(json.loads(problems)),
        )
        for name, spec, synced, problems in rows
    ]


def answer_row(answer: Answer) -> tuple[str, str, str, str | None, bytes | None]:
    vector = answer.vector
    return (
        answer.id,
        answer.question.encode("utf-8", "replace").decode(),
        json.dumps(answer.paths),
        answer.model,
        None if vector is None else np.asarray(vector, np.float32).tobytes(),
    )


def read_answers(db: sqlite3.Connection) -> list[Answer]:
    rows = db.execute("SELECT id, question, paths, model, vector FROM answer ORDER BY number")
    return [
        Answer(
            one, question, tuple(json.loads(paths)), model, vector and np.frombuffer(vector, "<f4")
        )
        for one, question, paths, model, vector in rows
    ]


@contextmanager
def writing(
    file: Path,
    *,
    waiting: Callable[[int], None] | None = None,
    patience: float = PATIENCE,
) -> Iterator[FileWriter]:
    """Write to the index: everything of the block at once, or nothing if it raises.

    Args:
        file: made when missing; an index of an older version is replaced, its answers stay.
        waiting: is told, once, the process id of another writer that must be waited for.
        patience: seconds to wait for it.

    Raises:
        Busy: the other writer did not come to an end.
        AskdocsError: the file is something else, damaged, or cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = file.with_name(f"{file.name}.lock").open("a+")
    except OSError as error:
        raise AskdocsError(
            f"{file}: the search index cannot be written ({error.strerror}): choose another --home"
        ) from None
    with lock:
        _wait_for_turn(file, lock, waiting, patience)
        try:
            db = store.connect(file, write=True)
            try:
                db.execute("PRAGMA journal_mode = WAL")
                db.execute("BEGIN IMMEDIATE")
                _make(db, file)
                writer = FileWriter(db)
                before = db.total_changes
                yield writer
                writer.finish()
                if db.total_changes != before:
                    db.execute(
                        "UPDATE state SET revision = revision + 1, generation = generation + ?",
                        (writer.changed,),
                    )
                db.execute("COMMIT")
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            finally:
                db.close()  # which takes back what was not committed
        except sqlite3.Error as error:
            raise store.explained(error, file) from error


def _wait_for_turn(
    file: Path, lock: IO[str], waiting: Callable[[int], None] | None, patience: float
) -> None:
    """Returns when this process has the lock, which goes with the process."""
    deadline = time.monotonic() + patience
    told = False
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            held_by = lock.read().strip()
            if time.monotonic() >= deadline:
                raise Busy(
                    f"{file}: process {held_by or '?'} is writing to the search index: wait until"
                    " it is done, or end it"
                ) from None
            if waiting and not told and held_by:
                told = True
                waiting(int(held_by))
            time.sleep(0.05)
        else:
            lock.seek(0)
            lock.truncate()
            lock.write(str(os.getpid()))
            lock.flush()
            return


def _make(db: sqlite3.Connection, file: Path) -> None:
    """The tables, where they are missing or of an older version."""
    sources: list[Any] = []
    answers: list[Any] = []
    generation = 0
    try:
        store.check(db, file)
    except store.NoIndex:
        (application,) = db.execute("PRAGMA application_id").fetchone()
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if application == store.APPLICATION and version < store.VERSION:
            sources = db.execute("SELECT name, spec FROM source").fetchall()
            answers = db.execute(
                "SELECT id, question, paths, model, vector FROM answer ORDER BY number"
            ).fetchall()
            (generation,) = db.execute("SELECT generation FROM state").fetchone()
        elif not (store.is_empty(db) or store.is_first_version(db)):
            raise
    else:
        return
    for (name,) in db.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        " ORDER BY sql LIKE 'CREATE VIRTUAL%' DESC"
    ).fetchall():
        with suppress(sqlite3.OperationalError):  # a virtual table took it along
            db.execute(f'DROP TABLE "{name}"')
    for statement in store.SCHEMA.split(";\n"):
        db.execute(statement)
    db.execute(f"PRAGMA application_id = {store.APPLICATION}")
    db.execute(f"PRAGMA user_version = {store.VERSION}")
    db.execute("UPDATE state SET generation = ?", (generation + 1,))
    db.executemany("INSERT INTO source VALUES (?, ?, NULL, '[]')", sources)
    db.executemany(
        "INSERT INTO answer (id, question, paths, model, vector) VALUES (?, ?, ?, ?, ?)", answers
    )
