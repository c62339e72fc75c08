"""Removes the site name that a site adds before or after every page title."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

_BREAK = re.compile(r"(?<!\s)\s++(?:[|\-–—·•»«:/]|::|»)\s+|:\s+")
# Texinfo writes "Sorting (The manual)"; a title may contain other parentheses before that.
_BRACKET = re.compile(r"(?<!\s)\s++(?=\()")
# Maximum characters of a title to check.
LONGEST = 500
# The start page has a different title, and some pages have none.
_SHARE = 0.6


@dataclass(frozen=True)
class Affixes:
    """The parts that titles share, each with its separator."""

    prefix: str = ""
    suffix: str = ""
    site: str = ""
    """A name to remove at either end."""

    @classmethod
    def common(cls, titles: Iterable[str]) -> Self:
        """The beginning and end that most of `titles` share; empty for fewer than two."""
        texts = [title[:LONGEST] for title in titles if title]
        prefixes: Counter[str] = Counter()
        suffixes: Counter[str] = Counter()
        for text in texts:
            breaks = list(_BREAK.finditer(text))
            prefixes.update({text[: match.end()] for match in breaks if match.start()})
            if text[-1] == ")":
                breaks += _BRACKET.finditer(text)
            suffixes.update({text[match.start() :] for match in breaks if match.end() < len(text)})
        least = max(2, _SHARE * len(texts))
        return cls(*(_longest(counts, least) for counts in (prefixes, suffixes)))

    def of_site(self, name: str) -> Self:
        """The same affixes, plus the name of the site."""
        return replace(self, site=name)

    def without(self, title: str) -> str:
        """The page's own title. If there is only the site's name, it stays."""
        short = title
        if self.suffix and short.endswith(self.suffix):
            short = short.removesuffix(self.suffix)
        if self.prefix and short.startswith(self.prefix):
            short = short.removeprefix(self.prefix)
        if self.site:
            for match in _BREAK.finditer(short):
                if short[match.end() :] == self.site:
                    short = short[: match.start()]
                    break
                if short[: match.start()] == self.site:
                    short = short[match.end() :]
                    break
        return short.strip() or title


def _longest(counts: Counter[str], least: float) -> str:
    return max((text for text, count in counts.items() if count >= least), key=len, default="")
