"""Writes to the search index: one writer at a time, in transactions."""

import fcntl
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Protocol

from core.errors import AskdocsError
from wiki import rights
from wiki.index import passage_words, rows, store
from wiki.index.postings import Postings
from wiki.index.reused_vectors import Carried
from wiki.index.rows import Embedders, PageRow, StoredSource
from wiki.index.vectors import Floats, Packed, pack
from wiki.pages.page import Page
from wiki.rights import Groups

# Seconds that a second writer waits. A sync of 100,000 pages takes several minutes.
PATIENCE = 600.0


class IndexBusy(AskdocsError):
    """Another writer is active."""


class Writer(Protocol):
    """A write transaction: all changes become visible at once, when the block exits."""

    def sources(self) -> list[StoredSource]: ...

    def put_source(self, source: StoredSource) -> None:
        """Add a source, or replace the one with that name."""
        ...

    def remove_source(self, name: str) -> None:
        """Remove a source with all its pages."""
        ...

    def known(self, source: str) -> dict[str, str]:
        """The stamp of each page of a source, by path."""
        ...

    def groups(self, source: str) -> dict[str, Groups | None]:
        """The groups that may read each page of a source, by path."""
        ...

    def put(self, source: str, page: Page, stamp: str, groups: Groups | None = None) -> None:
        """Add a page, or replace the one with that path. An unchanged page keeps its number. A page
        with the same text as before, or as another page removed earlier in the same block, reuses
        its vectors."""
        ...

    def regroup(self, source: str, path: str, groups: Groups | None, stamp: str) -> None:
        """Change the groups of an existing page whose text is unchanged."""
        ...

    def remove(self, source: str, path: str) -> None: ...

    def missing(self, model: str) -> list[int]:
        """The numbers of the pages without vectors of that model."""
        ...

    def page(self, number: int) -> Page | None: ...

    def put_vectors(self, number: int, matrix: Floats, model: str) -> None:
        """Store the vectors [n, d] of a page's passages, replacing those of the same model. Ignored
        if the page is gone. The very first model is put in use at once."""
        ...

    def embedders(self) -> Embedders: ...

    def put_embedder(self, model: str, stored: Mapping[str, Any]) -> None:
        """Store a model's description, see `wiki.search.models`."""
        ...

    def serve(self, model: str) -> None:
        """Use this model's vectors for questions from now on; delete those of others."""
        ...


