"""How the search index bears a large wiki: time to write, size, memory, latency of a search.

    python -m research.studies.scale --docs DIR [--pages 100000] [--questions FILE.jsonl] \\
        [--keep FILE] [--database postgresql://...] [--groups 500] [--json]

The pages are recombined from sections of real pages. A large wiki has many areas with their own
vocabulary, so the rarer words of each area except the first are replaced by words made of the
wiki's syllables. Passage vectors are those of real passages with noise, because embedding half a
million texts takes hours and makes no difference to the search. The seed determines everything.
"""

import argparse
import json
import multiprocessing
import random
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from core.errors import AskdocsError
from wiki.index import embed
from wiki.index.embed import Embedder
from wiki.index.index import Index, writing
from wiki.index.passages import embedded, passages
from wiki.index.replica import open_writing, refresh
from wiki.index.vectors import Exact, Floats, Packed, unpack
from wiki.index.view import Rights
from wiki.pages.page import Page, Section
from wiki.pages.words import content_words
from wiki.rights import Reader
from wiki.rules import NO_RULES
from wiki.search.search import Search
from wiki.sources import folder

SEED = 20261124
# Pages per area, as in a wiki with a space for each team.
AREA = 500
# Words on a larger share of pages are common to all areas.
COMMON = 0.03
# Distance of a generated passage's vector from its real passage's; about that of two passages on a
# real page.
NOISE = 0.7
# Questions per measurement and kind; real passages; and pages of a small sync.
QUESTIONS = 150
PASSAGES = 300
FEW = 10
_WORD = re.compile(r"[^\W\d_]{4,}")


class Maker:
    """Generates pages from real pages."""

    def __init__(self, real: Sequence[Page]) -> None:
        self._real = real
        self._sections = [section for page in real for section in page.sections if section.text]
        seen: Counter[str] = Counter()
        for page in real:
            seen.update(set(content_words(page.text)))
        self._rare = {word for word, pages in seen.items() if pages <= COMMON * len(real)}
        self._syllables = sorted(
            {word[n : n + 3] for word in seen if word.isalpha() for n in range(0, len(word) - 2, 3)}
        )

    def page(self, number: int) -> Page:
        """The page with this number, always the same."""
        chance = random.Random(SEED + number)  # noqa: S311 -- nothing is secret here
        area = number // AREA
        like = chance.choice(self._real)
        sections = []
        for _ in like.sections:
            left, right = chance.choices(self._sections, k=2)
            text = _mixed(left, right, chance)
            sections.append(
                Section(
                    self._localised(left.heading, area),
                    left.anchor,
                    tuple(self._localised(part, area) for part in left.path),
                    self._localised(text, area),
                )
            )
        first, last = chance.choices(self._real, k=2)
        title = " ".join(first.title.split()[:4] + last.title.split()[-4:])
        path = f"area-{area}/page-{number}.md"
        url = f"https://wiki.example.com/area-{area}/page-{number}/"
        return Page(path, self._localised(title, area), url, tuple(sections))

    def pages(self, count: int) -> Iterator[Page]:
        return (self.page(number) for number in range(count))

    def _localised(self, text: str, area: int) -> str:
        return "\n\n".join(self._paragraph(part, area) for part in text.split("\n\n"))

    @lru_cache(maxsize=20_000)  # noqa: B019 -- it lives as long as the program
    def _paragraph(self, text: str, area: int) -> str:
        if area == 0:
            return text
        return _WORD.sub(lambda match: self._word(match[0], area), text)

    @lru_cache(maxsize=100_000)  # noqa: B019 -- it lives as long as the program
    def _word(self, word: str, area: int) -> str:
        if word.lower() not in self._rare:
            return word
        chance = random.Random(f"{word.lower()} {area}")  # noqa: S311
        # Half of the rarer words are shared with other areas, too.
        if chance.random() < 0.5:
            return word
        return "".join(chance.choices(self._syllables, k=3))


