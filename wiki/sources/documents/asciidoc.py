"""AsciiDoc to Markdown: headings with Asciidoctor's anchors, code, lists, tables, notes, links.

Nothing is included: a page contains only the text of its own file, and names the missing parts.
"""

import re
from collections.abc import Iterator

from wiki.pages.page import Page
from wiki.sources.documents.made import fenced, from_markdown, table
from wiki.sources.tree import decode

_HEADING = re.compile(r"(={1,6})\s+(\S.*)$")
_ATTRIBUTE = re.compile(r":(!?[\w-]+!?):(?:\s+(.*))?$")
_BLOCK = re.compile(r"\[([^\[\]]*)\]$")
_ANCHOR = re.compile(r"\[\[([\w:.-]+)(?:,[^\[\]]*)?\]\]$")
_ID = re.compile(r"#([\w:.-]+)|id=[\"']?([\w:.-]+)")
_FENCE = re.compile(r"(-{4,}|\.{4,}|\+{4,}|`{3,}|/{4,}|={4,}|\*{4,}|_{4,}|--)\s*$")
_ITEM = re.compile(r"(\*{1,5}|-|\.{1,5}|\d+\.)\s+(\S.*)$")
_TERM = re.compile(r"(\S.*?)(?::{2,4}|;;)(?:\s+(.*))?$")
_NOTE = re.compile(r"(NOTE|TIP|IMPORTANT|WARNING|CAUTION):\s+(.*)$")
_MACRO = re.compile(r"(include|image|video|audio)::([^\[\]]*)\[([^\[\]]*)\]$")
_REFERENCE = re.compile(r"\{([\w-]{1,80})\}")
# An address ends where the next one starts, so that each is scanned once.
_SCHEME = r"(?:https?|ftp|mailto):"
_LINK = re.compile(
    rf"(?:link:)?({_SCHEME}(?:(?!{_SCHEME})[^\s\[\]<>]){{1,2000}}+)\[([^\[\]]{{0,1000}})\]"
)
_LOCAL = re.compile(
    r"(?:link|xref):((?:(?!(?:link|xref):)[^\s\[\]]){1,1000}+)\[([^\[\]]{0,1000})\]"
)
_CROSS = re.compile(r"<<([^<>,]{1,500})(?:,\s*+([^<>]{0,500}))?>>")
_MONO = re.compile(r"(?<![`\w])`\+?([^`\n]{1,1000}?)\+?`(?![`\w])")
_CODE = ("source", "listing", "literal")
_LONGEST_VALUE = 1_000


def page(data: bytes, path: str, url: str) -> Page:
    """Read a file. Raises ValueError: it is not UTF-8."""
    reader = _Reader(decode(data).split("\n"))
    text = "\n".join(reader.markdown())
    anchors = iter(reader.anchors)
    return from_markdown(text, path, url, lambda _: next(anchors, ""))


