"""A Markdown extension that accepts any text on the first line of a code fence.

That is how GitHub and Docusaurus read "```js showLineNumbers". Without it the code is text, and
its comments become headings.
"""

from re import Match
from typing import Any

from pymdownx.superfences import (  # type: ignore[import-untyped]
    SuperFencesBlockPreprocessor,
    SuperFencesCodeExtension,
)


class Fences(SuperFencesCodeExtension):  # type: ignore[misc]
    """pymdownx.superfences with `relaxed_headers`, which here leave code in a line alone."""

    def patch_fenced_rule(self) -> None:
        super().patch_fenced_rule()
        fences: SuperFencesBlockPreprocessor = self.md.preprocessors["fenced_code_block"]
        accept = fences.handle_unrecognized
        # "```npm install```" begins no fence: all down to the end of the next one would be code.
        fences.handle_unrecognized = lambda match: not _is_closed(match) and accept(match)


def _is_closed(match: Match[str]) -> bool:
    return match["fence"].startswith("`") and "`" in (match["unrecognized"] or "")


def makeExtension(**options: Any) -> Fences:
    return Fences(**(options | {"relaxed_headers": True}))
