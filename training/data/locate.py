"""Finds the wiki's page of each row by its context: triples of question, answer and text suffice.

A context belongs to the page that has most of its runs of four words. Markup, line breaks and
capital letters make no difference.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from eval.questions.rows import Row

RUN = 4
"""Words of a run: shorter ones are on many pages."""
LEAST = 0.5
"""Minimum share of a context's runs: it may quote more than the page has kept since."""
MOST = 3
"""Pages with equally much of it, of which all are kept; text of more pages is boilerplate."""

Outcome = Literal["has a page", "located", "no context", "not found", "on many pages"]
_WORD = re.compile(r"\w+")
# Markup that would come between two words: addresses of links and tags.
_MARKUP = re.compile(r"\]\([^()\s]*\)|<[^<>\n]{1,200}>")


class Located(NamedTuple):
    """Where a row's context is."""

    outcome: Outcome
    pages: tuple[str, ...] = ()


def locate(rows: Sequence[Row], pages: Iterable[tuple[str, str]]) -> list[Located]:
    """Locate each row's context.

    Args:
        pages: path and text of each page.
    """
    runs = {place: _runs(row.context) for place, row in enumerate(rows) if not row.pages}
    wanted: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for place, of_row in runs.items():
        for run in of_row:
            wanted[run].append(place)
    shares: dict[int, list[tuple[float, str]]] = defaultdict(list)
    for path, text in pages:
        hits: Counter[int] = Counter()
        for run in _runs(text) & wanted.keys():
            hits.update(wanted[run])
        for place, count in hits.items():
            shares[place].append((count / len(runs[place]), path))
    return [_located(row, runs.get(place), shares[place]) for place, row in enumerate(rows)]


def written(fields: Mapping[str, Any], found: Located) -> dict[str, Any]:
    """The row with its pages; its context stays."""
    if found.outcome != "located":
        return dict(fields)
    first, *others = found.pages
    return {**fields, "context_doc": first, **({"context_docs": others} if others else {})}


def _located(
    row: Row, runs: set[tuple[str, ...]] | None, shares: list[tuple[float, str]]
) -> Located:
    if runs is None:
        return Located("has a page", row.pages)
    if not runs:
        return Located("no context")
    best = max((share for share, _ in shares), default=0.0)
    if best < LEAST:
        return Located("not found")
    same = sorted(path for share, path in shares if share == best)
    return Located("located", tuple(same)) if len(same) <= MOST else Located("on many pages")


def _runs(text: str) -> set[tuple[str, ...]]:
    words = _WORD.findall(_MARKUP.sub(" ", text).lower())
    return {tuple(words[at : at + RUN]) for at in range(len(words) - RUN + 1)}
