"""Passages: the unit of search, citation and display, at most about 120 words each.

A page is cut at its sections, and these at their blocks, at the items of lists and at the terms of
definitions; a table that is cut has its head again. What stands above a passage (title, headings,
term) belongs to it, for its words and for its meaning: without it recall@1 fell from 76 to 53 % on
two wikis.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

from gateway.knowledge.wiki import blocks
from gateway.knowledge.wiki.page import Page, Section
from gateway.knowledge.wiki.words import UNSPACED, stems

# The most words of a passage, the headings above it not counted.
WORDS = 120
# Contents of a page are at least so many links to it, and little else: so many words of theirs.
CONTENTS = 3
BESIDE = 0.15
# In a script without spaces between words each sign counts as a word.
_COUNTED = re.compile(f"[{UNSPACED}]|[^\\s{UNSPACED}]+")
_LINK = re.compile(r"!?\[([^\[\]\n]*)\]\((?:[^)\n\]]|\](?!\())*\)")
_ANCHOR = re.compile(r"<a [^<>\n]*></a>|<!--[^<>]*-->")
# A line that is bold as a whole: how the readers of HTML write the term of a definition, and people
# the name of an option.
_BOLD = re.compile(r"\s*(?:\*\*[^*\n]+\*\*|\*\*`[^`\n]+`(?:, `[^`\n]+`)*\*\*)[:.]?\s*")
# Python-Markdown's and Pandoc's definition lists: a line, and its meaning behind a colon.
_MEANING = re.compile(r":[ \t]+\S")
_ITEM = re.compile(r"(?:[-*+]|\d{1,3}[.)])[ \t]+\S")
_MARKS = re.compile(r"[*`]+")
# A link to a place of the same page.
_WITHIN = re.compile(r"\[([^\[\]\n]*)\]\(#[^()\s]*\)")
_BULLET = re.compile(r"^[ \t]*(?:[-*+]|\d{1,3}[.)])[ \t]", re.MULTILINE)
_WORD = re.compile(r"\w+")
# Bold, too, and no terms: what follows belongs to the text around it.
_NOTES = frozenset(("note", "tip", "important", "warning", "caution", "example", "info"))


@dataclass(frozen=True)
class Passage:
    """A part of a section."""

    section: int
    """Its number on the page, from 0."""
    term: str
    """That it defines, as a reader sees it; empty where there is none."""
    anchor: str
    """Of the term, else of the section."""
    text: str
    """Markdown, without the headings above it."""

    @cached_property
    def is_readable(self) -> bool:
        """Whether the passage says something, and is not only an anchor or the page's contents."""
        text = _ANCHOR.sub("", self.text).strip()
        return bool(text) and not _is_contents(text)

    @cached_property
    def words(self) -> int:
        """How many words it has, those above it not counted."""
        return _count(self.text)


@dataclass(frozen=True)
class _Unit:
    """What is not cut without need."""

    text: str
    words: int
    is_term: bool = False
    is_defined: bool = False
    """With what the term means."""
    follows: bool = False
    """On the next line of the same list."""


@lru_cache(maxsize=1000)  # as many as an index keeps pages
def passages(page: Page) -> tuple[Passage, ...]:
    """The passages of a page in its order; one without text where the page has none."""
    parts = tuple(
        passage
        for number, section in enumerate(page.sections)
        for passage in _of_section(number, section)
    )
    return parts or (Passage(0, "", "", ""),)


def above(page: Page, passage: Passage) -> list[str]:
    """The context above a passage: title, headings, term."""
    path = page.sections[passage.section].path if page.sections else ()
    return list(dict.fromkeys(filter(None, [page.title, *path, passage.term])))


def embedded(page: Page) -> list[str]:
    """The texts whose vectors stand for the passages of a page."""
    return [text_of(page, passage) for passage in passages(page)]


def passage_stems(page: Page) -> list[set[str]]:
    """The stems of each passage of a page, and of what stands above it."""
    return [set(stems(text_of(page, passage))) for passage in passages(page)]


