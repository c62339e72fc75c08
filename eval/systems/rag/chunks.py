"""Chunks of pages: so many tokens at most, cut where a section, a paragraph or a sentence ends."""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import NamedTuple

from tokenizers import Tokenizer

from gateway.knowledge.search.passages import plain
from gateway.knowledge.wiki.page import Page

_PARAGRAPH = re.compile(r"\n[ \t]*\n\s*")
_SENTENCE = re.compile(r"[.!?][\"')\]*_`]*\s+|[。！？]|\n(?=[^\S\n]*+(?:[-*+|]|\d+[.)]) )")
SECTION, PARAGRAPH, SENTENCE, WORD = 3, 2, 1, 0
# A sequence begins and ends with a token of its own.
_SPECIAL = 2


@dataclass(frozen=True)
class Chunk:
    """A part of a page."""

    page: Page
    start: int
    """Of its text within the page's, in characters."""
    text: str
    """As it stands on the page."""
    trail: tuple[str, ...]
    """The headings that it stands under, outermost first, which its text does not have."""
    tokens: int

    @property
    def head(self) -> str:
        """Title and headings, in one line."""
        return " › ".join(dict.fromkeys([self.page.title, *self.trail]))

    @property
    def shown(self) -> str:
        """What is searched and reranked: title and headings, then the text without addresses."""
        return f"{self.head}\n{plain(self.text)}"


class Words(NamedTuple):
    """Where the tokens of a text begin, in characters, and which of them begin a word."""

    starts: list[int]
    is_word: list[bool]


class Cutter:
    """Cuts pages. Tokens are counted by a tokenizer that reads each word by itself (BERT's)."""

    def __init__(self, tokenizer: Path) -> None:
        """Raises what the library raises where `tokenizer`, a tokenizer.json, cannot be read."""
        self._tokenizer = Tokenizer.from_file(str(tokenizer))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    def count(self, text: str) -> int:
        """Tokens of `text`, those that begin and end a sequence not counted."""
        return len(self._words(text).starts)

    def cut(self, page: Page, limit: int, overlap: int) -> list[Chunk]:
        """The chunks of a page, in its order; together they have all of its text.

        A chunk ends at the last section that begins in the second half of what it may have; where
        none does, at the last paragraph, sentence or word there. The next one begins with the last
        sentences of it, or the last words where a sentence is longer, of up to `overlap` tokens;
        where a section begins, with nothing of it.

        Args:
            page: with at least one section.
            limit: tokens of a chunk at most; 256 or more, since a word has up to 100.
            overlap: at most half of `limit`.
        """
        text = page.text
        words = self._words(text)
        ranks = _ranks(page, text, words)
        opened = list(accumulate((len(s.text) + 2 for s in page.sections), initial=0))
        chunks = []
        for first, end in _spans(ranks, limit, overlap):
            start = words.starts[first] if first else 0
            part = text[start : words.starts[end] if end < len(ranks) else len(text)]
            at = bisect_right(opened, start) - 1
            path = page.sections[min(at, len(page.sections) - 1)].path
            trail = path[:-1] if start == opened[at] else path
            chunks.append(Chunk(page, start, part, trail, end - first))
        return chunks

    def windows(self, chunk: Chunk, size: int) -> list[str]:
        """What is embedded of a chunk: all of it, in parts of at most `size` tokens with its head.

        A model that reads 256 tokens would not see the second half of a chunk of 512.
        """
        head = self._beginning(chunk.head, size // 4)
        body = plain(chunk.text)
        words = self._words(body)
        room = size - _SPECIAL - self.count(head)
        parts = -(-len(words.starts) // room)
        if parts <= 1:
            return [f"{head}\n{body}"]
        # All of about the same length: a short rest would weigh as much as the others.
        ends = [round(part * len(words.starts) / parts) for part in range(1, parts)]
        cuts = [0, *(words.starts[end] for end in ends), len(body)]
        return [f"{head}\n{body[a:b]}" for a, b in pairwise(cuts)]

    def _beginning(self, text: str, most: int) -> str:
        words = self._words(text)
        return text if len(words.starts) <= most else text[: words.starts[most]].rstrip()

    def _words(self, text: str) -> Words:
        # A lone surrogate is no character; what stands for it is one, too, so that places stay.
        encoded = self._tokenizer.encode(
            text.encode("utf-8", "replace").decode(), add_special_tokens=False
        )
        ids = encoded.word_ids
        starts = [start for start, _ in encoded.offsets]
        return Words(starts, [not n or ids[n] != ids[n - 1] for n in range(len(ids))])


def _ranks(page: Page, text: str, words: Words) -> list[int]:
    """How well a chunk may begin at each token; -1 within a word."""
    ranks = [WORD if is_word else -1 for is_word in words.is_word]

    def mark(place: int, rank: int) -> None:
        # The first token at or behind the place.
        token = bisect_right(words.starts, place - 1)
        if token < len(ranks):
            ranks[token] = max(ranks[token], rank)

    for pattern, rank in ((_SENTENCE, SENTENCE), (_PARAGRAPH, PARAGRAPH)):
        for match in pattern.finditer(text):
            mark(match.end(), rank)
    place = 0
    for section in page.sections:
        mark(place, SECTION)
        place += len(section.text) + 2
    return ranks


def _spans(ranks: Sequence[int], limit: int, overlap: int) -> Iterator[tuple[int, int]]:
    """First and last token (the latter not included) of each chunk."""
    first = 0
    while first + limit < len(ranks):
        inside = range(first + limit // 2 + 1, first + limit + 1)
        end = max(inside, key=lambda token: (ranks[token], token))
        yield first, end
        first = end
        if overlap and ranks[end] < SECTION:
            repeated = range(end - overlap, end)
            sentences = [token for token in repeated if ranks[token] >= SENTENCE]
            whole = [token for token in repeated if ranks[token] >= WORD]
            first = next(iter(sentences or whole), end)
    if first < len(ranks) or not first:
        yield first, len(ranks)
