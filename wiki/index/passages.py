"""Passages: the unit of search, citation and display, at most about 120 words each.

Pages are split into sections, and these into blocks, list items and definitions; parts of a table
repeat its head. The context above a passage (title, headings, term) belongs to it, for its words
and for its embedding: without it, recall@1 fell from 76 to 53 % on two wikis.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

from wiki.pages import blocks
from wiki.pages.fences import OPENING
from wiki.pages.page import Page, Section
from wiki.pages.words import UNSPACED, stems

# Maximum words of a passage, not counting the headings above it.
WORDS = 120
# Maximum words that a passage has in addition because they introduce it, such as "For example:".
LEAD = 30
# A table of contents has at least CONTENTS links within its page, and other words up to a share of
# BESIDE of the links' words.
CONTENTS = 3
BESIDE = 0.15
# In a script without spaces between words, each character counts as a word.
_COUNTED = re.compile(f"[{UNSPACED}]|[^\\s{UNSPACED}]+")
_LINK = re.compile(r"!?\[([^\[\]\n]*)\]\((?:[^)\n\]]|\](?!\())*\)")
_ANCHOR = re.compile(r"<a [^<>\n]*></a>|<!--[^<>]*-->")
# A line that is entirely bold: HTML readers write the term of a definition like this, and people
# the name of an option.
BOLD = re.compile(r"\s*(?:\*\*[^*\n]+\*\*|\*\*`[^`\n]+`(?:, `[^`\n]+`)*\*\*)[:.]?\s*")
# Definition lists of Python-Markdown and Pandoc: a line, then its meaning after a colon.
_MEANING = re.compile(r":[ \t]+\S")
_ITEM = re.compile(r"(?:[-*+]|\d{1,3}[.)])[ \t]+\S")
_MARKS = re.compile(r"[*`]+")
# A link within the same page.
_WITHIN = re.compile(r"\[([^\[\]\n]*)\]\(#[^()\s]*\)")
_BULLET = re.compile(r"^[ \t]*(?:[-*+]|\d{1,3}[.)])[ \t]", re.MULTILINE)
_WORD = re.compile(r"\w+")
_EMPHASIS = str.maketrans("", "", "*_")
# Bold words that are not terms: the following text belongs to the surrounding text.
_NOTES = frozenset(("note", "tip", "important", "warning", "caution", "example", "info"))
# Nor are the captions of figures and tables, in the spelling of DocBook's languages.
_CAPTION = re.compile(
    r"(?:fig(?:ure|ura|\.)?|table(?:au)?|abb(?:ildung|\.)|tabelle|tab[el]?la|illustration)\s\d",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Passage:
    """A part of a section."""

    section: int
    """The section's index on the page, from 0."""
    term: str
    """The term that it defines, as a reader sees it; empty if there is none."""
    anchor: str
    """The anchor of the term, or else of the section."""
    text: str
    """Markdown, without the headings above it."""

    @cached_property
    def is_readable(self) -> bool:
        """Whether the passage has text other than anchors, definitions of links, rules or the
        page's table of contents."""
        text = blocks.visible(_ANCHOR.sub("", self.text)).strip()
        return _WORD.search(text) is not None and not _is_contents(text)

    @cached_property
    def likeness(self) -> str:
        """The text, the same whichever signs its lists and emphasis are written with."""
        return " ".join(_BULLET.sub("- ", self.text).translate(_EMPHASIS).split())

    @cached_property
    def words(self) -> int:
        """The number of words, without the context above it."""
        return _count(self.text)


@dataclass(frozen=True)
class _Unit:
    """A block that is split only if it is too long."""

    text: str
    words: int
    is_term: bool = False
    is_defined: bool = False
    """Does it include the term's meaning?"""
    follows: bool = False
    """Is it on the next line of the same list?"""
    continues: bool = False
    """Is it the rest of the code above, with the fence repeated?"""
    more_rows: bool = False
    """Is it the rest of the table above, with the head repeated?"""

    @property
    def depth(self) -> int:
        """Its indentation."""
        return len(self.text) - len(self.text.lstrip(" "))


@lru_cache(maxsize=1000)  # the number of pages that an index caches
def passages(page: Page) -> tuple[Passage, ...]:
    """The passages of a page, in order; a single empty one if the page has none."""
    parts = tuple(
        passage
        for number, section in enumerate(page.sections)
        for passage in _of_section(number, section)
    )
    return parts or (Passage(0, "", "", ""),)


def joined(page: Page, one: Passage, other: Passage) -> Passage | None:
    """Two passages of a page as a single one, with the anchor of the first argument; None if they
    do not continue each other below the same term, or are too long together."""
    if (one.section, one.term) != (other.section, other.term):
        return None
    if one.words + other.words > 2 * WORDS:
        return None
    body = page.sections[one.section].body
    for first, second in ((one.text, other.text), (other.text, one.text)):
        start = body.find(first)
        end = body.find(second, start + len(first)) if start >= 0 else -1
        # The parts of a table repeat its head, so they are not in the section as they are here.
        if end >= 0 and not body[start + len(first) : end].strip():
            return replace(one, text=body[start : end + len(second)])
    return None


def above(page: Page, passage: Passage) -> list[str]:
    """The context above a passage: title, headings, term."""
    path = page.sections[passage.section].path if page.sections else ()
    return list(dict.fromkeys(filter(None, [page.title, *path, passage.term])))


