"""Fenced code in Markdown: https://spec.commonmark.org/0.31.2/#fenced-code-blocks.

Fences may be indented by more than three spaces, and code in a list need not be indented: many
pages have both.
"""

import re
from collections.abc import Iterable

OPENING = re.compile(
    r"([ \t]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+|>[ \t]*)*)(`{3,}(?=[^`\n]*$)|~{3,})", re.MULTILINE
)
_CLOSING = re.compile(r"([ \t>]*)(`{3,}|~{3,})\s*$")
_LIST_MARK = re.compile(r"[^\s>]")


class FencedCode:
    """Follows a text line by line."""

    def __init__(self) -> None:
        self.fence = ""
        """The fence of the code that is open below the last line; empty if none is."""
        self._before = ""
        """The text before it on its line: indentation, the marks of lists and quotations."""

    @property
    def closing(self) -> str:
        """The line that closes the open code; empty if none is open."""
        return _LIST_MARK.sub(" ", self._before) + self.fence if self.fence else ""

    def takes(self, line: str) -> bool:
        """Whether the next line is code, or a fence around it."""
        is_quoted = ">" in self._before
        if is_quoted and not line.lstrip().startswith(">"):
            self.fence = ""  # a quotation ends its code
        if not self.fence:
            opening = OPENING.match(line)
            if opening is None:
                return False
            self._before, self.fence = opening[1], opening[2]
        elif (closing := _CLOSING.match(line)) and closing[2].startswith(self.fence):
            self.fence = self.fence if ">" in closing[1] and not is_quoted else ""
        return True


def fenced(lines: Iterable[str]) -> list[bool]:
    """Which of the lines are fenced code, including the fences."""
    code = FencedCode()
    return [code.takes(line) for line in lines]