def _mixed(first: Section, second: Section, chance: random.Random) -> str:
    """The paragraphs of a section, mixed with some of another."""
    paragraphs = first.text.split("\n\n")
    further = second.body.split("\n\n")
    for paragraph in chance.sample(further, k=len(further) // 3):
        paragraphs.insert(chance.randint(1, len(paragraphs)), paragraph)
    return "\n\n".join(paragraphs)


class Passages:
    """Vectors of generated pages: those of real passages, with noise."""

    def __init__(self, real: Sequence[Page], embedder: Embedder) -> None:
        of_pages = [embedded(page) for page in real]
        every = [text for texts in of_pages for text in texts]
        some = random.Random(SEED).sample(every, k=min(PASSAGES, len(every)))  # noqa: S311
        self._vectors = embedder.embed(some)
        self._chance = np.random.default_rng(SEED)

    def page(self, page: Page) -> Floats:
        """[n, 384], for each passage of the page."""
        count = len(passages(page))
        like = self._vectors[self._chance.integers(len(self._vectors), size=count)]
        noise = self._chance.standard_normal(like.shape, np.float32) / np.sqrt(like.shape[1])
        vectors: Floats = like + NOISE * noise
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors


def questions(pages: Sequence[Page], count: int) -> list[str]:
    """Long and vague questions: half a title, and fragments of the text with letters missing."""
    chance = random.Random(SEED)  # noqa: S311
    result: list[str] = []
    while len(result) < count:
        page = chance.choice(pages)
        words = page.text.split()
        if len(words) < 30:
            continue
        start = chance.randrange(len(words) - 20)
        words_drawn = page.title.split()[:4] + words[start : start + chance.randint(5, 40)]
        for _ in range(2):
            spoilt = chance.randrange(len(words_drawn))
            words_drawn[spoilt] = words_drawn[spoilt][1:]
        result.append(" ".join(words_drawn))
    return result


class Known(embed.Embedder):
    """Replaces the embedder: question vectors are precomputed."""

    def __init__(self, model: str, vectors: Mapping[str, Floats]) -> None:
        self.model = model
        self._vectors = vectors

    def embed(self, texts: Sequence[str]) -> Floats:
        return np.stack([self._vectors[text] for text in texts])


def measure(
    docs: Path,
    count: int,
    file: Path,
    given: Sequence[str],
    database: str | None,
    groups: int = 0,
) -> dict[str, Any]:
    """Build the index and search it. Raises AskdocsError."""
    real = folder.read(docs, "http://wiki/").pages
    maker = Maker(real)
    embedder = embed.load()
    if embedder is None:
        raise AskdocsError("the embedding model cannot run here")
    vectors_of = Passages(real, embedder)
    measured: dict[str, Any] = {"pages": count}
    making = 0.0
    began = time.monotonic(), time.process_time()
    with open_writing(file, database) as writer:
        for number in range(count):
            before = time.process_time()
            page = maker.page(number)
            making += time.process_time() - before
            writer.put("scale", page, "1")
    measured["sync_with_making_s"] = time.monotonic() - began[0]
    measured["sync_cpu_s"] = time.process_time() - began[1] - making
    measured["bytes_of_words"] = file.stat().st_size
    began = time.monotonic(), time.process_time()
    with open_writing(file, database) as writer:
        for number in writer.missing(embedder.model):
            made = writer.page(number)
            assert made is not None
            writer.put_vectors(number, vectors_of.page(made), embedder.model)
    measured["vectors_s"] = time.monotonic() - began[0]
    measured["bytes"] = file.stat().st_size
    if database:
        began = time.monotonic(), 0.0
        with tempfile.TemporaryDirectory() as place:
            refresh(Path(place) / "copy.db", database)
        measured["copy_s"] = time.monotonic() - began[0]
    sample = [maker.page(n) for n in range(0, count, max(1, count // 200))]
    texts = [*given, *questions(sample, QUESTIONS)]
    vectors = dict(zip(texts, embedder.embed(texts), strict=True))
    # In another process, to measure a reader's memory.
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        measured |= pool.apply(_read, (file, embedder.model, vectors))
        if groups:
            measured |= pool.apply(_with_groups, (file, embedder.model, vectors, groups))
    began = time.monotonic(), time.process_time()
    with open_writing(file, database) as writer:
        for number in range(0, count, max(1, count // FEW)):
            changed = maker.page(number + count)
            writer.put("scale", replace(changed, path=maker.page(number).path), "2")
    measured["small_sync_s"] = time.monotonic() - began[0]
    measured["small_sync_cpu_s"] = time.process_time() - began[1]
    return measured


def _read(file: Path, model: str, vectors: Mapping[str, Floats]) -> dict[str, Any]:
    """Measurements of a reader of the index."""
    process = psutil.Process()
    before = process.memory_info().rss
    measured: dict[str, Any] = {}
    with closing(Index(file)) as index:
        for name, embedder in (("words", None), ("words_and_vectors", Known(model, vectors))):
            search = Search(index, embedder)
            took = np.array([_timed(search, text) for text in vectors])
            # The first search of a generation loads the in-memory data.
            measured[f"{name}_first_ms"] = float(took[0, 0])
            for share in (50, 99):
                wall, cpu = np.percentile(took[1:], share, axis=0)
                measured[f"{name}_p{share}_ms"] = float(wall)
                measured[f"{name}_p{share}_cpu_ms"] = float(cpu)
            measured[f"{name}_memory"] = process.memory_info().rss - before
        measured["sketch_recall_10"], measured["passages"] = _sketched(
            index, list(vectors.values())[:50]
        )
    return measured


def _with_groups(
    file: Path, model: str, vectors: Mapping[str, Floats], groups: int
) -> dict[str, Any]:
    """The cost of rights: a search with some groups compared with a search of everything.

    Each area's pages are for one group. The searches alternate, so that other load on the machine
    affects all of them alike.
    """
    with writing(file) as writer:
        for number, path in enumerate(sorted(writer.known("scale"))):
            writer.regroup("scale", path, (frozenset({f"group-{number % groups}"}),), "1")
    measured: dict[str, Any] = {}
    embedder = Known(model, vectors)
    with closing(Index(file)) as index:
        rights = Rights(index, NO_RULES)
        searches = {"whole": Search(index, embedder)}
        for share in (0.1, 0.5, 1.0):
            mine = frozenset(f"group-{n}" for n in range(round(groups * share)))
            view = rights.seen_by(Reader(mine - {"group-0"}))
            searches[f"{share:.0%}"] = Search(view, embedder)
        took: dict[str, list[tuple[float, float]]] = {name: [] for name in searches}
        for turn, text in enumerate(vectors):
            # Vary the order: the first search for a question warms caches for the others.
            for name in np.roll(list(searches), turn):
                took[name].append(_timed(searches[name], text))
    for name, times in took.items():
        rest = np.array(times[1:])
        measured[f"groups_{name}_first_ms"] = times[0][0]
        measured[f"groups_{name}_p50_ms"], measured[f"groups_{name}_p50_cpu_ms"] = np.median(
            rest, axis=0
        )
        measured[f"groups_{name}_mean_cpu_ms"] = float(rest[:, 1].mean())
    return measured


def _timed(search: Search, question: str) -> tuple[float, float]:
    """Milliseconds of wall-clock time, and of CPU time, which other load does not stretch."""
    began = time.perf_counter(), time.process_time()
    search.find(question)
    return 1000 * (time.perf_counter() - began[0]), 1000 * (time.process_time() - began[1])


def _sketched(index: Index, queries: Sequence[Floats]) -> tuple[float | None, int]:
    """Recall of the 10 nearest pages in the search by sign bits, and the number of passages."""
    vectors = index.vectors()
    if vectors is None or isinstance(vectors, Exact):
        return None, 0 if vectors is None else len(vectors.pages)
    pages = np.unique(vectors.pages)
    best = np.full((len(pages), len(queries)), -1.0, np.float32)
    stacked = np.stack(queries).T
    at = 0
    for start in range(0, len(pages), 1000):
        rows = sorted(index._fetch(vectors.model, pages[start : start + 1000].tolist()))
        for _, scales, matrix in rows:
            best[at] = (unpack(Packed(scales, matrix)) @ stacked).max(axis=0)
            at += 1
    shares = []
    for column, query in enumerate(queries):
        right = set(pages[np.argsort(-best[:, column])[:10]].tolist())
        shares.append(len(right & vectors.best(query, 10).keys()) / 10)
    return sum(shares) / len(shares), len(vectors.pages)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--docs", type=Path, required=True)
    parser.add_argument("--pages", type=int, default=100_000)
    parser.add_argument("--questions", type=Path, help="asked beside those that are made")
    parser.add_argument("--keep", type=Path, help="file for the index; else a temporary one")
    parser.add_argument("--database", help="an empty PostgreSQL database that shares the index")
    parser.add_argument("--groups", type=int, default=0, help="measure the rights of so many, too")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    given: list[str] = []
    if options.questions:
        lines = options.questions.read_text(encoding="utf-8").splitlines()
        given = [json.loads(line)["question"] for line in lines][:QUESTIONS]
    with nullcontext() if options.keep else tempfile.TemporaryDirectory() as place:
        file = options.keep or Path(place or "") / "index.db"
        try:
            measured = measure(
                options.docs, options.pages, file, given, options.database, options.groups
            )
        except AskdocsError as error:
            sys.exit(f"scale: {error}")
    if options.json:
        print(json.dumps(measured, indent=2))
        return
    for name, value in measured.items():
        print(f"{name:30}{value:,.2f}" if isinstance(value, float) else f"{name:30}{value}")


if __name__ == "__main__":
    main()
