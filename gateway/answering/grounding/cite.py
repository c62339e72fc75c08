"""Finds the section that supports each passage of an answer, and detects quotations."""

from dataclasses import dataclass

from gateway.answering.grounding.excerpt import spoken
from gateway.answering.grounding.support import Support
from gateway.knowledge.wiki.blocks import blocks
from gateway.knowledge.wiki.page import Page, Section
from gateway.knowledge.wiki.words import content_words

QUOTE = 1200  # characters of the section that is quoted beside an answer


@dataclass(frozen=True)
class Span:
    """A part of an answer that rests on one section."""

    page: Page
    section: Section
    start: int
    end: int
    """Characters of the answer, half open."""


class Citations:
    """The sections that an answer rests on, sentence by sentence."""

    def __init__(self, support: Support, only: tuple[Page, Section] | None = None) -> None:
        """`only`: the section that is quoted, where the answer is a quotation."""
        self._support = support
        self._only = only
        self._start = 0
        self.spans: list[Span] = []

    def of(self, sentence: str) -> tuple[Page, Section] | None:
        """The section that a sentence rests on; the one before it for a mere "Yes."."""
        if self._only:
            return self._only
        if self.spans and not content_words(sentence):
            return self.spans[-1].page, self.spans[-1].section
        return self._support.best_section(sentence)

    def add(self, sentence: str, shown: str) -> None:
        """`sentence` goes out as `shown`, behind the ones before it."""
        rests_on = self.of(sentence)
        start, end = self._start, self._start + len(shown)
        self._start = end
        if rests_on is None or not shown.strip():
            return
        page, section = rests_on
        last = self.spans[-1] if self.spans else None
        if last and last.section is section and last.page.path == page.path:
            self.spans[-1] = Span(page, section, last.start, end)
        else:
            self.spans.append(Span(page, section, start, end))

    def within(self, length: int) -> list[Span]:
        """The spans of a text that was cut to `length`: white space at its end is left away."""
        return [
            Span(span.page, span.section, span.start, min(span.end, length))
            for span in self.spans
            if span.start < length
        ]

    def sections(self) -> list[tuple[Page, Section]]:
        """Each section once, the one that most of the answer rests on first."""
        weight: dict[tuple[str, int], int] = {}
        by_key: dict[tuple[str, int], tuple[Page, Section]] = {}
        for span in self.spans:
            key = (span.page.path, id(span.section))
            weight[key] = weight.get(key, 0) + span.end - span.start
            by_key[key] = (span.page, span.section)
        return [by_key[key] for key in sorted(by_key, key=lambda key: -weight[key])]


def quoted(section: Section, page: Page) -> str:
    """The beginning of a section as the page has it, to the letter but for white space.

    A part of a long section has lines of ours (a table's head again, code closed and opened again):
    it is quoted as far as the page goes along. Empty where that is not a word.
    """
    # Of a section that the page has as it is, looking through the whole page would be for nothing.
    owner = section if any(section is other for other in page.sections) else page
    whole = " ".join(owner.text.split())
    chosen: list[str] = []
    length = 0
    more = False
    for block in blocks(spoken(section)):
        if chosen and length + len(block) > QUOTE:
            more = True
            break
        text = block
        while text and " ".join(text.split()) not in whole:
            text = text.rpartition("\n")[0]
        if not text:
            continue
        chosen.append(text)
        length += len(text) + 2
    text = "\n\n".join(chosen)
    if len(text) > QUOTE:
        text, more = text[:QUOTE], True
    return f"{text}\n\n…" if more else text
