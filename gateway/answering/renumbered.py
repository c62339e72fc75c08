"""Citations and their sources in the text of an answer, for clients that show nothing else.

A model cites the sections of its prompt by their numbers. Here the sections are numbered in the
order in which the answer cites them, and listed at its end.
"""

import re
from collections.abc import Iterable, Mapping

from wiki.pages.page import Page, Section

Place = tuple[Page, Section]
FENCE = 3  # backticks

# In code, `row[1]` is no citation.
_MARK = re.compile(r"`+|\n|\[(\d{1,3})\](?!\()")
# The end of a piece that may be the beginning of a citation.
_PARTIAL = re.compile(r"\[(?:\d{1,3}\]?)?\Z")


class Renumbered:
    """Renumbers the citations of one answer as it is generated."""

    def __init__(self, sections: Mapping[int, Place]) -> None:
        """`sections`: those of the prompt, by number."""
        self._sections = sections
        self._numbers: dict[int, int] = {}  # in the answer, by number in the prompt
        self._held = ""
        self._is_fenced = self._is_inline = False
        self.places: dict[int, Place] = {}
        """The cited sections, by their number in the answer."""

    def feed(self, text: str) -> str:
        text = self._held + text
        partial = _PARTIAL.search(text, max(0, len(text) - 5))
        end = partial.start() if partial else len(text.rstrip("`"))
        self._held = text[end:]
        return _MARK.sub(self._mark, text[:end])

    def rest(self) -> str:
        text, self._held = self._held, ""
        return _MARK.sub(self._mark, text)

    def _mark(self, match: re.Match[str]) -> str:
        mark = match[0]
        if mark[0] == "`":
            if len(mark) >= FENCE:
                self._is_fenced = not self._is_fenced
            else:
                self._is_inline = not (self._is_inline or self._is_fenced)
        elif mark == "\n":
            self._is_inline = False
        elif not (self._is_fenced or self._is_inline) and int(match[1]) in self._sections:
            number = self._numbers.setdefault(int(match[1]), len(self._numbers) + 1)
            self.places[number] = self._sections[int(match[1])]
            return f"[{number}]"
        return mark

    def listed(self, others: Iterable[Place]) -> str:
        """The end of an answer: the sources that it cites, or else `others`, which support it."""
        lines = [f"- [{number}] {_named(*place)}" for number, place in self.places.items()]
        lines = lines or [f"- {_named(*place)}" for place in others]
        return "\n\nSources:\n" + "\n".join(lines) if lines else ""


def _named(page: Page, section: Section) -> str:
    title = " › ".join(dict.fromkeys((page.title, *section.path)))
    return f"{' '.join(title.split())}: {page.section_url(section)}"