def embedded(page: Page) -> list[str]:
    """The texts to embed for the passages of a page."""
    return [text_of(page, passage) for passage in passages(page)]


def passage_stems(page: Page) -> list[set[str]]:
    """The stems of each passage of a page, including the context above it."""
    return [set(stems(text_of(page, passage), page.language)) for passage in passages(page)]


def text_of(page: Page, passage: Passage) -> str:
    """A passage with the context above it, as models read it."""
    head = " › ".join(above(page, passage))
    body = " ".join(plain(passage.text).split())
    return f"{head}\n{body}" if body else head


def plain(markdown: str) -> str:
    """Text without the targets of links and images, and without anchors."""
    return _LINK.sub(r"\1", _ANCHOR.sub("", markdown))


def _of_section(number: int, section: Section) -> Iterator[Passage]:
    anchors = dict(section.terms)
    term, anchor, is_defined = "", section.anchor, False
    gathered: list[_Unit] = []
    count = 0  # of the words gathered

    def passage() -> Passage:
        nonlocal count
        text = gathered[0].text
        for unit in gathered[1:]:
            if unit.continues:
                text = text.rpartition("\n")[0] + "\n" + unit.text.partition("\n")[2]
            elif unit.more_rows:
                text += "\n" + unit.text.split("\n", 2)[2]
            else:
                text += ("\n" if unit.follows else "\n\n") + unit.text
        gathered.clear()
        count = 0
        return Passage(number, term, anchor, text)

    for unit in _units(section.body):
        starts = unit.is_term and not (gathered and all(map(_is_open, gathered)))
        if starts or count + unit.words > WORDS:
            kept = gathered[_cut(gathered, unit) :]
            del gathered[len(gathered) - len(kept) :]
            if gathered:
                yield passage()
            gathered += kept
            count = sum(other.words for other in gathered)
        if starts:
            term = _name(unit.text.partition("\n")[0])
            anchor = anchors.get(unit.text.strip(), section.anchor)
            is_defined = unit.is_defined
        elif term and (
            anchors.get(unit.text.strip().partition("\n")[0]) == ""
            or (is_defined and not unit.text[0].isspace())
        ):
            if gathered:
                yield passage()
            term, anchor, is_defined = "", section.anchor, False
        gathered.append(unit)
        count += unit.words
    if gathered:
        yield passage()
    elif not section.body and section.heading:
        yield Passage(number, "", section.anchor, "")


def _cut(gathered: Sequence[_Unit], unit: _Unit) -> int:
    """The number of gathered units that stay in their passage; the others go with `unit`."""
    units = [*gathered, unit]
    at, led = len(gathered), 0
    while at and _leads(units[at - 1], units[at]) and led + units[at - 1].words <= LEAD:
        at -= 1
        led += units[at].words
    if led:
        return at
    # Between the items of a list rather than within one.
    depth = min(other.depth for other in units[1:]) if len(units) > 1 else 0
    if unit.depth > depth:
        outer = max(n for n in range(1, at) if units[n].depth == depth)
        if 2 * sum(other.words for other in units[:outer]) >= WORDS:
            return outer
    return at


def _leads(unit: _Unit, following: _Unit) -> bool:
    """Does it need the following unit, as an introduction, a name or a term does?"""
    if unit.is_term:
        return _is_open(unit) and not following.is_term
    text = unit.text.strip()
    if _CAPTION.match(_name(text)):
        return following.text.lstrip().startswith(("![", "|"))
    is_head = following.depth > unit.depth and _ITEM.match(text) is not None
    is_name = blocks.NAME.fullmatch(text) or BOLD.fullmatch(text)
    return is_head or text.endswith(":") or is_name is not None


def _name(line: str) -> str:
    """A term as a reader sees it."""
    return _MARKS.sub("", line).strip(" :.\t")


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
    """Is it a table of contents of its own page? A table with links has other content, too."""
    links = _WITHIN.findall(text)
    if len(links) < CONTENTS or text.startswith("|"):
        return False
    beside = len(_WORD.findall(_BULLET.sub("", _WITHIN.sub("", text))))
    return beside <= BESIDE * sum(len(_WORD.findall(link)) for link in links)


def _is_term(block: str) -> bool:
    if not BOLD.fullmatch(block):
        return False
    name = _name(block)
    return name.casefold() not in _NOTES and not _CAPTION.match(name)


def _is_open(unit: _Unit) -> bool:
    """Is it a term whose meaning follows?"""
    return unit.is_term and not unit.is_defined


def _is_definition(lines: list[str]) -> bool:
    return len(lines) > 1 and bool(_MEANING.match(lines[1])) and not _ITEM.match(lines[0])


def _items(lines: list[str]) -> Iterator[_Unit]:
    """The items of a list, each with its nested content."""
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
    """A block, split if it is too long for one passage."""
    words = _count(block)
    if words <= WORDS:
        yield _Unit(block, words)
        return
    most = max(200, len(block) * WORDS // words)
    fence, head = "", [""]
    for part in blocks.parts(block, most):
        lines = part.split("\n")
        yield _Unit(part, _count(part), continues=lines[0] == fence, more_rows=lines[:2] == head)
        head = lines[:2] if blocks.is_table(lines) else [""]
        last = blocks.runs(part)[-1].partition("\n")[0]
        fence = last if OPENING.match(last) else ""


def _count(text: str) -> int:
    return len(_COUNTED.findall(plain(text)))
