"""Splits questions into train, validation and test."""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from core.errors import AskdocsError, together
from eval.questions.clusters import clusters, joined
from eval.questions.rows import SPLITS, Row

# Share of the rows for validation.
SHARE = 0.1
# Pages are kept together as long as validation gets this fraction of its share.
NEAR = 0.9


@dataclass(frozen=True)
class Split:
    """The split rows, each part in file order."""

    train: list[Row]
    validation: list[Row]
    test: list[Row]
    """Rows marked as test, or clustered with a test row: a model must not see them."""


def split(file: Path, rows: Sequence[Row], random: Random) -> Split:
    """Split the rows 90/10 into train and validation.

    Clusters are never divided. A row's own `split` is kept, and its cluster follows it. The rest is
    drawn at random, separately for rows with and without pages: first, all rows about a page, and
    about pages linked to it by clusters, go to validation together while they fit, so pages with
    many rows stay in train. If validation is still more than a tenth short, clusters of those pages
    fill it up.

    Args:
        file: file name for errors.
        rows: their `pages` are paths in the wiki.
        random: draws the rows.

    Raises:
        AskdocsError: a `split` is invalid or divides a cluster (with file and lines); or train or
            validation would be empty.
    """
    groups = clusters(rows)
    _require_apart(file, rows, groups)
    chosen: dict[int, str] = {}
    for group in groups:
        if given := {row.split for row in group if row.split}:
            chosen.update(dict.fromkeys((row.line for row in group), given.pop()))
    for having in (True, False):
        stratum = [group for group in groups if any(map(page_keys, group)) == having]
        for group in _validation(stratum, chosen, random):
            chosen.update(dict.fromkeys((row.line for row in group), "validation"))
    parts = {name: [r for r in rows if chosen.get(r.line, "train") == name] for name in SPLITS}
    for name in ("train", "validation"):
        if not parts[name]:
            raise AskdocsError(
                f"{file}: its {len(rows):,} rows in {len(groups):,} clusters leave no rows for"
                f" {name}: write more questions, or give some the split {name!r}"
            )
    return Split(**parts)


def page_keys(row: Row) -> tuple[Hashable, ...]:
    """What a row is about: the pages in its prompt, or its own text."""
    return row.pages[:1] or ((("context", row.context),) if row.context else ())


def _validation(
    groups: Sequence[list[Row]], chosen: dict[int, str], random: Random
) -> Iterator[list[Row]]:
    """The free clusters that go to validation."""
    known = [row for group in groups for row in group if chosen.get(row.line) != "test"]
    wanted = round(SHARE * len(known))
    room = wanted - sum(chosen.get(row.line) == "validation" for row in known)
    free = [group for group in groups if group[0].line not in chosen]
    names = {row.line: number for number, group in enumerate(groups) for row in group}
    about = joined(known, [[names[row.line], *page_keys(row)] for row in known])
    whole = [group for group in about if not any(row.line in chosen for row in group)]
    taken: set[int] = set()
    for units, least in ((whole, 0.0), (free, (1 - NEAR) * wanted)):
        if room <= least:
            return
        for unit in random.sample(units, len(units)):
            if len(unit) <= room and unit[0].line not in taken:
                taken.update(row.line for row in unit)
                room -= len(unit)
                yield unit


def _require_apart(file: Path, rows: Sequence[Row], groups: Sequence[list[Row]]) -> None:
    problems = [
        f"{file}:{row.line}: split is {row.split!r}: write train, validation or test, or omit it"
        for row in rows
        if row.split and row.split not in SPLITS
    ]
    for group in groups:
        given = {row.split: row for row in reversed(group) if row.split in SPLITS}
        if len(given) > 1:
            first, second = sorted(given.values(), key=lambda row: row.line)[:2]
            problems.append(
                f"{file}:{first.line}: is in {first.split}, and line {second.line}, in the same "
                f"cluster or with almost the same question, in {second.split}: give them the same"
                " split"
            )
    if problems:
        raise together(problems)
