"""A Markdown extension that accepts any text on the first line of a code fence.

GitHub and Docusaurus accept "```js showLineNumbers". Otherwise the code would be text, and its
comments would become headings.
"""

from re import Match
from typing import Any

from pymdownx.superfences import (  # type: ignore[import-untyped]
    SuperFencesBlockPreprocessor,
    SuperFencesCodeExtension,
)


class Fences(SuperFencesCodeExtension):  # type: ignore[misc]
    """pymdownx.superfences with `relaxed_headers`, adapted to leave inline code alone."""

    def patch_fenced_rule(self) -> None:
        super().patch_fenced_rule()
        fences: SuperFencesBlockPreprocessor = self.md.preprocessors["fenced_code_block"]
        accept = fences.handle_unrecognized
        # "```npm install```" is not a fence: otherwise all text up to the next fence would be code.
        fences.handle_unrecognized = lambda match: not _is_closed(match) and accept(match)


def _is_closed(match: Match[str]) -> bool:
    return match["fence"].startswith("`") and "`" in (match["unrecognized"] or "")


def makeExtension(**options: Any) -> Fences:
    return Fences(**(options | {"relaxed_headers": True}))
