"""Database rows of pages and sources, the same in SQLite and in PostgreSQL."""

import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from core.control_characters import CONTROLS, without
from wiki.pages.page import Page, Section
from wiki.rights import Groups, dump


@dataclass(frozen=True)
class StoredSource:
    """A wiki whose pages are in the index."""

    name: str
    spec: Mapping[str, Any]
    """The specification to sync the source again."""
    synced: datetime | None
    problems: tuple[str, ...]
    """Errors of the last sync."""


class PageRow(NamedTuple):
    """A page; its columns in order, after its number."""

    source: str
    path: str
    stamp: str
    title: str
    url: str
    digest: int
    """A signed 64-bit digest of the text: everything except stamp and groups."""
    sections: bytes
    groups: str | None
    """The groups that may read it, in the format of `wiki.rights.dump`."""


def page_row(source: str, page: Page, stamp: str, groups: Groups | None = None) -> PageRow:
    rows = [
        [s.heading, s.anchor, s.path, s.text, *([s.terms] if s.terms else [])]
        for s in page.sections
    ]
    sections = json.dumps(rows).encode()
    whole = json.dumps([source, page.path, page.title, page.url]).encode() + sections
    # Hash the input of the compression, as the output differs between versions of zlib.
    return PageRow(
        source=source,
        path=page.path,
        stamp=stamp,
        title=page.title,
        url=page.url,
        digest=_digest(whole),
        sections=zlib.compress(sections, 1),
        groups=dump(groups),
    )


def read_page(path: str, title: str, url: str, sections: bytes) -> Page:
    rows = json.loads(zlib.decompress(sections))
    return Page(path, title, url, tuple(_section(*row) for row in rows))


def _section(
    heading: str, anchor: str, path: list[str], text: str, terms: Sequence[tuple[str, str]] = ()
) -> Section:
    return Section(heading, anchor, tuple(path), text, tuple((line, at) for line, at in terms))


def storable(page: Page) -> Page:
    """The page without control characters, and without lone surrogates and NULs, which not every
    database accepts."""
    try:
        whole = page.path + page.title + page.url + page.text
        whole.encode()
        if not CONTROLS.search(whole):
            return page
    except UnicodeEncodeError:
        pass
    return Page(
        clean(page.path),
        seen(page.title),
        clean(page.url),
        tuple(
            Section(
                seen(s.heading),
                clean(s.anchor),
                tuple(map(seen, s.path)),
                seen(s.text),
                tuple((seen(line), clean(at)) for line, at in s.terms),
            )
            for s in page.sections
        ),
    )


def clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def seen(text: str) -> str:
    """Cleans text that readers see."""
    return without(clean(text))


SourceRow = tuple[str, str, str | None, str]


def source_row(source: StoredSource) -> SourceRow:
    """The columns of a source, in order."""
    synced = source.synced.astimezone(UTC).isoformat() if source.synced else None
    return (
        clean(source.name),
        json.dumps(dict(source.spec)),
        synced,
        json.dumps(source.problems),
    )


def read_source(name: str, spec: str, synced: str | None, problems: str) -> StoredSource:
    when = datetime.fromisoformat(synced) if synced else None
    return StoredSource(name, json.loads(spec), when, tuple(json.loads(problems)))


@dataclass(frozen=True)
class Embedders:
    """The embedding models of an index."""

    serving: str | None
    """The model whose vectors are in use; None if there are no vectors yet."""
    stored: Mapping[str, Mapping[str, Any]]
    """By model: its description, and its fit."""


def read_embedders(serving: str | None, stored: str) -> Embedders:
    return Embedders(serving, json.loads(stored))


def _digest(content: bytes) -> int:
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "little", signed=True)
