"""A wiki page: title, address, and sections that start at its headings."""

import re
from dataclasses import dataclass
from functools import cached_property

from wiki.pages.asking import language
from wiki.pages.words import stems


@dataclass(frozen=True)
class Section:
    """A heading and the text down to the next heading of any level."""

    heading: str
    """Empty for the text above the first heading."""
    anchor: str
    path: tuple[str, ...]
    """The headings above this one and itself, outermost first, without the page's title."""
    text: str
    """Markdown, including the heading's own line."""
    terms: tuple[tuple[str, str], ...] = ()
    """The lines of `text` that define a term with its own anchor, and that anchor; it is empty for
    a line that begins the text after a list of terms."""

    @property
    def body(self) -> str:
        """The text without the heading's own line(s)."""
        if not self.heading:
            return self.text
        lines = self.text.splitlines()
        under = 2 if len(lines) > 1 and re.fullmatch(r"\s{0,3}(=+|-+)\s*", lines[1]) else 1
        return "\n".join(lines[under:]).strip()


@dataclass(frozen=True)
class Page:
    """A document of the wiki."""

    path: str
    """Relative to the wiki's folder, with forward slashes."""
    title: str
    url: str
    sections: tuple[Section, ...]

    @cached_property
    def heads(self) -> frozenset[frozenset[str]]:
        """The stems of the title with the headings above each section."""
        paths = {(self.title, *section.path) for section in self.sections}
        of = {name: stems(name, self.language) for name in set().union(*paths)}
        return frozenset(frozenset().union(*map(of.__getitem__, path)) for path in paths)

    @cached_property
    def language(self) -> str:
        """The language of its text, whose stems are in the index: see `asking.language`."""
        return language(self.text)

    @property
    def has_text(self) -> bool:
        """Does it have text other than headings? Otherwise it would be found, but answer
        nothing."""
        return any(section.body for section in self.sections)

    @property
    def text(self) -> str:
        return "\n\n".join(section.text for section in self.sections)

    def section_url(self, section: Section) -> str:
        return f"{self.url}#{section.anchor}" if section.anchor else self.url