class _Reader:
    def __init__(self, lines: list[str]) -> None:
        self._lines = [line.rstrip() for line in lines]
        self._at = 0
        self._attributes: dict[str, str] = {}
        self._style = self._id = ""
        self._seen: set[str] = set()
        self.anchors: list[str] = []
        """The anchor of each heading so far."""

    def markdown(self) -> Iterator[str]:
        while self._at < len(self._lines):
            line = self._lines[self._at]
            self._at += 1
            yield from self._line(line)

    def _line(self, line: str) -> Iterator[str]:
        if line.startswith("//") and not line.startswith("////"):
            return
        if attribute := _ATTRIBUTE.match(line):
            self._attributes[attribute[1]] = self._inline(attribute[2] or "")[:_LONGEST_VALUE]
        elif heading := _HEADING.match(line):
            yield from self._heading(len(heading[1]), self._inline(heading[2]))
        elif anchor := _ANCHOR.match(line):
            self._id = anchor[1]
        elif line.startswith("|==="):
            yield from self._table()
        elif fence := _FENCE.match(line):
            yield from self._fence(fence[1])
        elif block := _BLOCK.match(line):
            self._style = block[1]
            if named := _ID.search(block[1]):
                self._id = named[1] or named[2]
        elif macro := _MACRO.match(line):
            if macro[1] == "include":
                yield f"(includes the file {macro[2]})"
        else:
            yield from self._text(line)
            if not line:
                self._style = self._id = ""

    def _heading(self, level: int, text: str) -> Iterator[str]:
        # The document's title has no anchor.
        self.anchors.append(self._anchor(text) if level > 1 or self._id else "")
        self._style = self._id = ""
        yield from ("", f"{'#' * level} {text}", "")

    def _anchor(self, text: str) -> str:
        if self._id:
            self._seen.add(self._id)
            return self._id
        prefix = self._attributes.get("idprefix", "_")
        sign = self._attributes.get("idseparator", "_")[:1]
        bare = re.sub(r"<[^<>]*>|&\w+;|[^\w \-.]", "", text.lower())
        slug = re.sub(r"[ .-]+", sign, bare).strip(sign) if sign else bare.replace(" ", "")
        slug = first = prefix + slug
        count = 2
        while slug in self._seen:
            slug = f"{first}{sign}{count}"
            count += 1
        self._seen.add(slug)
        return slug

    def _until(self, end: str) -> list[str]:
        start = self._at
        while self._at < len(self._lines) and self._lines[self._at] != end:
            self._at += 1
        self._at += 1
        return self._lines[start : self._at - 1]

    def _fence(self, mark: str) -> Iterator[str]:
        style = [part.strip() for part in self._style.split(",")]
        self._style = ""
        if mark[0] == "/":
            self._until(mark)
        elif mark[0] in "-.+`" and (mark != "--" or style[0] in _CODE):
            language = style[1] if len(style) > 1 and style[0] == "source" else ""
            code = [re.sub(r"(?<!\s)\s*+<(?:\d{1,3}|\.)>$", "", line) for line in self._until(mark)]
            yield from ("", fenced("\n".join(code), re.sub(r"[^\w+#.-]", "", language)), "")
        elif style[0].upper() in ("NOTE", "TIP", "IMPORTANT", "WARNING", "CAUTION"):
            yield from ("", f"**{style[0].capitalize()}**", "")
        # The content of other delimited blocks is plain text.

    def _table(self) -> Iterator[str]:
        columns = 0
        cells: list[str] = []
        for number, line in enumerate(self._until("|===")):
            row = [self._inline(cell.strip()) for cell in line.split("|")[1:]]
            if row and not columns:
                columns = len(row)
            if "|" not in line and cells and line:
                cells[-1] += f" {self._inline(line)}"
            elif number or row:
                cells += row
        if wide := re.search(r'cols="?(\d+)\*|cols="([^"]*)"', self._style):
            columns = int(wide[1][:3]) if wide[1] else wide[2].count(",") + 1
        self._style = ""
        if columns:
            rows = [cells[n : n + columns] for n in range(0, len(cells), columns)]
            yield from ("", table(rows), "")

    def _text(self, line: str) -> Iterator[str]:
        line = line.strip()
        if note := _NOTE.match(line):
            yield f"**{note[1].capitalize()}**: {self._inline(note[2])}"
        elif item := _ITEM.match(line):
            mark = item[1]
            depth = len(mark) - 1 if mark[0] in "*." else 0
            shown = "1." if mark[0] in ".0123456789" else "-"
            yield f"{'   ' * depth}{shown} {self._inline(item[2])}"
        elif line == "+":
            yield ""
        elif re.match(r"\.\w", line):  # a block's title
            yield from (f"**{self._inline(line[1:])}**", "")
        elif (term := _TERM.match(line)) and "::" in line:
            yield from ("", f"**{self._inline(term[1])}**", "")
            if term[2]:
                yield self._inline(term[2])
        else:
            yield self._inline(line)

    def _inline(self, text: str) -> str:
        text = _REFERENCE.sub(lambda m: self._attributes.get(m[1], m[0]), text)
        text = _LINK.sub(lambda m: f"[{m[2].strip(' ^') or m[1]}]({m[1]})", text)
        text = _LOCAL.sub(lambda m: m[2] or m[1], text)
        text = _CROSS.sub(lambda m: m[2] or m[1], text)
        text = _MONO.sub(r"`\1`", text)
        return re.sub(r"(?<![*\w])\*(?=\S)([^*\n]{1,500}?)(?<=\S)\*(?![*\w])", r"**\1**", text)
