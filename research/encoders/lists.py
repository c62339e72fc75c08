"""Writes what the bundled reranker is trained on: questions with the passages that search finds.

    python -m research.encoders.lists --wiki DOCS=QUESTIONS.jsonl [--wiki ...] --out LISTS.jsonl
                                       --keep FOLDER

Wikis and questions are as for `research.studies.passages`. A line of the file has a question, the
texts of the first passages, their scores, and which of them answer. Headings with the text below
them are further examples, without scores: three in five of these texts lack their heading, so that
words alone do not decide.
"""

import argparse
import json
import random
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from core.errors import AskdocsError
from research.studies.passages import Question, holds, kept, read
from wiki.index import embed, index
from wiki.index.passages import Passage, above, passages, plain, text_of
from wiki.pages.page import Page
from wiki.pages.words import stems
from wiki.search.hits import best_passages, distinct
from wiki.search.search import Search

# Passages per question; headings per wiki.
FIRST = 30
HEADINGS = 300
# A usable heading has at least two content words, and a text of some length.
WORDS = 2
BELOW = 20
LONGEST = 90
WITHOUT = 0.6
FEWEST = 6
MOST = 15


def asked(search: Search, question: Question) -> dict[str, Any]:
    """The passages that the search finds for a question."""
    hits = distinct(best_passages(search.find(question.text)))[:FIRST]
    return {
        "question": question.text,
        "texts": [text_of(hit.page, hit.passage) for hit in hits],
        "scores": [hit.score for hit in hits],
        "right": [holds(question, hit) for hit in hits],
    }


def headings(search: Search, chance: random.Random) -> Iterator[dict[str, Any]]:
    """Headings of a wiki, questions first, with the text below and near-misses."""
    known = [section for page in search.index.pages() for section in _headed(page)]
    chance.shuffle(known)
    known.sort(key=lambda section: not section[2].rstrip().endswith("?"))
    for page, passage, heading in known[:HEADINGS]:
        question = heading.translate(str.maketrans("", "", "`*_")).strip()
        text = _without_heading if chance.random() < WITHOUT else text_of
        others = [
            text(hit.page, hit.passage)
            for hit in distinct(best_passages(search.find(question)))[:25]
            if (hit.page.path, hit.passage.section) != (page.path, passage.section)
            and hit.page.sections[hit.passage.section].heading != heading
        ][:MOST]
        if len(others) >= FEWEST:
            texts = [text(page, passage), *others]
            right = [True, *(False for _ in others)]
            yield {"question": question, "texts": texts, "scores": None, "right": right}


def _headed(page: Page) -> Iterator[tuple[Page, Passage, str]]:
    """The first passage below each heading and term of a page."""
    seen = set()
    for passage in passages(page):
        heading = passage.term or (page.sections[passage.section].heading if page.sections else "")
        if not heading or (passage.section, heading) in seen:
            continue
        seen.add((passage.section, heading))
        is_long = len(plain(passage.text).split()) >= BELOW
        if is_long and len(heading) <= LONGEST and len(stems(heading)) >= WORDS:
            yield page, passage, heading


def _without_heading(page: Page, passage: Passage) -> str:
    head = above(page, passage)
    body = " ".join(plain(passage.text).split())
    return f"{' › '.join(head[:-1] or head)}\n{body}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--wiki", action="append", required=True, metavar="DOCS=QUESTIONS")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--keep", type=Path, required=True, help="folder of the indexes")
    options = parser.parse_args()
    embedder, chance = embed.load(), random.Random(1)  # noqa: S311 -- no secret
    with options.out.open("w", encoding="utf-8") as out:
        for pair in options.wiki:
            docs, _, questions = pair.rpartition("=")
            try:
                file = kept(Path(docs), options.keep, embedder)
                with closing(index.Index(file)) as opened:
                    search = Search(opened, embedder)
                    rows = [
                        asked(search, question)
                        for question in read(Path(questions))
                        if question.words
                    ]
                    for row in (*rows, *headings(search, chance)):
                        out.write(json.dumps(row, ensure_ascii=False) + "\n")
            except AskdocsError as error:
                sys.exit(f"lists: {error}")


if __name__ == "__main__":
    main()
