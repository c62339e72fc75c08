"""Pages that people have excluded from answers."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from wiki.index.rows import StoredSource
from wiki.index.writer import Writer

KEY = "excluded"


def excluded(spec: Mapping[str, Any]) -> frozenset[str]:
    """The excluded paths, from the source's specification in the index."""
    return frozenset(spec.get(KEY, ()))


def exclude(writer: Writer, source: StoredSource, path: str) -> None:
    """Exclude a page; no sync adds it again."""
    writer.remove(source.name, path)
    _put(writer, source, excluded(source.spec) | {path})


def restore(writer: Writer, source: StoredSource, path: str) -> None:
    """Let the next sync add a page again."""
    _put(writer, source, excluded(source.spec) - {path})


def _put(writer: Writer, source: StoredSource, paths: frozenset[str]) -> None:
    writer.put_source(replace(source, spec={**source.spec, KEY: sorted(paths)}))
