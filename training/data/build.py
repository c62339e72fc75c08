"""Builds a training dataset from a file of questions and a wiki."""

import asyncio
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from random import Random

from core.errors import AskdocsError, together
from core.settings import load
from eval.questions import rows as qa
from eval.questions.rows import SPLITS, Row
from gateway.answering.grounding.ground import Grounding
from gateway.settings import GatewaySettings
from training.data import leaks, lengths
from training.data.distractors import Distractors
from training.data.examples import Example, Examples, own_page
from training.data.mix import Mix, made, mix, mix_as_served
from training.data.split import Split, split
from training.data.tokens import Tokens
from wiki.index import index
from wiki.index.embed import Embedder
from wiki.index.index import Index
from wiki.index.missing import embed_missing
from wiki.index.view import Rights
from wiki.pages.page import Page
from wiki.rights import PUBLIC
from wiki.search.paths import Paths
from wiki.sources.source import Broken
from wiki.sources.spec import Spec, is_address
from wiki.sources.sync import Progress, sync

LENGTHS, INDEX = "lengths.png", "index.db"


@dataclass(frozen=True)
class Options:
    """Build options."""

    seed: int
    budget: int
    """Token budget for pages in a prompt."""
    refusals: float
    """Share of refusals among the examples with pages."""
    closed_book: float
    """Share of the answerable rows that become examples without pages."""
    skip_unknown: bool
    """Skip rows whose pages are all missing from the wiki?"""
    instructions: str = ""
    """The alias's description of the model's purpose, see `gateway.settings.Alias`."""
    as_served: bool = False
    """Are the pages those that the gateway finds, and do they decide the kind of example?"""
    quotes: bool = False
    """Do answers begin with quotations of their supporting sentences?"""


@dataclass(frozen=True)
class Built:
    """The built examples, and the rows that were left out."""

    options: Options
    parts: Mapping[str, list[Example]]
    """Examples by split: train, validation, and test if it has usable rows."""
    mixed: Mapping[str, Mix]
    split: Split
    skipped: list[Row]
    """Rows whose pages are not in the wiki."""
    pages: Mapping[str, Page]
    """All pages of the wiki, by path."""
    broken: Sequence[Broken]
    """Wiki files that could not be read."""
    embedded: str | None
    """Embedding model used to find distractors; None: word search only."""


def build(
    file: Path,
    wiki: Spec,
    tokens: Tokens,
    embedder: Embedder | None,
    options: Options,
    work: Path,
    progress: Progress,
) -> Built:
    """Read rows and wiki, split the rows, and make the examples. Deterministic.

    Args:
        file: see `eval.questions.rows`.
        wiki: where to read the pages.
        tokens: tokenizer of the model to train.
        embedder: finds distractors by meaning, in addition to words.
        options: see `Options`.
        work: a folder for the index.
        progress: see `Progress`.

    Raises:
        AskdocsError: the wiki or a row cannot be used (rows: with file and line).
    """
    rows = qa.read(file)
    with public(wiki, work, progress) as (opened, broken), asyncio.Runner() as runner:
        pages = {page.path: page for page in opened.pages()}
        known, skipped = _resolved(file, rows, pages, options.skip_unknown)
        divided = split(file, known, _random(options, "split"))
        if embedder:  # only now, so that errors in rows are reported at once
            place = partial(index.writing, work / INDEX)
            embed_missing(place, embedder, partial(progress, "embedding pages"))
        grounding = Grounding(opened, tokens.counts, embedder)
        parts: dict[str, list[Example]] = {}
        mixed: dict[str, Mix] = {}
        for name in SPLITS:
            chosen = getattr(divided, name)
            if name == "test" and not chosen:
                continue
            random = _random(options, name)
            mixed[name] = (
                mix_as_served(chosen, options.closed_book, random)
                if options.as_served
                else mix(chosen, options.refusals, options.closed_book, random)
            )
            examples = Examples(
                grounding,
                runner,
                pages,
                Distractors(grounding.search, list(pages.values()), random),
                tokens.count,
                options.budget,
                random,
                options.instructions,
                options.quotes,
            )
            say = partial(progress, f"making {name} examples")
            made_of_it = made(mixed[name], examples, random, say, options.as_served)
            if made_of_it:
                parts[name] = made_of_it
            elif name != "test":
                raise AskdocsError(
                    f"{file}: none of the {len(chosen):,} rows for {name} has a page or text and an"
                    " answer: add context_doc to rows, or train without pages by --closed-book 1"
                )
    return Built(
        options=options,
        parts=parts,
        mixed=mixed,
        split=divided,
        skipped=skipped,
        pages=pages,
        broken=broken,
        embedded=embedder.model if embedder else None,
    )