class FileWriter:
    """Writes to an index file; created by `writing`."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._postings = Postings(db)
        self._carried = Carried()
        (now,) = db.execute("SELECT generation FROM state").fetchone()
        self._generation = now + 1
        self._changed = False

    def sources(self) -> list[StoredSource]:
        return [rows.read_source(*row) for row in self._db.execute(store.SOURCES)]

    def put_source(self, source: StoredSource) -> None:
        row = rows.source_row(source)
        self._db.execute("INSERT OR REPLACE INTO source VALUES (?, ?, ?, ?)", row)

    def remove_source(self, name: str) -> None:
        for path in self.known(name):
            self.remove(name, path)
        self.forget_source(name)

    def forget_source(self, name: str) -> None:
        """Delete a source, but keep its pages."""
        self._db.execute("DELETE FROM source WHERE name = ?", (name,))

    def known(self, source: str) -> dict[str, str]:
        cursor = self._db.execute("SELECT path, stamp FROM page WHERE source = ?", (source,))
        return dict(cursor.fetchall())

    def groups(self, source: str) -> dict[str, Groups | None]:
        cursor = self._db.execute("SELECT path, groups FROM page WHERE source = ?", (source,))
        return {path: rights.load(groups) for path, groups in cursor}

    def put(self, source: str, page: Page, stamp: str, groups: Groups | None = None) -> None:
        page = rows.storable(page)
        row = rows.page_row(source, page, stamp, groups)
        there = self._db.execute(
            "SELECT number, digest FROM page WHERE source = ? AND path = ?", (source, row.path)
        ).fetchone()
        if there and there[1] == row.digest:
            self.mark(there[0], stamp, row.groups)
            return
        if there:
            self._take_out(there[0])
        self._db.execute("INSERT OR IGNORE INTO source VALUES (?, '{}', NULL, '[]')", (source,))
        number = self.insert(None, row, page)
        for model, packed in self._carried.of(page).items():
            self.insert_vectors(number, model, packed)

    def insert(self, number: int | None, row: PageRow, page: Page) -> int:
        """Add a new page; its number is the next one if None is given."""
        added = self._db.execute(
            "INSERT INTO page VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (number, *row)
        ).lastrowid
        assert added is not None
        self._postings.add(added, page)
        passage_words.add(self._db, added, page)
        self._changed = True
        return added

    def regroup(self, source: str, path: str, groups: Groups | None, stamp: str) -> None:
        row = self._db.execute(
            "SELECT number FROM page WHERE source = ? AND path = ?", (source, path)
        ).fetchone()
        if row:
            self.mark(row[0], stamp, rights.dump(groups))

    def mark(self, number: int, stamp: str, groups: str | None) -> None:
        """Change these fields of a page, which do not change its number."""
        self._db.execute(
            "UPDATE page SET stamp = ? WHERE number = ? AND stamp != ?", (stamp, number, stamp)
        )
        regrouped = self._db.execute(
            "UPDATE page SET groups = ? WHERE number = ? AND groups IS NOT ?",
            (groups, number, groups),
        )
        self._changed = self._changed or regrouped.rowcount > 0

    def remove(self, source: str, path: str) -> None:
        row = self._db.execute(
            "SELECT number FROM page WHERE source = ? AND path = ?", (source, path)
        ).fetchone()
        if row:
            self._take_out(row[0])

    def _take_out(self, number: int) -> None:
        """Delete a page, and keep its vectors for others."""
        page = self.page(number)
        vector_rows = self._db.execute(
            "SELECT model, scales, matrix FROM vectors WHERE page = ?", (number,)
        ).fetchall()
        if page and vector_rows:
            self._carried.leave(page, {model: Packed(*packed) for model, *packed in vector_rows})
        self.delete(number)

    def delete(self, number: int) -> None:
        """Delete an existing page."""
        page = self.page(number)
        assert page is not None
        self._postings.remove(number, page)
        passage_words.remove(self._db, number)
        self._db.execute("DELETE FROM page WHERE number = ?", (number,))
        self._db.execute("DELETE FROM vectors WHERE page = ?", (number,))
        self._db.execute("DELETE FROM signs WHERE page = ?", (number,))
        self._changed = True

    def missing(self, model: str) -> list[int]:
        cursor = self._db.execute(
            "SELECT number FROM page WHERE NOT EXISTS"
            " (SELECT 1 FROM vectors WHERE page = number AND model = ?) ORDER BY number",
            (model,),
        )
        return [number for (number,) in cursor]

    def page(self, number: int) -> Page | None:
        row = self._db.execute(store.PAGE, (number,)).fetchone()
        return rows.read_page(*row) if row else None

    def put_vectors(self, number: int, matrix: Floats, model: str) -> None:
        if self._db.execute("SELECT 1 FROM page WHERE number = ?", (number,)).fetchone():
            self.insert_vectors(number, model, pack(matrix))
            self._db.execute("UPDATE state SET serving = ? WHERE serving IS NULL", (model,))

    def insert_vectors(self, number: int, model: str, packed: Packed) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO vectors VALUES (?, ?, ?, ?, ?)",
            (number, model, self._generation, *packed),
        )
        self._db.execute(
            "INSERT OR REPLACE INTO signs VALUES (?, ?, ?, ?, ?)",
            (number, model, self._generation, packed.chunks, packed.signs),
        )
        self._changed = True

    def embedders(self) -> Embedders:
        return rows.read_embedders(*self._db.execute(store.EMBEDDERS).fetchone())

    def put_embedder(self, model: str, stored: Mapping[str, Any]) -> None:
        there = self.embedders()
        if there.stored.get(model) != stored:
            self._put_embedders(there.serving, {**there.stored, model: stored})

    def serve(self, model: str) -> None:
        there = self.embedders()
        others = self._db.execute("SELECT 1 FROM signs WHERE model != ? LIMIT 1", (model,))
        if there.serving == model and not there.stored.keys() - {model} and not others.fetchone():
            return
        self._db.execute("DELETE FROM vectors WHERE model != ?", (model,))
        self._db.execute("DELETE FROM signs WHERE model != ?", (model,))
        self._put_embedders(model, {k: v for k, v in there.stored.items() if k == model})

    def copy_embedders(self, theirs: Embedders) -> None:
        """Copy the embedders of a shared index."""
        if self.embedders() != theirs:
            self._put_embedders(theirs.serving, theirs.stored)

    def _put_embedders(self, serving: str | None, stored: Mapping[str, Any]) -> None:
        self._db.execute(
            "UPDATE state SET serving = ?, embedders = ?", (serving, json.dumps(dict(stored)))
        )
        self._changed = True

    def stored(self) -> dict[int, tuple[int, str, str | None]]:
        """Digest, stamp and groups of each page, by number."""
        cursor = self._db.execute("SELECT number, digest, stamp, groups FROM page")
        return {number: (digest, stamp, groups) for number, digest, stamp, groups in cursor}

    def stored_vectors(self) -> set[tuple[int, str]]:
        """The pages with vectors, by number and model."""
        return set(self._db.execute("SELECT page, model FROM vectors").fetchall())

    def delete_vectors(self, number: int, model: str) -> None:
        self._db.execute("DELETE FROM vectors WHERE page = ? AND model = ?", (number, model))
        self._db.execute("DELETE FROM signs WHERE page = ? AND model = ?", (number, model))
        self._changed = True

    def copy_of(self) -> str | None:
        """The state of a shared index of which the file is a copy."""
        (state,) = self._db.execute("SELECT copy_of FROM state").fetchone()
        return None if state is None else str(state)

    def finish(self, copy_of: str | None = None) -> None:
        """Write data still in memory; the last step before the commit.

        Args:
            copy_of: the state of a shared index that the file is now a copy of, if it is one.
        """
        for number, cited in self._db.execute(store.CITING).fetchall():
            if cited is None:  # an approved answer goes with the page that it cites
                self.delete(number)
        self._postings.store()
        if self._changed or copy_of:
            self._db.execute(
                "UPDATE state SET generation = ?, copy_of = ?",
                (self._generation - (not self._changed), copy_of),
            )
        self._changed = False


@contextmanager
def writing(
    file: Path,
    *,
    waiting: Callable[[int], None] | None = None,
    patience: float = PATIENCE,
) -> Iterator[FileWriter]:
    """Write to the index: all changes of the block at once, or none if it raises.

    Args:
        file: created if missing; an index of an older version is replaced, but the names of its
            sources are kept.
        waiting: receives, once, the process ID of another writer that must be waited for.
        patience: seconds to wait for it.

    Raises:
        IndexBusy: the other writer did not finish.
        AskdocsError: the file is not an index, damaged, or cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = file.with_name(f"{file.name}.lock").open("a+")
        if not file.exists():  # readable by its owner only: a wiki may be confidential
            os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))
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
                yield writer
                writer.finish()
                db.execute("COMMIT")
                # Readers of an older state prevent the log from being emptied; the next writer will
                # do it.
                db.execute("PRAGMA busy_timeout = 0")
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            finally:
                db.close()  # rolls back uncommitted changes
        except sqlite3.Error as error:
            raise store.explained(error, file) from error


