"""What no wiki has labelled questions for, derived from those it has: reader's page, typos, talk.

    python -m eval.studies.derived --docs DIR --questions qa_pairs.jsonl \\
        --split validation [--keep FILE]

The reader is put on the page that answers, on one that links to it, and on one that has nothing to
do with it; letters of the question are swapped; and it is asked in two turns, the second of which
cannot stand alone, and after an unrelated one. All is made from the questions by a fixed seed.
"""

import argparse
import random
import re
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from eval.studies.retrieval import prepare, read, share
from gateway.core.errors import AskdocsError
from gateway.knowledge.search import embed, glossary
from gateway.knowledge.search.index import Index
from gateway.knowledge.search.search import Search
from gateway.knowledge.wiki.page import Page

SEED = 5
# What a reader says after a first question.
TURNS = (
    "How do I do that?",
    "And where do I find it?",
    "Why does it do that?",
    "It does not work.",
)
Case = tuple[str, str | None, tuple[str, ...]]


def derived(
    rows: Sequence[dict[str, Any]], golds: Sequence[Page], pages: Sequence[Page]
) -> dict[str, list[Case]]:
    """By what is tried: question, page that the reader is on, and questions before, of each row.

    Args:
        rows: questions.
        golds: a page that answers each of them.
        pages: all pages.
    """
    rng = random.Random(SEED)  # noqa: S311 -- to repeat the same choice, not to hide anything
    questions = [row["question"] for row in rows]
    titles = [question.strip().partition("\n")[0] for question in questions]
    to: dict[str, list[str]] = {}
    for page in pages:
        for target, _ in glossary.links(page):
            to.setdefault(target, []).append(page.url)
    others = [rng.choice(pages).url for _ in rows]
    misspelt = [_misspelt(question, rng) for question in questions]
    turns = [rng.choice(TURNS) for _ in rows]
    unrelated = [rng.choice(titles) for _ in rows]
    linking = [
        rng.choice(to.get(page.url, [other])) for page, other in zip(golds, others, strict=True)
    ]
    everything = list(
        zip(questions, titles, misspelt, turns, unrelated, others, linking, golds, strict=True)
    )
    return {
        "as asked": [(q, None, ()) for q, *_ in everything],
        "on the page that answers": [(e[0], e[7].url, ()) for e in everything],
        "on a page that links to it": [(e[0], e[6], ()) for e in everything],
        "on a page by chance": [(e[0], e[5], ()) for e in everything],
        "every fifth word misspelt": [(e[2], None, ()) for e in everything],
        "only the first line": [(e[1], None, ()) for e in everything],
        "first line, then a pronoun": [(e[3], None, (e[1],)) for e in everything],
        "the pronoun alone": [(e[3], None, ()) for e in everything],
        "first line, after an unrelated question": [(e[1], None, (e[4],)) for e in everything],
    }


def _misspelt(question: str, rng: random.Random) -> str:
    def swapped(match: re.Match[str]) -> str:
        word = match.group()
        if rng.random() > 0.2:
            return word
        at = rng.randrange(1, len(word) - 1)
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]

    return re.sub(r"[A-Za-z]{5,}", swapped, question)


def measure(search: Search, rows: Sequence[dict[str, Any]], say: Callable[[str], None]) -> None:
    """Search for every derived question, and say how many of their pages were found."""
    pages = search.index.pages()
    by_name = {PurePosixPath(page.path).stem: page for page in pages}
    named = [row.get("context_docs") or [row["context_doc"]] for row in rows]
    golds = [[PurePosixPath(path).stem for path in paths] for paths in named]
    say("| derived question | recall@1 | recall@5 |")
    say("|---|---|---|")
    for name, cases in derived(rows, [by_name[gold[0]] for gold in golds], pages).items():
        places = []
        for (question, page_url, history), gold in zip(cases, golds, strict=True):
            hits = search.find(question, page_url, history=history)
            places_of_gold = [
                n for n, hit in enumerate(hits) if PurePosixPath(hit.page.path).stem in gold
            ]
            places.append(places_of_gold[0] if places_of_gold else len(hits) + 5)
        first, five = share(np.array(places) < 1), share(np.array(places) < 5)
        say(f"| {name} | {first.value:.3f} | {five.value:.3f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--docs", type=Path, required=True)
    parser.add_argument("--questions", type=Path, required=True)
    parser.add_argument("--split")
    parser.add_argument("--source", help="only rows whose field `source` is this")
    parser.add_argument("--keep", type=Path, help="file of the index, kept for the next run")
    options = parser.parse_args()
    try:
        rows = [
            row
            for row in read(options.questions, options.split)
            if row.get("answerable", True) and options.source in (None, row.get("source"))
        ]
        embedder = embed.load()
        with tempfile.TemporaryDirectory() as place:
            file = options.keep or Path(place) / "index.db"
            prepare(options.docs, file, embedder)
            with closing(Index(file)) as index:
                measure(Search(index, embedder), rows, print)
    except AskdocsError as error:
        sys.exit(f"derived: {error}")


if __name__ == "__main__":
    main()
