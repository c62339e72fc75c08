"""How the search index bears a large wiki: time to write, size, memory, latency of a search.

    python -m eval.scale --docs DIR [--pages 100000] [--questions FILE.jsonl] [--keep FOLDER]
                         [--database postgresql://...] [--json]

The pages are made of real ones: sections of the real pages, cut and put together anew. A large wiki
is many areas, each with words of its own; so the rarer words of each area but the first are
replaced by others that are made of the syllables of the wiki. The vectors of chunks are those of
real chunks with noise, because embedding half a million texts takes hours and the search does not
see the difference. Everything follows from the seed.
"""

import argparse
import json
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from gateway.errors import AskdocsError
from gateway.search import embed
from gateway.search.index import Index, writing
from gateway.sources import folder
from gateway.wiki.page import Page, Section
from gateway.wiki.words import content_words

SEED = 20261124
# Pages of an area, as in a wiki where each team has a space of its own.
AREA = 500
# Words in more pages than this are everybody's: the same in every area.
COMMON = 0.03
# How far the vector of a generated chunk lies from the real one that it is made of. Two chunks of
# one real page are about as far apart.
NOISE = 0.7
BATCH = 5000
QUESTIONS = 400
_WORD = re.compile(r"[^\W\d_]{4,}")


class Maker:
    """Makes pages of real pages."""

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
        """Always the same for a number."""
        chance = random.Random(SEED + number)  # noqa: S311 -- nothing is secret here
        area = number // AREA
        like = chance.choice(self._real)
        sections = []
        for _ in like.sections:
            one, other = chance.choices(self._sections, k=2)
            text = _mixed(one, other, chance)
            sections.append(
                Section(
                    self._localised(one.heading, area),
                    one.anchor,
                    tuple(self._localised(part, area) for part in one.path),
                    self._localised(text, area),
                )
            )
        one, other = chance.choices(self._real, k=2)
        title = " ".join(one.title.split()[:4] + other.title.split()[-4:])
        path = f"area-{area}/page-{number}.md"
        url = f"https://wiki.example.com/area-{area}/page-{number}/"
        return Page(path, self._localised(title, area), url, tuple(sections))

    def pages(self, count: int) -> Iterator[Page]:
        return (self.page(number) for number in range(count))

    def _localised(self, text: str, area: int) -> str:
        if area == 0:
            return text
        return _WORD.sub(lambda found: self._word(found[0], area), text)

    @lru_cache(maxsize=100_000)  # noqa: B019 -- it lives as long as the program
    def _word(self, word: str, area: int) -> str:
        if word.lower() not in self._rare:
            return word
        chance = random.Random(f"{word.lower()} {area}")  # noqa: S311
        # Half of the rarer words are the same in other areas, too.
        if chance.random() < 0.5:
            return word
        return "".join(chance.choices(self._syllables, k=3))


def _mixed(one: Section, other: Section, chance: random.Random) -> str:
    """Paragraphs of one section, with some of another among them."""
    paragraphs = one.text.split("\n\n")
    further = other.body.split("\n\n")
    for paragraph in chance.sample(further, k=len(further) // 3):
        paragraphs.insert(chance.randint(1, len(paragraphs)), paragraph)
    return "\n\n".join(paragraphs)


def questions(pages: Sequence[Page], count: int) -> list[str]:
    """Long and vague ones: half a title, and pieces of the text with letters missing."""
    chance = random.Random(SEED)  # noqa: S311
    result = []
    while len(result) < count:
        page = chance.choice(pages)
        words = page.text.split()
        if len(words) < 30:
            continue
        start = chance.randrange(len(words) - 20)
        asked = page.title.split()[:4] + words[start : start + chance.randint(5, 40)]
        for _ in range(2):
            spoilt = chance.randrange(len(asked))
            asked[spoilt] = asked[spoilt][1:]
        result.append(" ".join(asked))
    return result
