"""Cuts pages into chunks of limited size, at the ends of sections, paragraphs or sentences."""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import NamedTuple

from tokenizers import Tokenizer

from wiki.index.passages import plain
from wiki.pages.page import Page

_PARAGRAPH = re.compile(r"\n[ \t]*\n\s*")
_SENTENCE = re.compile(r"[.!?][\"')\]*_`]*\s+|[。！？]|\n(?=[^\S\n]*+(?:[-*+|]|\d+[.)]) )")
SECTION, PARAGRAPH, SENTENCE, WORD = 3, 2, 1, 0
# A sequence begins and ends with a special token.
_SPECIAL = 2


@dataclass(frozen=True)
class Chunk:
    """A chunk of a page."""

    page: Page
    start: int
    """Position of its text in the page's text, in characters."""
    text: str
    """The page's original text."""
    trail: tuple[str, ...]
    """The headings above it, outermost first, which its text does not contain."""
    tokens: int

    @property
    def head(self) -> str:
        """Title and headings, in one line."""
        return " › ".join(dict.fromkeys([self.page.title, *self.trail]))

    @property
    def shown(self) -> str:
        """The text to search and rerank: title and headings, then the text without URLs."""
        return f"{self.head}\n{plain(self.text)}"


class Words(NamedTuple):
    """Positions of a text's tokens in characters, and which of them begin a word."""

    starts: list[int]
    is_word: list[bool]


class Cutter:
    """Cuts pages. Requires a tokenizer that encodes each word separately (BERT's)."""

    def __init__(self, tokenizer: Path) -> None:
        """Raises the library's error if `tokenizer`, a tokenizer.json, cannot be read."""
        self._tokenizer = Tokenizer.from_file(str(tokenizer))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    def count(self, text: str) -> int:
        """Tokens of `text` without those that begin and end a sequence."""
        return len(self._words(text).starts)

    def cut(self, page: Page, limit: int, overlap: int) -> list[Chunk]:
        """The chunks of a page, in order; together they contain all of its text.

        A chunk ends at the last section boundary in the second half of its maximum length, or else
        at the last paragraph, sentence or word there. The next chunk repeats its last sentences (or
        the last words of a longer sentence) up to `overlap` tokens, and nothing at a section
        boundary.

        Args:
            page: a page with at least one section.
            limit: maximum tokens of a chunk; at least 256, since a word has up to 100.
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
        """The texts to embed for a chunk: all of it, in windows of at most `size` tokens with its
        head.

        A model that reads 256 tokens would not see the second half of a chunk of 512.
        """
        head = self._beginning(chunk.head, size // 4)
        body = plain(chunk.text)
        words = self._words(body)
        room = size - _SPECIAL - self.count(head)
        parts = -(-len(words.starts) // room)
        if parts <= 1:
            return [f"{head}\n{body}"]
        # Of similar length: a short rest would weigh as much as the others.
        ends = [round(part * len(words.starts) / parts) for part in range(1, parts)]
        cuts = [0, *(words.starts[end] for end in ends), len(body)]
        return [f"{head}\n{body[a:b]}" for a, b in pairwise(cuts)]

    def _beginning(self, text: str, most: int) -> str:
        words = self._words(text)
        return text if len(words.starts) <= most else text[: words.starts[most]].rstrip()

    def _words(self, text: str) -> Words:
        # A lone surrogate is not a valid character; its substitute is a single character, so that
        # positions stay the same.
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
        # The first token at or after the position.
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
    """First and last token (exclusive) of each chunk."""
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
