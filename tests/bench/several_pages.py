"""Pages that share a small budget: is the right one read, and the section of it that answers?

    .venv/bin/python tests/bench/several_pages.py --docs DIR --questions qa_pairs.jsonl \
        [--limit 300] [--budget 620 1655]

Questions are rows of the splits train and validation. The section that answers is the one of their
pages that is most like their answer by its meaning. Tokens are estimated, no engine is asked.
"""

import argparse
import asyncio
import random
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from eval.retrieval import prepare
from eval.rows import Row, read
from gateway.engine import estimates
from gateway.grounding.excerpt import Excerpt
from gateway.grounding.ground import NEARLY, Grounding
from gateway.grounding.sections import Sections
from gateway.search import embed
from gateway.search.embed import Embedder
from gateway.search.index import Index
from gateway.search.search import Hit

BEGINNING = 60  # characters, by which a section is found in a prompt


class Read(NamedTuple):
    """What stands in front of a question."""

    page: bool
    """A right one."""
    section: bool
    """The one that answers."""
    pages: int


async def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--docs", type=Path, required=True)
    parser.add_argument("--questions", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=300)
    parser.add_argument("--budget", type=int, nargs="+", default=[620, 1655])
    options = parser.parse_args()
    embedder = embed.load()
    if embedder is None:
        parser.exit(1, "several_pages: the embedding model is not installed: run make setup\n")
    rows = [row for row in read(options.questions) if row.pages and row.answer]
    rows = [row for row in rows if row.split in ("train", "validation")]
    random.Random(1).shuffle(rows)
    found: dict[tuple[int, str], list[Read]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "index.db"
        prepare(options.docs, file, embedder)
        index = Index(file)
        grounding, sections = Grounding(index, estimates, embedder), Sections(embedder)
        for row in rows[: options.limit]:
            for budget in options.budget:
                ways = await shared(grounding, sections, embedder, row, budget)
                for how, seen in ways.items():
                    found[budget, how].append(seen)
        index.close()
    print("| budget | pages | a right page | the section that answers | gained, lost | pages |")
    print("|---|---|---|---|---|---|")
    for (budget, how), all_ in found.items():
        page, section, pages = (sum(column) / len(all_) for column in zip(*all_, strict=True))
        pairs = list(zip(all_, found[budget, "one"], strict=True))
        gained = sum(one.section and not before.section for one, before in pairs)
        lost = sum(before.section and not one.section for one, before in pairs)
        print(
            f"| {budget:,} | {how} | {page:.3f} | {section:.3f} | {gained}, {lost} | {pages:.2f} |"
        )


async def shared(
    grounding: Grounding, sections: Sections, embedder: Embedder, row: Row, budget: int
) -> dict[str, Read]:
    """By the ways in which pages can share the budget."""
    right = {Path(page).name for page in row.pages}
    pages = [page for page in grounding.index.pages() if Path(page.path).name in right]
    parts = [part for page in pages for part in page.sections if part.text.strip()]
    if not parts:
        return {}
    likes = embedder.embed([part.text for part in parts]) @ embedder.embed([row.answer])[0]
    probe = parts[int(likes.argmax())].text.strip()[:BEGINNING]

    def told(excerpts: list[Excerpt]) -> Read:
        shown = "\n".join(part.text for one in excerpts for part in one.sections)
        is_right = any(Path(one.page.path).name in right for one in excerpts)
        return Read(is_right, probe in shown, len(excerpts))

    grounds = await grounding.ground(row.question, budget, 1)
    found = {"one": told(list(grounds.excerpts))}
    several = await grounding.ground(row.question, budget, 3)
    found["up to three, the best takes what it needs"] = told(list(several.excerpts))
    hits, _ = grounding.find(grounding.search.sought(row.question, ()))
    for most in (2, 3, 4):
        near = [hit.page for hit in hits[:most] if hit.score >= NEARLY * hits[0].score]
        excerpts: list[Excerpt] = []
        for page in near if grounds.excerpts else ():
            excerpts += await grounding.fit([page], budget // len(near), grounds.sought)
        found[f"up to {most}, each as much"] = told(excerpts)
    pieces = await best_sections(hits[:5], sections, row.question, budget) if excerpts else []
    paths = {one.page.path for one in pieces}
    found["sections of five"] = told(pieces)._replace(pages=len(paths))
    return found


async def best_sections(
    hits: list[Hit], sections: Sections, question: str, budget: int
) -> list[Excerpt]:
    """By how like they are to the question, and how well their page was found."""
    places = [(hit, part) for hit in hits for part in hit.page.sections if part.text.strip()]
    likes = sections.similarity(question, [(hit.page, part) for hit, part in places], patient=True)
    assert likes is not None
    score = [
        like + hit.score / hits[0].score / 2 for (hit, _), like in zip(places, likes, strict=True)
    ]
    chosen: list[Excerpt] = []
    for number in sorted(range(len(places)), key=lambda number: -score[number]):
        hit, part = places[number]
        (tokens,) = await estimates([part.text])
        if tokens + sum(one.tokens for one in chosen) <= budget:
            chosen.append(Excerpt(hit.page, (part,), tokens))
    return chosen


if __name__ == "__main__":
    asyncio.run(main())