def text_of(page: Page, passage: Passage) -> str:
    """A passage with what stands above it, as models read it."""
    head = " › ".join(above(page, passage))
    body = " ".join(plain(passage.text).split())
    return f"{head}\n{body}" if body else head


def plain(markdown: str) -> str:
    """Text without the targets of links and pictures, and without anchors."""
    return _LINK.sub(r"\1", _ANCHOR.sub("", markdown))


def _of_section(number: int, section: Section) -> Iterator[Passage]:
    anchors = dict(section.terms)
    term, anchor = "", section.anchor
    gathered: list[_Unit] = []

    def passage() -> Passage:
        text = gathered[0].text
        for unit in gathered[1:]:
            text += ("\n" if unit.follows else "\n\n") + unit.text
        gathered.clear()
        return Passage(number, term, anchor, text)

    for unit in _units(section.body):
        if unit.is_term and not (gathered and all(_is_open(other) for other in gathered)):
            if gathered:
                yield passage()
            term = _MARKS.sub("", unit.text.partition("\n")[0]).strip(" :.\t")
            anchor = anchors.get(unit.text.strip(), section.anchor)
        elif gathered and sum(other.words for other in gathered) + unit.words > WORDS:
            # What ends with a colon announces what follows, and goes with it.
            announces = (
                len(gathered) > 1 and gathered[-1].text.endswith(":") and not gathered[-1].is_term
            )
            last = gathered.pop() if announces else None
            yield passage()
            gathered += [last] if last else []
        gathered.append(unit)
    if gathered:
        yield passage()
    elif not section.body and section.heading:
        yield Passage(number, "", section.anchor, "")


def _units(body: str) -> Iterator[_Unit]:
    for block in blocks.blocks(body, promises=False):
        lines = block.split("\n")
        if _is_term(block):
            yield _Unit(block, _count(block), is_term=True)
        elif _is_definition(lines):
            yield _Unit(block, _count(block), is_term=True, is_defined=True)
        elif _ITEM.match(lines[0]):
            yield from _items(lines)
        else:
            yield from _within(block)


def _is_contents(text: str) -> bool:
    """Is it a list of the places of its own page? A table says something beside its links."""
    links = _WITHIN.findall(text)
    if len(links) < CONTENTS or text.startswith("|"):
        return False
    beside = len(_WORD.findall(_BULLET.sub("", _WITHIN.sub("", text))))
    return beside <= BESIDE * sum(len(_WORD.findall(link)) for link in links)


def _is_term(block: str) -> bool:
    if not _BOLD.fullmatch(block):
        return False
    return _MARKS.sub("", block).strip(" :.\t").casefold() not in _NOTES


def _is_open(unit: _Unit) -> bool:
    """Is it a term whose meaning is still to come?"""
    return unit.is_term and not unit.is_defined


def _is_definition(lines: list[str]) -> bool:
    return len(lines) > 1 and bool(_MEANING.match(lines[1])) and not _ITEM.match(lines[0])


def _items(lines: list[str]) -> Iterator[_Unit]:
    """The items of a list, each with what is below it."""
    item: list[str] = []
    follows = False
    for line in lines:
        if item and _ITEM.match(line):
            for unit in _within("\n".join(item)):
                yield _Unit(unit.text, unit.words, follows=follows)
                follows = True
            item = []
        item.append(line)
    for unit in _within("\n".join(item)):
        yield _Unit(unit.text, unit.words, follows=follows)
        follows = True


def _within(block: str) -> Iterator[_Unit]:
    """A block, in parts where it alone is too long."""
    words = _count(block)
    if words <= WORDS:
        yield _Unit(block, words)
        return
    most = max(200, len(block) * WORDS // words)
    for part in blocks.parts(block, most):
        yield _Unit(part, _count(part))


def _count(text: str) -> int:
    return len(_COUNTED.findall(plain(text)))
