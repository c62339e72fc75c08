"""Finds the section behind each passage of an answer, and detects quotations."""

from dataclasses import dataclass

from gateway.answering.grounding.excerpt import spoken
from gateway.answering.grounding.support import Support
from wiki.pages.blocks import blocks
from wiki.pages.page import Page, Section
from wiki.pages.words import content_words

QUOTE = 1200  # maximum characters quoted from a section beside an answer


@dataclass(frozen=True)
class Span:
    """A part of an answer that comes from one section."""

    page: Page
    section: Section
    start: int
    end: int
    """A half-open range of characters of the answer."""


class Citations:
    """The sections behind an answer, sentence by sentence."""

    def __init__(self, support: Support, only: tuple[Page, Section] | None = None) -> None:
        """`only`: the quoted section, if the answer is a quotation."""
        self._support = support
        self._only = only
        self._start = 0
        self.spans: list[Span] = []

    def of(self, sentence: str) -> tuple[Page, Section] | None:
        """The section behind a sentence; for a bare "Yes.", the previous sentence's."""
        if self._only:
            return self._only
        if self.spans and not content_words(sentence):
            return self.spans[-1].page, self.spans[-1].section
        return self._support.best_section(sentence)

    def add(self, sentence: str, shown: str) -> None:
        """Append `sentence`, which is sent as `shown`."""
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
        """The spans of a text that was cut to `length`, without trailing white space."""
        return [
            Span(span.page, span.section, span.start, min(span.end, length))
            for span in self.spans
            if span.start < length
        ]

    def sections(self) -> list[tuple[Page, Section]]:
        """Each section once, ordered by how much of the answer comes from it."""
        weight: dict[tuple[str, int], int] = {}
        by_key: dict[tuple[str, int], tuple[Page, Section]] = {}
        for span in self.spans:
            key = (span.page.path, id(span.section))
            weight[key] = weight.get(key, 0) + span.end - span.start
            by_key[key] = (span.page, span.section)
        return [by_key[key] for key in sorted(by_key, key=lambda key: -weight[key])]


def quoted(section: Section, page: Page) -> str:
    """Quotes the beginning of a section verbatim, except for white space.

    Parts of a long section have added lines (a repeated table head, closed and reopened code): the
    quotation covers the lines that the page has. It is empty if there are none.
    """
    # The section is one of the page's own: there is no need to search the whole page.
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
