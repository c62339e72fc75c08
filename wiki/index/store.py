"""The search index file: its schema, and checks for damage.

One SQLite file in WAL mode, so that readers and the single writer never block each other. Except
for its stamp and groups, a row of `page` never changes: a page that is replaced gets a new number,
and no number is reused. So anything cached by a page's number is valid as long as the number
exists.
"""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from core.errors import AskdocsError
from wiki.index import passage_words, postings, vectors

# Increment it when the format changes; a writer replaces an index of an older version.
VERSION = 11
# Marks the file as our index, rather than another SQLite database.
APPLICATION = 0x61736B64  # "askd"

SCHEMA = (
    """
CREATE TABLE state (
    generation INTEGER NOT NULL, copy_of TEXT, serving TEXT, embedders TEXT NOT NULL
);
INSERT INTO state VALUES (0, NULL, NULL, '{}');
CREATE TABLE source (
    name TEXT PRIMARY KEY, spec TEXT NOT NULL, synced TEXT, problems TEXT NOT NULL
);
CREATE TABLE page (
    number INTEGER PRIMARY KEY AUTOINCREMENT, source TEXT NOT NULL, path TEXT NOT NULL,
    stamp TEXT NOT NULL, title TEXT NOT NULL, url TEXT NOT NULL, digest INTEGER NOT NULL,
    sections BLOB NOT NULL, groups TEXT, UNIQUE (source, path)
);
CREATE INDEX page_url ON page (url);
CREATE INDEX page_path ON page (path);
"""
    + vectors.SCHEMA
    + postings.SCHEMA
    + passage_words.SCHEMA
)
# Columns in the order that `rows` reads.
PAGE = "SELECT path, title, url, sections FROM page WHERE number = ?"
VECTORS = "SELECT page, scales, matrix FROM vectors WHERE model = ? AND page IN"
SOURCES = "SELECT name, spec, synced, problems FROM source ORDER BY name"
EMBEDDERS = "SELECT serving, embedders FROM state"
# The source of approved answers. The path of such a page is that of the page it cites, then
# "#answer-" and the answer's ID.
APPROVED = "answers"
CITING = (
    "SELECT answer.number, cited.number FROM page AS answer LEFT JOIN page AS cited"
    " ON cited.path = substr(answer.path, 1, instr(answer.path, '#answer-') - 1)"
    " AND cited.source != answer.source WHERE answer.source = 'answers'"
)
"""The pages of approved answers, each with every page that has the cited path, or NULL."""


class NoIndex(AskdocsError):
    """There is no readable index: it is missing, outdated or damaged."""


def connect(file: Path, *, write: bool = False) -> sqlite3.Connection:
    """A connection without the driver's implicit transactions. Raises sqlite3.Error."""
    # A URI, so that "#" or "?" in the path must be escaped.
    uri = f"{file.absolute().as_uri()}?mode={'rwc' if write else 'ro'}"
    return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=10)


def check(db: sqlite3.Connection, file: Path) -> None:
    """Raises NoIndex unless this is an index of this version; sqlite3.Error if it is not an SQLite
    file."""
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if (application, version) == (APPLICATION, VERSION):
        return
    if application == APPLICATION and version > VERSION:
        raise NoIndex(
            f"{file}: the search index was made by a newer askdocs (its version is {version}): "
            "upgrade askdocs, or name another file"
        )
    if application == APPLICATION or is_first_version(db):
        raise NoIndex(
            f"{file}: the search index was made by an older askdocs: run `askdocs docs sync`, which"
            " rebuilds it"
        )
    if is_empty(db):
        raise NoIndex(f"{file}: the search index is empty: run `askdocs docs sync`")
    raise NoIndex(f"{file}: this database is not a search index of askdocs: name another file")


def is_empty(db: sqlite3.Connection) -> bool:
    return db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is None


def is_older(db: sqlite3.Connection) -> bool:
    """Whether the file has the tables of an older version."""
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    return bool(application == APPLICATION and version < VERSION)


def older_sources(file: Path) -> dict[str, dict[str, Any]]:
    """The wikis of an index of an older version, which the next sync rebuilds, with their
    specifications.

    Raises:
        AskdocsError: the file cannot be read, or a sync would not replace it.
    """
    if not file.exists():
        return {}
    try:
        with closing(connect(file)) as db:
            if is_older(db):
                rows = db.execute("SELECT name, spec FROM source ORDER BY name").fetchall()
                return {name: json.loads(spec) for name, spec in rows}
            if not (is_empty(db) or is_first_version(db)):
                check(db, file)
    except sqlite3.Error as error:
        raise explained(error, file) from None
    return {}


def is_first_version(db: sqlite3.Connection) -> bool:
    """Version 1 wrote no version number into the header."""
    tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    return {"about", "page", "section", "page_words"} <= tables


def explained(error: sqlite3.Error, file: Path) -> AskdocsError:
    """Explains a failure of the file and how to fix it."""
    text = str(error)
    if not file.exists():
        return NoIndex(f"{file}: no search index: run `askdocs docs sync`")
    if "not a database" in text:
        return NoIndex(
            f"{file}: this file is not a search index of askdocs: name another file; if it was one,"
            " restore a backup with `askdocs restore FILE --only index`"
        )
    if "malformed" in text or "no such table" in text:
        return NoIndex(
            f"{file}: the search index is damaged ({text}): restore a backup with"
            " `askdocs restore FILE --only index`; without one, move it away, with"
            f" {file.name}-wal and {file.name}-shm, and name each wiki again:"
            " `askdocs docs sync SOURCE`"
        )
    if "full" in text or "I/O" in text:
        return AskdocsError(
            f"{file}: the search index cannot be written ({text}): free disk space, or choose"
            " another --home; its content is unchanged"
        )
    return AskdocsError(
        f"{file}: the search index cannot be used ({text}): check its permissions, or choose "
        "another --home"
    )