def wiki_of(docs: str, settings: GatewaySettings) -> Spec:
    """The wiki in a folder, read as the gateway reads it, or at an address."""
    if is_address(docs):
        return Spec.named(docs, None, "")
    return Spec.named(docs, settings.docs_kind, settings.site_url)


@contextmanager
def public(wiki: Spec, work: Path, progress: Progress) -> Iterator[tuple[Index, Sequence[Broken]]]:
    """Index a wiki in `work`; yield its public pages and its unreadable files.

    Only public pages, because a model may tell anybody what it has learned.
    """
    synced = sync(
        wiki.open(), partial(index.writing, work / INDEX), spec=wiki.stored, progress=progress
    )
    with closing(Index(work / INDEX)) as whole:
        yield Rights(whole, load(GatewaySettings).rules).seen_by(PUBLIC), synced.broken


def write(built: Built, folder: Path) -> dict[str, str]:
    """Write a JSON Lines file per split, a chart of the lengths, and the hashes of the trained
    rows.

    Returns the SHA-256 of each file by file name.
    """
    everything = [example for examples in built.parts.values() for example in examples]
    for name, examples in built.parts.items():
        lines = [json.dumps(example.record(), ensure_ascii=False) + "\n" for example in examples]
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    prompts = [example.tokens for example in everything]
    answers = [example.answer_tokens for example in everything]
    drawn = [("Tokens of a prompt", prompts), ("Tokens of an answer", answers)]
    lengths.draw(folder / LENGTHS, drawn)
    learnt = [
        example.row for name, part in built.parts.items() if name != "test" for example in part
    ]
    (folder / leaks.FILE).write_text(leaks.encoded(learnt), encoding="utf-8")
    names = [*(f"{name}.jsonl" for name in built.parts), LENGTHS, leaks.FILE]
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}


def _random(options: Options, what: str) -> Random:
    """A random generator per purpose, so that changing one draw does not change the others."""
    return Random(f"{options.seed} {what}")  # noqa: S311 -- it deals out, and guards nothing


def _resolved(
    file: Path, rows: Sequence[Row], pages: Mapping[str, Page], skip_unknown: bool
) -> tuple[list[Row], list[Row]]:
    """Split rows into usable ones, with page paths as in the wiki, and those without a known page.

    Raises AskdocsError: a page is unknown and `skip_unknown` is false.
    """
    paths = Paths(pages)
    known: list[Row] = []
    skipped: list[Row] = []
    problems: list[str] = []
    for row in rows:
        matches = {name: paths.find(name) for name in row.pages}
        problems += [
            f"{file}:{row.line}: the wiki has no page {name!r}: correct context_doc, or add"
            " --skip-unknown"
            for name, path in matches.items()
            if path is None
        ]
        there = tuple(dict.fromkeys(path for path in matches.values() if path is not None))
        # Text of only white space or comments counts as no text.
        context = row.context if row.context and own_page(row.context).sections else ""
        into = skipped if row.pages and not there else known
        question = row.question.strip()  # as the gateway does
        into.append(replace(row, question=question, pages=there, context=context))
    if problems and not skip_unknown:
        raise together(problems)
    return known, skipped