def _wait_for_turn(
    file: Path, lock: IO[str], waiting: Callable[[int], None] | None, patience: float
) -> None:
    """Wait until this process holds the lock, which ends with the process."""
    deadline = time.monotonic() + patience
    announced = False
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            held_by = lock.read().strip()
            if time.monotonic() >= deadline:
                raise IndexBusy(
                    f"{file}: process {held_by or '?'} is writing to the search index: wait until "
                    "it is done, or stop it"
                ) from None
            if waiting and not announced and held_by:
                announced = True
                waiting(int(held_by))
            time.sleep(0.05)
        else:
            lock.seek(0)
            lock.truncate()
            lock.write(str(os.getpid()))
            lock.flush()
            return


def _make(db: sqlite3.Connection, file: Path) -> None:
    """Create the tables, if they are missing or of an older version."""
    try:
        store.check(db, file)
    except store.NoIndex:
        older = store.is_older(db)
        if not (older or store.is_empty(db) or store.is_first_version(db)):
            raise
    else:
        return
    sources = db.execute("SELECT name, spec FROM source").fetchall() if older else []
    for (name,) in db.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        " ORDER BY sql LIKE 'CREATE VIRTUAL%' DESC"
    ).fetchall():
        with suppress(sqlite3.OperationalError):  # dropped together with a virtual table
            db.execute(f'DROP TABLE "{name}"')
    for statement in store.SCHEMA.strip().split(";\n"):
        db.execute(statement)
    db.execute(f"PRAGMA application_id = {store.APPLICATION}")
    db.execute(f"PRAGMA user_version = {store.VERSION}")
    # Not 0: connections to a previous file must see a new generation, too.
    db.execute("UPDATE state SET generation = ?", (time.time_ns() // 1_000_000,))
    db.executemany("INSERT INTO source VALUES (?, ?, NULL, '[]')", sources)
